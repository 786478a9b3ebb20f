//! Copies, conversions, fills.

use std::borrow::Cow;
use std::sync::Arc;

use gradus_base::Layout;
use gradus_shaders as shaders;

use super::context::Gpu;
use super::storage::{output, scalar};
use super::walk::{self, Walk};
use crate::storage::Storage;
use crate::{DType, Result, Tensor};

/// A row-major copy in new storage.
pub(crate) fn copy(op: &'static str, x: &Tensor) -> Result<Tensor> {
    convert(op, x, x.dtype())
}

/// The same values in another dtype, row-major.
pub(crate) fn convert(op: &'static str, x: &Tensor, dtype: DType) -> Result<Tensor> {
    let y = output(op, x.gpu(), x.shape(), dtype)?;
    copy_into(op, x, &y, 0)?;
    Ok(y)
}

/// Writes the elements of `x`, row-major, into `y` from element `first` on; `y` must be new
/// or writable.
pub(crate) fn copy_into(op: &'static str, x: &Tensor, y: &Tensor, first: usize) -> Result<()> {
    let Some(mut walk) = Walk::new(&[x.layout()]) else {
        // Too many dimensions for one kernel: copies the entries of the outermost one by one.
        let part = x.numel() / x.shape()[0].max(1);
        for i in 0..x.shape()[0] {
            copy_into(op, &x.select(0, i)?, y, first + i * part)?;
        }
        return Ok(());
    };
    walk.word = first as u32;
    copy_walk(op, x, y, &walk)
}

/// Writes the elements of `x` in the order of `walk` into `y` from element `walk.word` on.
pub(super) fn copy_walk(op: &'static str, x: &Tensor, y: &Tensor, walk: &Walk) -> Result<()> {
    let (from, to) = (scalar(op, x.dtype())?, scalar(op, y.dtype())?);
    let key = ("copy", from.code() * 16 + to.code());
    walk::launch(op, key, walk, &[x.buffer()], y, || shaders::copy::copy(from, to))
}

impl Tensor {
    /// Makes the tensor contiguous and the only user of its buffer, so that a kernel may write it
    /// in place.
    pub(crate) fn make_writable(&mut self, op: &'static str) -> Result<()> {
        let mine = match Arc::get_mut(&mut self.storage) {
            Some(Storage::Gpu(storage)) => {
                storage.forget();
                true
            }
            _ => false,
        };
        if !mine || !self.is_contiguous() {
            *self = copy(op, self)?;
        }
        Ok(())
    }
}

/// A tensor filled with one value.
pub(crate) fn full(
    op: &'static str,
    gpu: &'static Gpu,
    shape: &[usize],
    value: f64,
    dtype: DType,
) -> Result<Tensor> {
    let y = output(op, gpu, shape, dtype)?;
    let mut walk = Walk::new(&[&Layout::contiguous(&[y.numel()])]).expect("one dimension");
    walk.a = value as f32;
    walk.word = match dtype {
        DType::U32 => value as u32,
        DType::U8 => value as u8 as u32,
        _ => (value as f32).to_bits(),
    };
    let to = scalar(op, dtype)?;
    walk::launch(op, ("fill", to.code()), &walk, &[], &y, || shaders::copy::fill(to))?;
    Ok(y)
}

/// Overwrites `y`, which has the shape and dtype of `x`.
pub(crate) fn copy_(y: &mut Tensor, x: &Tensor) -> Result<()> {
    if y.shares_storage(x) {
        *y = copy("copy_", x)?;
        return Ok(());
    }
    y.make_writable("copy_")?;
    copy_into("copy_", x, y, y.layout().offset())
}

/// The walk over `operands` (1 to 3 tensors of one shape). They are copied row-major where their
/// layouts have too many dimensions to walk together.
pub(super) fn walk_over<'a>(
    op: &'static str,
    operands: &[&'a Tensor],
) -> Result<(Walk, Vec<Cow<'a, Tensor>>)> {
    let layouts: Vec<&Layout> = operands.iter().map(|t| t.layout()).collect();
    if let Some(walk) = Walk::new(&layouts) {
        return Ok((walk, operands.iter().map(|t| Cow::Borrowed(*t)).collect()));
    }
    let copies: Vec<Tensor> = operands.iter().map(|t| copy(op, t)).collect::<Result<_>>()?;
    let layouts: Vec<&Layout> = copies.iter().map(|t| t.layout()).collect();
    let walk = Walk::new(&layouts).expect("row-major layouts merge into one dimension");
    Ok((walk, copies.into_iter().map(Cow::Owned).collect()))
}
