//! `O = dropout(softmax(Q·Kᵀ·scale))·V` of each head of each sequence, and L.

use gradus_base::op::attention::{Attention, Sequences};
use gradus_base::{Result, dispatch_float};

use super::product::product;
use super::task::{BLOCK, Call, Head, Rows, Target, pad, row};
use crate::create;
use crate::mat::Mat;
use crate::math::Float;
use crate::parallel::SharedMut;
use crate::simd;
use crate::storage::Output;
use crate::view::{Array, View, ViewOrCopy};

/// The output `[tokens, hidden]`, and the logarithms of the denominators `[heads, tokens]`.
pub fn forward(sequences: Sequences<View>, options: &Attention) -> Result<(Array, Array)> {
    let Sequences { q, k, v, bounds, .. } = sequences;
    if q.shape()[0] == 0 {
        let lse = create::full(&[options.heads, 0], 0.0, q.dtype())?;
        return Ok((create::full(q.shape(), 0.0, q.dtype())?, lse));
    }
    let operands = [q.unit_columns()?, k.unit_columns()?, v.unit_columns()?];
    let operands = operands.each_ref().map(ViewOrCopy::view);
    dispatch_float!("attention", q.dtype(), forward_of::<T>(operands, bounds, options))
}

fn forward_of<T: Float>(
    [q, k, v]: [View; 3],
    bounds: &[usize],
    options: &Attention,
) -> Result<(Array, Array)> {
    let call = Call::new(q, bounds, options)?;
    let mut out = Output::<T>::new("attention", q.shape())?;
    let mut lse = Output::<T>::new("attention", &[options.heads, call.tokens])?;
    let kernel = Forward {
        call: &call,
        q: Rows::new(q),
        k: Rows::new(k),
        v: Rows::new(v),
        out: SharedMut::new(out.slice_mut()),
        lse: SharedMut::new(lse.slice_mut()),
    };
    let (width, tall) = (pad(call.d), pad(call.longest()));
    let sizes = [call.d * tall, call.longest() * width, BLOCK * tall, BLOCK * width];
    call.run(
        2,
        sizes,
        #[inline(always)]
        |head, memory| kernel.head(&head, memory),
    )?;
    Ok((out.into_array(q.shape()), lse.into_array(&[options.heads, call.tokens])))
}

struct Forward<'a, T> {
    call: &'a Call<'a>,
    q: Rows<'a, T>,
    k: Rows<'a, T>,
    v: Rows<'a, T>,
    out: SharedMut<'a, T>,
    lse: SharedMut<'a, T>,
}

impl<T: Float> Forward<'_, T> {
    /// One head of one sequence, by blocks of query rows: the memory holds Kᵀ, V, and of a block
    /// the scores and O.
    #[inline(always)]
    fn head(&self, head: &Head<T>, [kt, v, s, o]: [&mut [T]; 4]) {
        let (n, d, hidden) = (head.n, self.call.d, self.call.hidden);
        let (tall, width) = (pad(n), pad(d));
        head.part(self.k, 0).transpose(n, d, kt);
        head.part(self.v, 0).pack(n, d, v);
        for (first, m) in head.blocks() {
            let q = head.part(self.q, first);
            product((m, d, tall), q.mat(), kt, s, false);
            for i in 0..m {
                self.probabilities(head, first + i, row(s, i, tall));
            }
            product((m, n, width), Mat { data: s, row: tall, col: 1 }, v, o, false);
            let at = (head.start + first) * hidden + head.column;
            let target = Target { out: &self.out, first: at, stride: hidden };
            // SAFETY: this task alone writes this head of this sequence.
            unsafe { target.write(o, m, d) };
        }
    }

    /// Turns the raw scores of query `i` of the sequence into dropout(P), and writes L.
    #[inline(always)]
    fn probabilities(&self, head: &Head<T>, i: usize, row: &mut [T]) {
        let at = head.number * self.call.tokens + head.start + i;
        // SAFETY: this task alone writes this head of this sequence.
        let lse = unsafe { self.lse.slice(at..at + 1) };
        lse[0] = softmax_row(row, head.n, head.scale);
        if let Some(dropout) = &head.dropout {
            dropout.apply(head.words(i), row);
        }
    }
}

/// Turns a row of raw scores into probabilities; returns the logarithm of the denominator. Columns
/// from `n` on become 0.
#[inline(always)]
fn softmax_row<T: Float>(row: &mut [T], n: usize, scale: T) -> T {
    let max = T::largest(row[..n].iter().map(
        #[inline(always)]
        |&x| x * scale,
    ));
    for x in row.iter_mut() {
        *x = (*x * scale - max).exp();
    }
    row[n..].fill(T::ZERO);
    let sum = simd::reduce(row, T::ZERO, |a, x| a + x, |a, b| a + b);
    let factor = T::ONE / sum;
    for x in row.iter_mut() {
        *x *= factor;
    }
    max + sum.ln()
}
