//! dQ, dK and dV of each head of each sequence, from L and dO.

use gradus_base::op::attention::{Attention, GradientLayout, Sequences};
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

/// The gradients of query, key and value in one array, as `layout` says.
pub fn backward(
    sequences: Sequences<View>,
    lse: View,
    grad: View,
    options: &Attention,
    layout: GradientLayout,
) -> Result<Array> {
    let Sequences { q, k, v, bounds, .. } = sequences;
    if q.shape()[0] == 0 {
        return create::full(&[0], 0.0, q.dtype());
    }
    let call = Call::new(q, bounds, options)?;
    let operands = [q.unit_columns()?, k.unit_columns()?, v.unit_columns()?, grad.unit_columns()?];
    let operands = operands.each_ref().map(ViewOrCopy::view);
    let lse = lse.contiguous()?;
    dispatch_float!("attention", q.dtype(), backward_of::<T>(&call, operands, lse.view(), layout))
}

fn backward_of<T: Float>(
    call: &Call,
    [q, k, v, grad]: [View; 4],
    lse: View,
    layout: GradientLayout,
) -> Result<Array> {
    let mut out = Output::<T>::new("attention", &[3, call.tokens, call.hidden])?;
    let kernel = Backward {
        call,
        q: Rows::new(q),
        k: Rows::new(k),
        v: Rows::new(v),
        grad: Rows::new(grad),
        lse: lse.slice::<T>(),
        out: SharedMut::new(out.slice_mut()),
        layout,
    };
    call.run(
        5,
        memory_sizes(call.longest(), call.d),
        #[inline(always)]
        |head, memory| kernel.head(&head, memory.into()),
    )?;
    Ok(out.into_array(&[3 * call.tokens * call.hidden]))
}

struct Backward<'a, T> {
    call: &'a Call<'a>,
    q: Rows<'a, T>,
    k: Rows<'a, T>,
    v: Rows<'a, T>,
    /// dO
    grad: Rows<'a, T>,
    /// L
    lse: &'a [T],
    out: SharedMut<'a, T>,
    layout: GradientLayout,
}

/// A task's memory: the operands of a head, a block's matrices, and the sums over the blocks.
struct Memory<M> {
    q: M,
    k: M,
    /// dO
    grad: M,
    kt: M,
    vt: M,
    /// Of a block: P, then dropout(P).
    p: M,
    /// Of a block: dO·Vᵀ, then dS.
    ds: M,
    /// Of a block.
    dq: M,
    dk: M,
    dv: M,
}

/// The elements of each part of [`Memory`] for `n` tokens and heads of `d` elements.
fn memory_sizes(n: usize, d: usize) -> [usize; 10] {
    let (rows, columns, block) = (n * pad(d), d * pad(n), BLOCK * pad(n));
    [rows, rows, rows, columns, columns, block, block, BLOCK * pad(d), rows, rows]
}

impl<M> From<[M; 10]> for Memory<M> {
    #[inline(always)]
    fn from([q, k, grad, kt, vt, p, ds, dq, dk, dv]: [M; 10]) -> Self {
        Memory { q, k, grad, kt, vt, p, ds, dq, dk, dv }
    }
}

impl<T: Float> Backward<'_, T> {
    /// One head of one sequence, by blocks of query rows.
    #[inline(always)]
    fn head(&self, head: &Head<T>, memory: Memory<&mut [T]>) {
        let Memory { q, k, grad, kt, vt, p, ds, dq, dk, dv } = memory;
        let (n, d) = (head.n, self.call.d);
        let (tall, width) = (pad(n), pad(d));
        head.part(self.v, 0).transpose(n, d, vt);
        head.part(self.q, 0).pack(n, d, q);
        head.part(self.k, 0).pack(n, d, k);
        head.part(self.k, 0).transpose(n, d, kt);
        head.part(self.grad, 0).pack(n, d, grad);
        for (first, m) in head.blocks() {
            let (q, grad) = (&q[first * width..], &grad[first * width..]);
            product((m, d, tall), Mat { data: q, row: width, col: 1 }, kt, p, false);
            product((m, d, tall), Mat { data: grad, row: width, col: 1 }, vt, ds, false);
            for i in 0..m {
                self.scores(head, first + i, row(p, i, tall), row(ds, i, tall));
            }
            product((m, n, width), Mat { data: ds, row: tall, col: 1 }, k, dq, false);
            self.write(head, first, dq, m, 0);
            let add = first > 0;
            product((n, m, width), Mat { data: ds, row: 1, col: tall }, q, dk, add);
            product((n, m, width), Mat { data: p, row: 1, col: tall }, grad, dv, add);
        }
        self.write(head, 0, dk, n, 1);
        self.write(head, 0, dv, n, 2);
    }

    /// Turns the rows of query `i` of the sequence, of raw scores and of dO·Vᵀ, into dropout(P) and
    /// dS.
    #[inline(always)]
    fn scores(&self, head: &Head<T>, i: usize, p: &mut [T], ds: &mut [T]) {
        let lse = self.lse[head.number * self.call.tokens + head.start + i];
        for x in p.iter_mut() {
            *x = (*x * head.scale - lse).exp();
        }
        p[head.n..].fill(T::ZERO);
        if let Some(dropout) = &head.dropout {
            dropout.apply_and_mark(head.words(i), ds, p);
        }
        // Σ dP·P; dropout may have given P a minus.
        let dot = simd::reduce2(p, ds, T::ZERO, |sum, p, dp| sum + p.abs() * dp, |a, b| a + b);
        for (p, ds) in p.iter().zip(ds.iter_mut()) {
            *ds = p.abs() * (*ds - dot) * head.scale;
        }
        if let Some(dropout) = &head.dropout {
            dropout.apply_marked(p);
        }
    }

    /// Writes `n` rows from row `first` of the sequence on of gradient `part`: 0 dQ, 1 dK, 2 dV.
    #[inline(always)]
    fn write(&self, head: &Head<T>, first: usize, rows: &[T], n: usize, part: usize) {
        let GradientLayout { row, part: distance } = self.layout;
        let first = part * distance + (head.start + first) * row + head.column;
        // SAFETY: this task alone writes this head of this sequence.
        unsafe { Target { out: &self.out, first, stride: row }.write(rows, n, self.call.d) };
    }
}
