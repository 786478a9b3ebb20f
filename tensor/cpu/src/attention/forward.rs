//! `O = dropout(softmax(Q·Kᵀ·scale + B))·V` of each head of each sequence, and L.

use std::ops::Range;

use gradus_base::op::attention::{Attention, Sequences};
use gradus_base::{Result, dispatch_float};

use super::bias::{self, Bias};
use super::product::product;
use super::task::{BLOCK, Call, Head, Rows, ScoreRow, Target, pad, powers, row};
use crate::create;
use crate::mat::Mat;
use crate::math::Float;
use crate::parallel::SharedMut;
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
    dispatch_float!("attention", q.dtype(), forward_of::<T>(&call, operands, bias))
}

fn forward_of<T: Float>(
    call: &Call,
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
    let (width, tall) = (pad(call.d), pad(call.widest()));
    let spread = if bias.is_some() { bias::distances(call.longest()) } else { 0 };
    let sizes = [call.d * tall, call.longest() * width, BLOCK * tall, BLOCK * width, spread];
    call.run(
        2,
        sizes,
        #[inline(always)]
        |head, memory| kernel.head(&head, memory),
    )?;
    Ok((out.into_array(q.shape()), lse.into_array(&statistics)))
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
    /// One head of one sequence, by blocks of query rows: the memory holds V, of a block Kᵀ, the
    /// scores and O, and the bias of each distance.
    #[inline(always)]
    fn head(&self, head: &Head<T>, [kt, v, s, o, spread]: [&mut [T]; 5]) {
        let (n, d, hidden) = (head.n, self.call.d, self.call.hidden);
        let width = pad(d);
        head.part(self.v, 0).pack(n, d, v);
        if let Some(bias) = self.bias {
            bias.spread(head, spread);
        }
        let mut transposed = 0..0;
        for (first, m) in head.blocks() {
            let keys = head.keys(first, m);
            let tall = pad(keys.len());
            if transposed != keys {
                head.part(self.k, keys.start).transpose(keys.len(), d, kt);
                transposed = keys.clone();
            }
            let q = head.part(self.q, first);
            product((m, d, tall), q.mat(), kt, s, false);
            for i in 0..m {
                let at = ScoreRow { query: first + i, key: keys.start };
                self.probabilities(head, at, spread, row(s, i, tall));
            }
            let (sizes, p) = ((m, keys.len(), width), Mat { data: &*s, row: tall, col: 1 });
            product(sizes, p, &v[keys.start * width..], o, false);
            let at = (head.start + first) * hidden + head.column;
            let target = Target { out: &self.out, first: at, stride: hidden };
            // SAFETY: this task alone writes this head of this sequence.
            unsafe { target.write(o, m, d) };
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
