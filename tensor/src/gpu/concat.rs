//! Joining and padding are launches of `concat.wgsl`. Reversing is a copy (`copy.wgsl`) with
//! negative strides.

use gradus_base::Layout;
use gradus_shaders as shaders;

use super::context::Launch;
use super::copy::copy_walk;
use super::storage::{output, scalar};
use super::walk::{self, Walk};
use crate::{Result, Tensor};

/// Joins `tensors`, whose shapes differ only in dimension `dim`, into one of `shape`, with one
/// launch for each, or for several where their places in the result follow each other.
pub(crate) fn cat(
    op: &'static str,
    tensors: &[&Tensor],
    dim: usize,
    shape: &[usize],
) -> Result<Tensor> {
    let whole = Layout::contiguous(shape);
    let scalar = scalar(op, tensors[0].dtype())?;
    let y = output(op, tensors[0].gpu(), shape, tensors[0].dtype())?;
    let end_to_end = shape[..dim].iter().all(|&size| size == 1);
    if end_to_end && tensors.iter().all(|t| t.is_contiguous()) {
        join_into(op, tensors, &y)?;
        return Ok(y);
    }
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

/// The elements of `tensors` (contiguous, of one dtype), one tensor after another.
pub(super) fn join(op: &'static str, tensors: &[&Tensor]) -> Result<Tensor> {
    let numel = tensors.iter().map(|t| t.numel()).sum();
    let y = output(op, tensors[0].gpu(), &[numel], tensors[0].dtype())?;
    join_into(op, tensors, &y)?;
    Ok(y)
}

fn join_into(op: &'static str, tensors: &[&Tensor], y: &Tensor) -> Result<()> {
    const MOST: usize = shaders::concat::MOST as usize;
    let scalar = scalar(op, y.dtype())?;
    let full: Vec<&Tensor> = tensors.iter().copied().filter(|t| t.numel() > 0).collect();
    let mut base = 0;
    for now in full.chunks(MOST) {
        let many = now.len() as u32;
        let mut numel = 0;
        let ends: Vec<u32> = now
            .iter()
            .map(|t| {
                numel += t.numel() as u32;
                numel
            })
            .collect();
        let args: Vec<u32> =
            [base].into_iter().chain(now.iter().map(|t| t.start())).chain(ends).collect();
        let groups = (numel as u64).div_ceil(shaders::WORKGROUP as u64);
        let launch = Launch {
            op,
            key: ("concat.join", scalar.code() << 8 | many as u64),
            inputs: &now.iter().map(|t| t.buffer()).collect::<Vec<_>>(),
            outputs: &[y.buffer()],
            immediates: bytemuck::cast_slice(&args),
            groups: y.gpu().grid(op, groups)?,
        };
        y.gpu().launch(&launch, || shaders::concat::join(scalar, many))?;
        base += numel;
    }
    Ok(())
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
    // Too many dimensions for one launch: reverses one at a time, with those before it merged into
    // one, and likewise those after it.
    let mut x = x.clone();
    for d in (0..reversed.len()).filter(|&d| reversed[d]) {
        let shape = x.shape().to_vec();
        let around = |sizes: &[usize]| sizes.iter().product::<usize>();
        let three = x.reshape(&[around(&shape[..d]), shape[d], around(&shape[d + 1..])])?;
        x = flip(&three, &[false, true, false])?.reshape(&shape)?;
    }
    Ok(x)
}

/// A layout that starts at the far end of the reversed dimensions. Their strides are negative
/// modulo 2³², as kernels compute.
fn backwards(layout: &Layout, reversed: &[bool]) -> Layout {
    let mut backwards = layout.clone();
    for d in (0..reversed.len()).filter(|&d| reversed[d]) {
        backwards.offset += (layout.shape[d] - 1) * layout.strides[d];
        backwards.strides[d] = (layout.strides[d] as u32).wrapping_neg() as usize;
    }
    backwards
}
