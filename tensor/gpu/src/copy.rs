//! Copies, conversions, fills: launches of `copy.wgsl`.

use gradus_base::{DType, Layout, Result};
use gradus_shaders as shaders;

use super::context::Gpu;
use super::storage::{GpuStorage, scalar};
use super::view::{Array, View, ViewMut, ViewOrCopy};
use super::walk::Walk;

impl<'a> View<'a> {
    /// A copy in row-major order.
    ///
    /// # Errors
    /// Of `op`, if memory is short.
    pub fn copy(self, op: &'static str) -> Result<Array> {
        convert(op, self, self.dtype())
    }

    /// The elements in row-major order: the view itself, or a copy.
    pub(super) fn contiguous(self, op: &'static str) -> Result<ViewOrCopy<'a>> {
        self.or_copy(op, self.is_contiguous())
    }

    /// The view itself where it lies as a kernel wants it, or a copy.
    pub(super) fn or_copy(self, op: &'static str, as_is: bool) -> Result<ViewOrCopy<'a>> {
        if as_is { Ok(ViewOrCopy::View(self)) } else { Ok(ViewOrCopy::Copy(self.copy(op)?)) }
    }

    /// The elements in this dtype: the view itself, or a copy.
    pub(super) fn to_dtype(self, op: &'static str, dtype: DType) -> Result<ViewOrCopy<'a>> {
        match self.dtype() == dtype {
            true => Ok(ViewOrCopy::View(self)),
            false => Ok(ViewOrCopy::Copy(convert(op, self, dtype)?)),
        }
    }

    /// The elements in this dtype and in row-major order: the view itself, or a copy.
    pub(super) fn contiguous_in(self, op: &'static str, dtype: DType) -> Result<ViewOrCopy<'a>> {
        if self.dtype() == dtype { self.contiguous(op) } else { self.to_dtype(op, dtype) }
    }
}

/// The same values in another dtype, row-major.
///
/// # Errors
/// Of `op`, if GPUs do not take the dtype, or memory is short.
pub fn convert(op: &'static str, x: View, dtype: DType) -> Result<Array> {
    let y = Array::new(op, x.gpu(), x.shape(), dtype)?;
    copy_into(op, x, (y.storage(), dtype), 0)?;
    Ok(y)
}

/// Overwrites the values with those of `source`, which has as many and the same dtype.
///
/// # Errors
/// If memory is short.
pub fn copy_(x: ViewMut, source: View) -> Result<()> {
    copy_into("copy_", source, (x.storage(), x.dtype()), 0)
}

/// Memory that a copy writes, and the type of its elements.
type Target<'a> = (&'a GpuStorage, DType);

/// Writes the elements of `x`, row-major, into `y` from element `first` on.
fn copy_into(op: &'static str, x: View, y: Target, first: usize) -> Result<()> {
    let Some(mut walk) = Walk::new(&[x.layout()]) else {
        // Too many dimensions for one kernel: copies the entries of the outermost one by one.
        let size = x.shape()[0];
        let part = x.numel() / size.max(1);
        for i in 0..size {
            copy_into(op, x.with(&entry(x.layout(), i)), y, first + i * part)?;
        }
        return Ok(());
    };
    walk.word = first as u32;
    copy_walk(op, x, y, &walk)
}

/// Entry `i` along the first dimension, without that dimension.
fn entry(layout: &Layout, i: usize) -> Layout {
    Layout {
        shape: layout.shape[1..].to_vec(),
        strides: layout.strides[1..].to_vec(),
        offset: layout.offset + i * layout.strides[0],
    }
}

/// Writes the elements of `x` in the order of `walk` into `y` from element `walk.word` on.
pub(super) fn copy_walk(op: &'static str, x: View, y: Target, walk: &Walk) -> Result<()> {
    let (storage, dtype) = y;
    let (from, to) = (scalar(op, x.dtype())?, scalar(op, dtype)?);
    let key = ("copy", from.code() * 16 + to.code());
    walk.launch(op, key, &[x.buffer()], storage, || shaders::copy::copy(from, to))
}

/// An array filled with one value.
///
/// # Errors
/// Of `op`, if GPUs do not take the dtype, or memory is short.
pub fn full(
    op: &'static str,
    gpu: &'static Gpu,
    shape: &[usize],
    value: f64,
    dtype: DType,
) -> Result<Array> {
    let y = Array::new(op, gpu, shape, dtype)?;
    let mut walk = Walk::new(&[&Layout::contiguous(&[y.numel()])]).expect("one dimension");
    walk.a = value as f32;
    walk.word = match dtype {
        DType::U32 => value as u32,
        DType::U8 => value as u8 as u32,
        _ => (value as f32).to_bits(),
    };
    let to = scalar(op, dtype)?;
    walk.launch(op, ("fill", to.code()), &[], y.storage(), || shaders::copy::fill(to))?;
    Ok(y)
}

/// The walk over `operands` (1 to 3 of one shape), and the operands. They are copied row-major
/// where their layouts have too many dimensions to walk together.
pub(super) fn walk_over<'a, const N: usize>(
    op: &'static str,
    operands: [View<'a>; N],
) -> Result<(Walk, [ViewOrCopy<'a>; N])> {
    let mut ready = operands.map(ViewOrCopy::View);
    if let Some(walk) = Walk::new(&operands.map(View::layout)) {
        return Ok((walk, ready));
    }
    for (ready, x) in ready.iter_mut().zip(operands) {
        *ready = ViewOrCopy::Copy(x.copy(op)?);
    }
    let walk = Walk::new(&ready.each_ref().map(|x| x.view().layout()));
    Ok((walk.expect("row-major layouts merge into one dimension"), ready))
}
