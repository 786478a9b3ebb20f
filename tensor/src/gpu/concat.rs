//! Joining and padding, launches of `concat.wgsl`; reversing, a copy (`copy.wgsl`) with strides below 0.

use super::copy::copy_walk;
use super::storage::{output, scalar};
use super::walk::{self, Walk};
use crate::layout::Layout;
use crate::{Result, Tensor};
use gradus_shaders as shaders;

/// Joins `tensors`, equal but for dimension `dim`, into one of `shape`: a launch for each.
pub(crate) fn cat(
    op: &'static str,
    tensors: &[&Tensor],
    dim: usize,
    shape: &[usize],
) -> Result<Tensor> {
    let whole = Layout::contiguous(shape);
    let scalar = scalar(op, tensors[0].dtype())?;
    let y = output(op, tensors[0].gpu(), shape, tensors[0].dtype())?;
    let mut at = 0;
    for tensor in tensors {
        let mut place = whole.clone();
        place.shape[dim] = tensor.shape()[dim];
        place.offset = at * place.strides[dim];
        at += place.shape[dim];
        let copied;
        let (x, walk) = match Walk::new(&[&tensor.layout, &place]) {
            Some(walk) => (*tensor, walk),
            None => {
                copied = tensor.copy()?;
                let walk = Walk::new(&[&copied.layout, &place]);
                (&copied, walk.expect("without gaps, the dimensions around `dim` merge"))
            }
        };
        let key = ("concat.put", scalar.code());
        walk::launch(op, key, &walk, &[x.buffer()], &y, || shaders::concat::put(scalar))?;
    }
    Ok(y)
}

/// The elements of `x` in reverse order along the dimensions where `reversed` is true.
pub(crate) fn flip(x: &Tensor, reversed: &[bool]) -> Result<Tensor> {
    let y = output("flip", x.gpu(), x.shape(), x.dtype())?;
    if y.numel() == 0 {
        return Ok(y);
    }
    if let Some(walk) = Walk::new(&[&backwards(&x.layout, reversed)]) {
        copy_walk("flip", x, &y, &walk)?;
        return Ok(y);
    }
    // Too many dimensions: one after another, those before and behind it as one.
    let mut x = x.clone();
    for d in (0..reversed.len()).filter(|&d| reversed[d]) {
        let shape = x.shape().to_vec();
        let around = |sizes: &[usize]| sizes.iter().product::<usize>();
        let three = x.reshape(&[around(&shape[..d]), shape[d], around(&shape[d + 1..])])?;
        x = flip(&three, &[false, true, false])?.reshape(&shape)?;
    }
    Ok(x)
}

/// From the far end of the reversed dimensions, with their strides negative modulo 2³², as kernels count.
fn backwards(layout: &Layout, reversed: &[bool]) -> Layout {
    let mut backwards = layout.clone();
    for d in (0..reversed.len()).filter(|&d| reversed[d]) {
        backwards.offset += (layout.shape[d] - 1) * layout.strides[d];
        backwards.strides[d] = (layout.strides[d] as u32).wrapping_neg() as usize;
    }
    backwards
}
