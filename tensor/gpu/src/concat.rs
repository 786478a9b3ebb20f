//! Joining and padding are launches of `concat.wgsl`. Reversing is a copy (`copy.wgsl`) with
//! negative strides.

use gradus_base::{Layout, Result};
use gradus_shaders as shaders;

use super::context::Launch;
use super::copy::copy_walk;
use super::storage::scalar;
use super::view::{Array, View};
use super::walk::Walk;

/// Joins `parts`, whose shapes differ only in dimension `dim`, into one of `shape`, with one launch
/// for each, or for several where their places in the result follow each other.
///
/// # Errors
/// Of `op`, if memory is short.
pub fn cat(op: &'static str, parts: Vec<View>, dim: usize, shape: &[usize]) -> Result<Array> {
    let whole = Layout::contiguous(shape);
    let scalar = scalar(op, parts[0].dtype())?;
    let y = Array::new(op, parts[0].gpu(), shape, parts[0].dtype())?;
    let end_to_end = shape[..dim].iter().all(|&size| size == 1);
    if end_to_end && parts.iter().all(|x| x.is_contiguous()) {
        join_into(op, &parts, &y)?;
        return Ok(y);
    }
    let mut at = 0;
    for x in parts {
        let mut place = whole.clone();
        place.shape[dim] = x.shape()[dim];
        place.offset = at * place.strides[dim];
        at += place.shape[dim];
        let copied;
        let (x, walk) = match Walk::new(&[x.layout(), &place]) {
            Some(walk) => (x, walk),
            None => {
                copied = x.copy(op)?;
                let walk = Walk::new(&[copied.view().layout(), &place]);
                (copied.view(), walk.expect("without gaps, the dimensions around `dim` merge"))
            }
        };
        let key = ("concat.put", scalar.code());
        walk.launch(op, key, &[x.buffer()], y.storage(), || shaders::concat::put(scalar))?;
    }
    Ok(y)
}

/// The elements of `parts` (contiguous, of one dtype), one part after another.
pub(super) fn join(op: &'static str, parts: &[View]) -> Result<Array> {
    let numel = parts.iter().map(|x| x.numel()).sum();
    let y = Array::new(op, parts[0].gpu(), &[numel], parts[0].dtype())?;
    join_into(op, parts, &y)?;
    Ok(y)
}

fn join_into(op: &'static str, parts: &[View], y: &Array) -> Result<()> {
    let scalar = scalar(op, y.dtype())?;
    let gpu = y.storage().gpu();
    let full: Vec<View> = parts.iter().copied().filter(|x| x.numel() > 0).collect();
    let mut base = 0;
    for now in full.chunks(shaders::concat::MAX_JOINED as usize) {
        let many = now.len() as u32;
        let mut numel = 0;
        let ends: Vec<u32> = now
            .iter()
            .map(|x| {
                numel += x.numel() as u32;
                numel
            })
            .collect();
        let args: Vec<u32> =
            [base].into_iter().chain(now.iter().map(|x| x.start())).chain(ends).collect();
        let groups = (numel as u64).div_ceil(shaders::WORKGROUP as u64);
        let launch = Launch {
            op,
            key: ("concat.join", scalar.code() << 8 | many as u64),
            inputs: &now.iter().map(|x| x.buffer()).collect::<Vec<_>>(),
            outputs: &[y.buffer()],
            immediates: bytemuck::cast_slice(&args),
            groups: gpu.grid(op, groups)?,
        };
        gpu.launch(&launch, || shaders::concat::join(scalar, many))?;
        base += numel;
    }
    Ok(())
}

/// The elements of `x` in reverse order along the dimensions where `reversed` is true.
///
/// # Errors
/// If memory is short.
pub fn flip(x: View, reversed: &[bool]) -> Result<Array> {
    let op = "flip";
    if x.numel() == 0 {
        return Array::new(op, x.gpu(), x.shape(), x.dtype());
    }
    if let Some(walk) = Walk::new(&[&backwards(x.layout(), reversed)]) {
        let y = Array::new(op, x.gpu(), x.shape(), x.dtype())?;
        copy_walk(op, x, (y.storage(), y.dtype()), &walk)?;
        return Ok(y);
    }
    // Too many dimensions for one launch: reverses one at a time, with those before it merged into
    // one, and likewise those after it.
    let shape = x.shape();
    let around = |sizes: &[usize]| sizes.iter().product::<usize>();
    let mut y = x.copy(op)?;
    for d in (0..reversed.len()).filter(|&d| reversed[d]) {
        let three = Layout::contiguous(&[around(&shape[..d]), shape[d], around(&shape[d + 1..])]);
        y = flip(y.view().with(&three), &[false, true, false])?;
    }
    Ok(y.reshape(shape))
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
