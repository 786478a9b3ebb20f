//! `O = dropout(softmax(Q·Kᵀ·scale + B))·V` of each head of each sequence, and L.

use std::ops::Range;

use gradus_base::op::attention::{Attention, Sequences};
use gradus_base::{DType, Result, dispatch_float};

use super::bias::{self, Bias};
use super::operands::{Bf16, Exact, Products};
use super::task::{BLOCK, Call, Head, Rows, ScoreRow, Target, pad, powers, row};
use crate::create;
use crate::mat::Mat;
use crate::math::Float;
use crate::parallel::SharedMut;
use crate::product::Small;
use crate::simd;
use crate::storage::Output;
use crate::view::{Array, View, ViewOrCopy};

/// The output `[tokens, hidden]`, and the logarithms of the denominators `[heads, tokens]`.
pub fn forward(sequences: Sequences<View>, options: &Attention) -> Result<(Array, Array)> {
    let Sequences { q, k, v, bias, bounds, .. } = sequences;
    if q.shape()[0] == 0 {
        let lse = create::full(&[options.heads, 0], 0.0, q.dtype())?;
        return Ok((create::full(q.shape(), 0.0, q.dtype())?, lse));
    }
    let operands = [q.unit_columns()?, k.unit_columns()?, v.unit_columns()?];
    let operands = operands.each_ref().map(ViewOrCopy::view);
    let bias = bias.map(View::contiguous).transpose()?;
    let bias = bias.as_ref().map(ViewOrCopy::view);
    let call = Call::new(q, bounds, options)?;
    if options.bf16
        && q.dtype() == DType::F32
        && call.longest() >= <Bf16 as Products<f32>>::FROM
        && let Some(small) = Small::detect()
    {
        return forward_of::<f32, _>(&call, Bf16(small), operands, bias);
    }
    dispatch_float!("attention", q.dtype(), forward_of::<T, _>(&call, Exact, operands, bias))
}

fn forward_of<T: Float, P: Products<T>>(
    call: &Call,
    products: P,
    [q, k, v]: [View; 3],
    bias: Option<View>,
) -> Result<(Array, Array)> {
    let mut out = Output::<T>::new("attention", q.shape())?;
    let statistics = [call.options.heads, call.tokens];
    let mut lse = Output::<T>::new("attention", &statistics)?;
    let kernel = Forward {
        call,
        q: Rows::new(q),
        k: Rows::new(k),
        v: Rows::new(v),
        bias: bias.map(Bias::new),
        out: SharedMut::new(out.slice_mut()),
        lse: SharedMut::new(lse.slice_mut()),
    };
    let sizes = [sizes(call, products), sizes::<T, _>(call, Exact)];
    let [k, v, left, s, o] = std::array::from_fn(|i| sizes[0][i].max(sizes[1][i]));
    let spread = if bias.is_some() { bias::distances(call.longest()) } else { 0 };
    let sizes = [k, v, left, s, o, spread];
    call.run(
        2,
        sizes,
        #[inline(always)]
        |head, memory| match head.n < P::FROM {
            true => kernel.head(Exact, &head, memory),
            false => kernel.head(products, &head, memory),
        },
    )?;
    Ok((out.into_array(q.shape()), lse.into_array(&statistics)))
}

/// The memory of a task's matrices with these products: K, V, Q or P, the scores and O.
fn sizes<T, P: Products<T>>(call: &Call, products: P) -> [usize; 5] {
    let [k, v, left] = products.memory(call.widest(), call.d);
    let [s, o] = [call.widest(), call.d].map(|columns| BLOCK * products.pad(columns));
    [k, v, left, s, o]
}

struct Forward<'a, T> {
    call: &'a Call<'a>,
    q: Rows<'a, T>,
    k: Rows<'a, T>,
    v: Rows<'a, T>,
    bias: Option<Bias<'a, T>>,
    out: SharedMut<'a, T>,
    lse: SharedMut<'a, T>,
}

impl<T: Float> Forward<'_, T> {
    /// One head of one sequence, by blocks of query rows: the memory holds K and V of a block's keys
    /// and its Q or P as the products read them, the scores and O, and the bias of each distance.
    #[inline(always)]
    fn head(
        &self,
        products: impl Products<T>,
        head: &Head<T>,
        [k, v, left, s, o, spread]: [&mut [T]; 6],
    ) {
        let (d, hidden) = (self.call.d, self.call.hidden);
        if let Some(bias) = self.bias {
            bias.spread(head, spread);
        }
        let mut prepared = 0..0;
        for (first, m) in head.blocks() {
            let keys = head.keys(first, m);
            let n = keys.len();
            if prepared != keys {
                let rows = [self.k, self.v].map(|x| head.part(x, keys.start));
                products.prepare(rows, (n, d), [&mut *k, &mut *v]);
                prepared = keys.clone();
            }
            products.multiply((m, d, n), head.part(self.q, first).mat(), k, left, s);
            let tall = products.pad(n);
            for i in 0..m {
                let at = ScoreRow { query: first + i, key: keys.start };
                self.probabilities(head, at, spread, &mut row(s, i, tall)[..pad(n)]);
            }
            let p = Mat { data: &*s, row: tall, col: 1 };
            products.multiply((m, n, d), p, v, left, o);
            let at = (head.start + first) * hidden + head.column;
            let target = Target { out: &self.out, first: at, stride: hidden };
            // SAFETY: this task alone writes this head of this sequence.
            unsafe { target.write((o, products.pad(d)), m, d) };
        }
    }

    /// Turns a row of raw scores into dropout(P), and writes L.
    #[inline(always)]
    fn probabilities(&self, head: &Head<T>, at: ScoreRow, spread: &[T], row: &mut [T]) {
        let place = head.number * self.call.tokens + head.start + at.query;
        // SAFETY: this task alone writes this head of this sequence.
        let lse = unsafe { self.lse.slice(place..place + 1) };
        lse[0] = match self.bias {
            None => softmax_row(row, head.seen(at), head.scale),
            Some(_) => {
                bias::add(head, at, spread, row);
                softmax_row(row, head.seen(at), T::ONE)
            }
        };
        if let Some(dropout) = &head.dropout {
            dropout.apply(head.words(at), row);
        }
    }
}

/// Turns a row of scores into probabilities; returns the logarithm of the denominator. Columns
/// that are not `seen` become 0.
#[inline(always)]
fn softmax_row<T: Float>(row: &mut [T], seen: Range<usize>, scale: T) -> T {
    let max = T::largest(row[seen.clone()].iter().map(
        #[inline(always)]
        |&x| x * scale,
    ));
    powers(row, scale, max);
    row[..seen.start].fill(T::ZERO);
    row[seen.end..].fill(T::ZERO);
    let sum = simd::sum(row);
    let factor = T::ONE / sum;
    for x in row.iter_mut() {
        *x *= factor;
    }
    max + sum.ln()
}
