//! For each row x of c logits with target y, class weights w (1 without) and smoothing ε:
//! `lse = m + l`, m = max x, l = ln Σ e^(x − m);
//! `loss = (1 − ε)·w[y]·(lse − x[y]) + ε/c·Σ_j w[j]·(lse − x[j])`;
//! `dx[j] = s·(e^(x[j] − m − l)·((1 − ε)·w[y] + ε/c·Σw) − (1 − ε)·w[y]·[j = y] − ε/c·w[j])`,
//! where s is the loss's gradient, for the mean divided by `D = Σ_rows w[y]`. Ignored rows: 0.
//! `x [n, c]`, `y [n]`, `lse [n, 2]` (m and l: their sum would lose digits far from 0), `w [c]`.
//!
//! Split: rows. A row comes from memory once; nothing of size n·c is stored in the forward pass.
//! Order of reduction: along a row element j goes to lane j mod 16 and the lanes join pairwise; the
//! rows' losses are added as `sum` does.
//! Numerics: differences are taken to m first, so a common offset of the logits cancels exactly.

use gradus_base::op::cross_entropy::{Logits, Reduction, check_targets};
use gradus_base::{Result, dispatch_float};

use super::math::Float;
use super::parallel::{self, SharedMut};
use super::reduce;
use super::simd;
use super::softmax::{row_exp_sum, row_max};
use super::storage::Output;
use super::view::{Array, View};

/// Nanoseconds an element.
const NS: f64 = 0.6;

/// The class weights and what follows from the options.
struct Terms<'a, T> {
    weight: Option<&'a [T]>,
    /// 1 − ε, and ε/c
    hard: T,
    soft: T,
    /// Σ_j w[j]
    total: T,
    ignore: Option<u32>,
}

impl<'a, T: Float> Terms<'a, T> {
    fn new(logits: Logits<View<'a>>) -> Self {
        let (classes, options) = (logits.x.shape()[1], logits.options);
        let weight = logits.weight.map(View::slice::<T>);
        let add = |a: T, b: T| a + b;
        Terms {
            weight,
            hard: T::c(1.0 - options.label_smoothing),
            soft: T::c(options.label_smoothing / classes as f64),
            total: match weight {
                Some(weight) => simd::reduce(weight, T::ZERO, add, add),
                None => T::c(classes as f64),
            },
            ignore: options.ignore_index,
        }
    }

    /// w[y]
    #[inline(always)]
    fn of(&self, y: u32) -> T {
        self.weight.map_or(T::ONE, |w| w[y as usize])
    }

    /// D, the mean's divisor.
    fn divisor(&self, targets: &[u32]) -> T {
        let weight = |y: u32| if Some(y) == self.ignore { T::ZERO } else { self.of(y) };
        simd::reduce(targets, T::ZERO, |a, y| a + weight(y), |a, b| a + b)
    }

    /// The loss of a row; writes the parts of its lse.
    #[inline(always)]
    fn row(&self, x: &[T], y: u32, lse: &mut [T]) -> T {
        let m = row_max(x);
        // An infinite maximum makes x − m NaN, and so the loss, as in PyTorch.
        let l = row_exp_sum(x, m).ln();
        (lse[0], lse[1]) = (m, l);
        if Some(y) == self.ignore { T::ZERO } else { self.loss(x, y, m, l) }
    }

    /// The loss of a row with maximum m and l = ln Σ e^(x − m).
    #[inline(always)]
    fn loss(&self, x: &[T], y: u32, m: T, l: T) -> T {
        let nll = self.of(y) * (l + (m - x[y as usize]));
        if self.soft == T::ZERO {
            return nll;
        }
        let add = |a: T, b: T| a + b;
        let smooth = match self.weight {
            Some(w) => simd::reduce2(x, w, T::ZERO, |a, x, w| a + w * ((m - x) + l), add),
            None => simd::reduce(x, T::ZERO, |a, x| a + ((m - x) + l), add),
        };
        self.hard * nll + self.soft * smooth
    }
}

/// Contiguous inputs of fitting shapes: the loss and the parts of every row's lse.
pub fn forward(logits: Logits<View>) -> Result<(Array, Array)> {
    let op = "cross_entropy";
    check(op, logits)?;
    dispatch_float!(op, logits.x.dtype(), forward_of::<T>(logits))
}

/// Refuses a target that is neither a class nor ignored.
fn check(op: &'static str, logits: Logits<View>) -> Result<()> {
    let Logits { x, targets, options, .. } = logits;
    check_targets(op, targets.slice(), x.shape()[1], options.ignore_index)
}

fn forward_of<T: Float>(logits: Logits<View>) -> Result<(Array, Array)> {
    let Logits { x, targets, options, .. } = logits;
    let (op, n, c) = ("cross_entropy", x.shape()[0], x.shape()[1]);
    let (xs, ys) = (x.slice::<T>(), targets.slice::<u32>());
    let terms = Terms::<T>::new(logits);
    let mut losses = Output::<T>::new(op, &[n])?;
    let mut lse = Output::<T>::new(op, &[n, 2])?;
    let lses = SharedMut::new(lse.slice_mut());
    let per_task = parallel::rows_per_task(c);
    parallel::rows(losses.slice_mut(), 1, per_task, c as f64 * NS, |first, losses| {
        // SAFETY: each row belongs to one task.
        let lses = unsafe { lses.slice(2 * first..2 * (first + losses.len())) };
        simd::dispatch::<true, T, _>(
            #[inline(always)]
            || {
                for (i, loss) in losses.iter_mut().enumerate() {
                    let (x, y) = (&xs[(first + i) * c..][..c], ys[first + i]);
                    *loss = terms.row(x, y, &mut lses[2 * i..][..2]);
                }
            },
        );
    });
    let losses = losses.into_array(&[n]);
    let total = |losses: &Array| Ok(reduce::sum(losses.view(), &[0])?.view().slice::<T>()[0]);
    let loss = match options.reduction {
        Reduction::None => losses,
        Reduction::Sum => Array::scalar(op, total(&losses)?)?,
        Reduction::Mean => Array::scalar(op, total(&losses)? / terms.divisor(ys))?,
    };
    Ok((loss, lse.into_array(&[n, 2])))
}

/// dx[j] = p·e^((x[j] − m) − l) − soft·w[j], with the parts (m, l) of lse.
#[inline(always)]
fn row_gradient<T: Float>(x: &[T], w: Option<&[T]>, lse: &[T], p: T, soft: T, dx: &mut [T]) {
    let (m, l) = (lse[0], lse[1]);
    if let Some(w) = w
        && soft != T::ZERO
    {
        for ((dx, &x), &w) in dx.iter_mut().zip(x).zip(w) {
            *dx = p * ((x - m) - l).exp() - soft * w;
        }
        return;
    }
    for (dx, &x) in dx.iter_mut().zip(x) {
        *dx = p * ((x - m) - l).exp() - soft;
    }
}

/// What the backward kernel reads for each row.
struct Backward<'a, T> {
    x: &'a [T],
    targets: &'a [u32],
    lse: &'a [T],
    terms: Terms<'a, T>,
    /// The loss's gradient, and the mean's divisor.
    grad: &'a [T],
    divisor: T,
}

impl<T: Float> Backward<'_, T> {
    #[inline(always)]
    fn row(&self, row: usize, dx: &mut [T]) {
        let (c, y, terms) = (dx.len(), self.targets[row], &self.terms);
        let (x, lse) = (&self.x[row * c..][..c], &self.lse[2 * row..][..2]);
        if Some(y) == terms.ignore {
            return dx.fill(T::ZERO);
        }
        // A mean or a sum has one gradient for all rows.
        let g = if self.grad.len() == 1 { self.grad[0] } else { self.grad[row] };
        let scale = g / self.divisor;
        let hard = scale * terms.hard * terms.of(y);
        let soft = scale * terms.soft;
        let p = hard + soft * terms.total;
        row_gradient(x, terms.weight, lse, p, soft, dx);
        dx[y as usize] -= hard;
    }
}

/// Contiguous inputs of fitting shapes: the gradient of the logits.
pub fn backward(logits: Logits<View>, lse: View, grad: View) -> Result<Array> {
    let op = "cross_entropy_backward";
    check(op, logits)?;
    dispatch_float!(op, logits.x.dtype(), backward_of::<T>(logits, lse, grad))
}

fn backward_of<T: Float>(logits: Logits<View>, lse: View, grad: View) -> Result<Array> {
    let Logits { x, targets, options, .. } = logits;
    let (c, targets) = (x.shape()[1], targets.slice::<u32>());
    let terms = Terms::<T>::new(logits);
    let divisor = match options.reduction {
        Reduction::Mean => terms.divisor(targets),
        Reduction::Sum | Reduction::None => T::ONE,
    };
    let (grad, lse) = (grad.slice::<T>(), lse.slice::<T>());
    let kernel = Backward { x: x.slice::<T>(), targets, lse, terms, grad, divisor };
    let mut out = Output::<T>::new("cross_entropy_backward", x.shape())?;
    let per_task = parallel::rows_per_task(c);
    parallel::rows(out.slice_mut(), c, per_task, c as f64 * NS, |first, out| {
        simd::dispatch::<true, T, _>(
            #[inline(always)]
            || {
                for (row, dx) in (first..).zip(out.chunks_exact_mut(c)) {
                    kernel.row(row, dx);
                }
            },
        );
    });
    Ok(out.into_array(x.shape()))
}
