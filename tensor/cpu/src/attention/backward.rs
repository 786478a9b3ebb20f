//! dQ, dK and dV of each head of each sequence, and dB, from L and dO.

use gradus_base::op::attention::{Attention, GradientLayout, Sequences};
use gradus_base::{Result, dispatch_float};

use super::bias::{self, Bias, Gradients, Parts};
use super::product::product;
use super::task::{BLOCK, Call, Head, Rows, ScoreRow, Target, pad, powers, row};
use crate::create;
use crate::mat::Mat;
use crate::math::Float;
use crate::parallel::SharedMut;
use crate::simd;
use crate::storage::Output;
use crate::view::{Array, View, ViewOrCopy};

/// The gradients of query, key and value in one array, as `layout` says, and that of the bias if
/// it is wanted.
pub fn backward(
    sequences: Sequences<View>,
    lse: View,
    grad: View,
    options: &Attention,
    layout: GradientLayout,
) -> Result<(Array, Option<Array>)> {
    let Sequences { q, k, v, bias, bounds, .. } = sequences;
    if q.shape()[0] == 0 {
        let bias = bias.filter(|_| layout.bias);
        let bias = bias.map(|bias| create::full(bias.shape(), 0.0, bias.dtype())).transpose()?;
        return Ok((create::full(&[0], 0.0, q.dtype())?, bias));
    }
    let call = Call::new(q, bounds, options)?;
    let operands = [q.unit_columns()?, k.unit_columns()?, v.unit_columns()?, grad.unit_columns()?];
    let operands = operands.each_ref().map(ViewOrCopy::view);
    let bias = bias.map(View::contiguous).transpose()?;
    let lse = lse.contiguous()?;
    let saved = Saved { operands, bias: bias.as_ref().map(ViewOrCopy::view), lse: lse.view() };
    dispatch_float!("attention", q.dtype(), backward_of::<T>(&call, saved, layout))
}

/// What the kernel reads: Q, K, V and dO, B and L.
struct Saved<'a> {
    operands: [View<'a>; 4],
    bias: Option<View<'a>>,
    lse: View<'a>,
}

fn backward_of<T: Float>(
    call: &Call,
    saved: Saved,
    layout: GradientLayout,
) -> Result<(Array, Option<Array>)> {
    let Saved { operands: [q, k, v, grad], bias, lse } = saved;
    let mut out = Output::<T>::new("attention", &[3, call.tokens, call.hidden])?;
    let wanted = bias.filter(|_| layout.bias);
    let mut gradients = wanted.map(|bias| Gradients::<T>::new(call, bias)).transpose()?;
    let kernel = Backward {
        call,
        q: Rows::new(q),
        k: Rows::new(k),
        v: Rows::new(v),
        bias: bias.map(Bias::new),
        grad: Rows::new(grad),
        lse: lse.slice::<T>(),
        out: SharedMut::new(out.slice_mut()),
        layout,
        dbias: gradients.as_mut().map(Gradients::parts),
    };
    call.run(
        5,
        kernel.memory_sizes(),
        #[inline(always)]
        |head, memory| kernel.head(&head, memory.into()),
    )?;
    let dbias = gradients.map(Gradients::total).transpose()?;
    Ok((out.into_array(&[3 * call.tokens * call.hidden]), dbias))
}

struct Backward<'a, T> {
    call: &'a Call<'a>,
    q: Rows<'a, T>,
    k: Rows<'a, T>,
    v: Rows<'a, T>,
    /// B
    bias: Option<Bias<'a, T>>,
    /// dO
    grad: Rows<'a, T>,
    /// L
    lse: &'a [T],
    out: SharedMut<'a, T>,
    layout: GradientLayout,
    /// Where dB goes, if it is wanted.
    dbias: Option<Parts<'a, T>>,
}

/// A task's memory: the operands of a head, a block's matrices, and the sums over the blocks.
struct Memory<M> {
    q: M,
    k: M,
    /// dO
    grad: M,
    /// Of the keys of a block.
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
    /// B of each distance.
    bias: M,
    /// Sums of dS over the pairs of each distance.
    dbias: M,
}

impl<M> From<[M; 12]> for Memory<M> {
    #[inline(always)]
    fn from([q, k, grad, kt, vt, p, ds, dq, dk, dv, bias, dbias]: [M; 12]) -> Self {
        Memory { q, k, grad, kt, vt, p, ds, dq, dk, dv, bias, dbias }
    }
}

impl<T: Float> Backward<'_, T> {
    /// The elements of each part of [`Memory`].
    fn memory_sizes(&self) -> [usize; 12] {
        let (n, d, tall) = (self.call.longest(), self.call.d, pad(self.call.widest()));
        let (rows, columns, block) = (n * pad(d), d * tall, BLOCK * tall);
        let distances = |wanted: bool| if wanted { bias::distances(n) } else { 0 };
        let (bias, dbias) = (distances(self.bias.is_some()), distances(self.dbias.is_some()));
        let dq = BLOCK * pad(d);
        [rows, rows, rows, columns, columns, block, block, dq, rows, rows, bias, dbias]
    }

    /// One head of one sequence, by blocks of query rows.
    #[inline(always)]
    fn head(&self, head: &Head<T>, memory: Memory<&mut [T]>) {
        let Memory { q, k, grad, kt, vt, p, ds, dq, dk, dv, bias, dbias } = memory;
        let (n, d) = (head.n, self.call.d);
        let width = pad(d);
        head.part(self.q, 0).pack(n, d, q);
        head.part(self.k, 0).pack(n, d, k);
        head.part(self.grad, 0).pack(n, d, grad);
        if let Some(table) = self.bias {
            table.spread(head, bias);
        }
        dbias.fill(T::ZERO);
        // The first block writes dK and dV if it sees all keys; else all blocks add to them.
        let sees_all = head.keys(0, BLOCK.min(n)) == (0..n);
        if !sees_all {
            dk[..n * width].fill(T::ZERO);
            dv[..n * width].fill(T::ZERO);
        }
        let mut transposed = 0..0;
        for (first, m) in head.blocks() {
            let keys = head.keys(first, m);
            let tall = pad(keys.len());
            if transposed != keys {
                head.part(self.v, keys.start).transpose(keys.len(), d, vt);
                head.part(self.k, keys.start).transpose(keys.len(), d, kt);
                transposed = keys.clone();
            }
            let (q, grad) = (&q[first * width..], &grad[first * width..]);
            product((m, d, tall), Mat { data: q, row: width, col: 1 }, kt, p, false);
            product((m, d, tall), Mat { data: grad, row: width, col: 1 }, vt, ds, false);
            for i in 0..m {
                let at = ScoreRow { query: first + i, key: keys.start };
                let rows = [row(p, i, tall), row(ds, i, tall)];
                self.scores(head, at, rows, [&mut *bias, &mut *dbias]);
            }
            let (k, from) = (&k[keys.start * width..], keys.start * width);
            product((m, keys.len(), width), Mat { data: ds, row: tall, col: 1 }, k, dq, false);
            self.write(head, first, dq, m, 0);
            let (add, sizes) = (first > 0 || !sees_all, (keys.len(), m, width));
            product(sizes, Mat { data: ds, row: 1, col: tall }, q, &mut dk[from..], add);
            product(sizes, Mat { data: p, row: 1, col: tall }, grad, &mut dv[from..], add);
        }
        self.write(head, 0, dk, n, 1);
        self.write(head, 0, dv, n, 2);
        if let Some(gradient) = &self.dbias {
            gradient.write(head, dbias);
        }
    }

    /// Turns the rows of a query, of raw scores and of dO·Vᵀ, into dropout(P) and dS·scale.
    #[inline(always)]
    fn scores(
        &self,
        head: &Head<T>,
        at: ScoreRow,
        [p, ds]: [&mut [T]; 2],
        [bias, dbias]: [&mut [T]; 2],
    ) {
        let lse = self.lse[head.number * self.call.tokens + head.start + at.query];
        let mut scale = head.scale;
        if self.bias.is_some() {
            bias::add(head, at, bias, p);
            scale = T::ONE;
        }
        powers(p, scale, lse);
        let seen = head.seen(at);
        p[..seen.start].fill(T::ZERO);
        p[seen.end..].fill(T::ZERO);
        if let Some(dropout) = &head.dropout {
            dropout.apply_and_mark(head.words(at), ds, p);
        }
        // Σ dP·P; dropout may have given P a minus.
        let dot = simd::reduce2(p, ds, T::ZERO, |sum, p, dp| sum + p.abs() * dp, |a, b| a + b);
        if self.dbias.is_some() {
            for (p, ds) in p.iter().zip(ds.iter_mut()) {
                *ds = p.abs() * (*ds - dot);
            }
            bias::collect(head, at, ds, dbias);
            ds.iter_mut().for_each(|ds| *ds *= head.scale);
        } else {
            for (p, ds) in p.iter().zip(ds.iter_mut()) {
                *ds = p.abs() * (*ds - dot) * head.scale;
            }
        }
        if let Some(dropout) = &head.dropout {
            dropout.apply_marked(p);
        }
    }

    /// Writes `n` rows from row `first` of the sequence on of gradient `part`: 0 dQ, 1 dK, 2 dV.
    #[inline(always)]
    fn write(&self, head: &Head<T>, first: usize, rows: &[T], n: usize, part: usize) {
        let GradientLayout { row, part: distance, .. } = self.layout;
        let d = self.call.d;
        let first = part * distance + (head.start + first) * row + head.column;
        // SAFETY: this task alone writes this head of this sequence.
        unsafe { Target { out: &self.out, first, stride: row }.write((rows, pad(d)), n, d) };
    }
}
