//! Reading and adding entries by id: launches of `index.wgsl`.
//!
//! The CPU decides the order of additions from its copy of the ids: each row of the result gets the
//! list of its additions, in order.

use gradus_base::Layout;
use gradus_shaders as shaders;

use super::context::Launch;
use super::storage::{float, output, scalar};
use super::transfer::upload;
use super::walk::{self, MAX_DIMS, Walk};
use crate::{Device, Result, Tensor, bail};

// All devices add in one order.
const _: () = assert!(shaders::index::RUN as usize == gradus_base::op::index::RUN);

/// With one thread a line, up to this many lines of at least [`LONG`] entries do not fill a GPU.
const FEW_LINES: usize = 4096;
const LONG: usize = 64;

/// `layout` with `shape` and its first entry repeated along `dim`; the distance between entries.
fn entry0(layout: &Layout, dim: usize, shape: &[usize]) -> (Layout, usize) {
    let mut entry0 = Layout { shape: shape.to_vec(), ..layout.clone() };
    let step = std::mem::replace(&mut entry0.strides[dim], 0);
    (entry0, step)
}

/// The layout of `shape` that counts along `dim`.
fn counting(dim: usize, shape: &[usize]) -> Layout {
    let mut strides = vec![0; shape.len()];
    strides[dim] = 1;
    Layout { shape: shape.to_vec(), strides, offset: 0 }
}

/// `y[…] = x[…]` with entry `ids[…]` along `dim`. `layout` is that of `ids` and has the shape of y,
/// up to the grouping of `shape`.
fn look_up(
    op: &'static str,
    x: &Tensor,
    dim: usize,
    ids: &Tensor,
    layout: &Layout,
    shape: &[usize],
) -> Result<Tensor> {
    let scalar = scalar(op, x.dtype())?;
    let y = output(op, x.gpu(), shape, x.dtype())?;
    if y.numel() == 0 {
        return Ok(y);
    }
    let (first, step) = entry0(&x.layout, dim, &layout.shape);
    let Some(mut walk) = Walk::new(&[&first, layout]) else {
        // Too many dimensions. In a copy without gaps those around `dim` merge.
        let mut x = x.clone();
        for (d, &size) in layout.shape.iter().enumerate().filter(|&(d, _)| d != dim) {
            x = x.narrow(d as isize, 0, size)?;
        }
        return look_up(op, &x.copy()?, dim, ids, layout, shape);
    };
    walk.word = step as u32;
    let inputs = [x.buffer(), ids.buffer()];
    let key = ("index.look_up", scalar.code());
    walk::launch(op, key, &walk, &inputs, &y, || shaders::index::look_up(scalar))?;
    Ok(y)
}

/// `shape` is the result's: the dimensions of x before `dim`, those of `ids`, those of x after
/// `dim`.
pub(crate) fn index_select(
    op: &'static str,
    x: &Tensor,
    dim: usize,
    ids: &Tensor,
    shape: &[usize],
) -> Result<Tensor> {
    let mut sizes = x.shape().to_vec();
    sizes[dim] = ids.numel();
    let layout = Layout { offset: ids.layout.offset, ..counting(dim, &sizes) };
    look_up(op, x, dim, ids, &layout, shape)
}

/// `index` has the result's shape; it may be shorter than `x` along dimensions other than `dim`.
pub(crate) fn gather(x: &Tensor, dim: usize, index: &Tensor) -> Result<Tensor> {
    look_up("gather", x, dim, index, &index.layout, index.shape())
}

/// `base`, or zeros without one, plus the rows of `source` at `ids` along `dim`. `shape` is the
/// result's.
pub(crate) fn index_add(
    op: &'static str,
    base: Option<&Tensor>,
    source: &Tensor,
    dim: usize,
    ids: &Tensor,
    shape: &[usize],
) -> Result<Tensor> {
    let ids = ids.to_device(Device::Cpu)?;
    add_rows(op, base, source, dim, ids.cpu().slice(), shape, shaders::index::RUN)
}

/// A table: the beginnings of the lists of the `rows` rows, the end of the last list, and then the
/// lists, which hold the positions of each row's id, ascending.
fn table(op: &'static str, ids: &[u32], rows: usize) -> Result<Vec<u32>> {
    if rows + 1 + ids.len() > u32::MAX as usize {
        bail!(
            op,
            Device,
            "{} ids of {rows} rows are more than a GPU kernel counts; cut them",
            ids.len()
        );
    }
    let mut table = vec![0u32; rows + 1 + ids.len()];
    let (starts, lists) = table.split_at_mut(rows + 1);
    for &id in ids {
        starts[id as usize + 1] += 1;
    }
    for r in 0..rows {
        starts[r + 1] += starts[r];
    }
    let mut next = starts[..rows].to_vec();
    for (j, &id) in ids.iter().enumerate() {
        let next = &mut next[id as usize];
        lists[*next as usize] = j as u32;
        *next += 1;
    }
    starts.iter_mut().for_each(|start| *start += rows as u32 + 1);
    Ok(table)
}

fn add_rows(
    op: &'static str,
    base: Option<&Tensor>,
    source: &Tensor,
    dim: usize,
    ids: &[u32],
    shape: &[usize],
    run: u32,
) -> Result<Tensor> {
    let scalar = float(op, source.dtype())?;
    let gpu = source.gpu();
    let y = output(op, gpu, shape, source.dtype())?;
    if y.numel() == 0 {
        return Ok(y);
    }
    let (first, step) = entry0(&source.layout, dim, shape);
    let rows = counting(dim, shape);
    let layouts = [&first, &rows, base.map_or(&rows, |base| &base.layout)];
    let Some(mut walk) = Walk::new(&layouts) else {
        // Too many dimensions. In a copy without gaps those around `dim` merge.
        let base = base.map(Tensor::copy).transpose()?;
        return add_rows(op, base.as_ref(), &source.copy()?, dim, ids, shape, run);
    };
    walk.word = step as u32;
    let table = table(op, ids, shape[dim])?;
    let table = upload(op, &Tensor::from_slice(&table, &[table.len()])?, gpu)?;
    let mut inputs = vec![source.buffer(), table.buffer()];
    inputs.extend(base.map(Tensor::buffer));
    let key = ("index.add_rows", (run as u64) << 8 | (scalar.code() * 2 + base.is_some() as u64));
    let shader = || shaders::index::add_rows(scalar, base.is_some(), run);
    walk::launch(op, key, &walk, &inputs, &y, shader)?;
    Ok(y)
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Lines {
    lines: u32,
    length: u32,
    inner: u32,
    step: u32,
    index_offset: u32,
    source_offset: u32,
    rank: u32,
    shape: [u32; MAX_DIMS],
    strides: [u32; MAX_DIMS],
}

/// `index` may be shorter than `x` along the other dimensions and than `source` along all.
pub(crate) fn scatter_add(
    x: &Tensor,
    dim: usize,
    index: &Tensor,
    source: &Tensor,
) -> Result<Tensor> {
    let op = "scatter_add";
    let scalar = float(op, x.dtype())?;
    if index.numel() == 0 {
        return x.copy();
    }
    let mut used = source.clone();
    for (d, &size) in index.shape().iter().enumerate() {
        used = used.narrow(d as isize, 0, size)?;
    }
    let source = used.contiguous()?;

    let length = index.shape()[dim];
    let (lines, step) = entry0(&Layout::contiguous(x.shape()), dim, index.shape());
    let mut one_each = lines.clone();
    one_each.shape[dim] = 1;
    let (sizes, strides) = walk::merged(&[&one_each]);
    let count = one_each.numel();
    let few = count < FEW_LINES && length >= LONG && x.numel() <= 8 * index.numel();
    if few || sizes.len() > MAX_DIMS {
        // Every element of the result counts as a row.
        let index = index.to_device(Device::Cpu)?;
        let ids = index.cpu().slice::<u32>();
        let flat: Vec<u32> =
            lines.positions().zip(ids).map(|(at, &id)| (at + id as usize * step) as u32).collect();
        let (base, source) = (x.reshape(&[x.numel()])?, source.reshape(&[source.numel()])?);
        // Adds one after another, like the other kernel.
        return add_rows(op, Some(&base), &source, 0, &flat, base.shape(), 1)?.reshape(x.shape());
    }
    let y = x.copy()?;
    let mut args = Lines {
        lines: count as u32,
        length: length as u32,
        inner: index.shape()[dim + 1..].iter().product::<usize>() as u32,
        step: step as u32,
        index_offset: index.start(),
        source_offset: source.start(),
        rank: sizes.len() as u32,
        ..bytemuck::Zeroable::zeroed()
    };
    for (d, (&size, &stride)) in sizes.iter().zip(&strides[0]).enumerate() {
        (args.shape[d], args.strides[d]) = (size as u32, stride as u32);
    }
    let launch = Launch {
        op,
        key: ("index.scatter_add", scalar.code()),
        inputs: &[index.buffer(), source.buffer()],
        outputs: &[y.buffer()],
        immediates: bytemuck::bytes_of(&args),
        groups: y.gpu().grid(op, (count as u64).div_ceil(shaders::WORKGROUP as u64))?,
    };
    y.gpu().launch(&launch, || shaders::index::scatter_add(scalar))?;
    Ok(y)
}
