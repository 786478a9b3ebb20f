//! Reading and adding entries by id: launches of `index.wgsl`.
//!
//! The CPU decides the order of additions from its copy of the ids: each row of the result gets the
//! list of its additions, in order.

use gradus_base::{Layout, Result, bail};
use gradus_shaders as shaders;

use super::context::Launch;
use super::storage::{float, scalar};
use super::transfer::{upload_table, values};
use super::view::{Array, View};
use super::walk::{self, MAX_DIMS, Walk};

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
    x: View,
    dim: usize,
    ids: View,
    layout: &Layout,
    shape: &[usize],
) -> Result<Array> {
    let scalar = scalar(op, x.dtype())?;
    let y = Array::new(op, x.gpu(), shape, x.dtype())?;
    if y.numel() == 0 {
        return Ok(y);
    }
    let (first, step) = entry0(x.layout(), dim, &layout.shape);
    let Some(mut walk) = Walk::new(&[&first, layout]) else {
        // Too many dimensions. In a copy without gaps those around `dim` merge.
        let mut used = Layout { shape: layout.shape.clone(), ..x.layout().clone() };
        used.shape[dim] = x.shape()[dim];
        return look_up(op, x.with(&used).copy(op)?.view(), dim, ids, layout, shape);
    };
    walk.word = step as u32;
    let inputs = [x.buffer(), ids.buffer()];
    let key = ("index.look_up", scalar.code());
    walk.launch(op, key, &inputs, y.storage(), || shaders::index::look_up(scalar))?;
    Ok(y)
}

/// The entries of `x` along `dim` with these ids, which are contiguous. `shape` is the result's:
/// the dimensions of x before `dim`, those of `ids`, those of x after `dim`.
///
/// # Errors
/// Of `op`, if memory is short.
pub fn index_select(
    op: &'static str,
    x: View,
    dim: usize,
    ids: View,
    shape: &[usize],
) -> Result<Array> {
    let mut sizes = x.shape().to_vec();
    sizes[dim] = ids.numel();
    let layout = Layout { offset: ids.layout().offset, ..counting(dim, &sizes) };
    look_up(op, x, dim, ids, &layout, shape)
}

/// The entries of `x` along `dim` that `index` names at each place. It has the result's shape, and
/// may be shorter than `x` along other dimensions.
///
/// # Errors
/// If memory is short.
pub fn gather(x: View, dim: usize, index: View) -> Result<Array> {
    look_up("gather", x, dim, index, index.layout(), index.shape())
}

/// `base`, or zeros without one, plus the rows of `source` at `ids` along `dim`. `shape` is the
/// result's.
///
/// # Errors
/// Of `op`, if the dtype is neither f32 nor f16, the ids are too many, or memory is short.
pub fn index_add(
    op: &'static str,
    base: Option<View>,
    source: View,
    dim: usize,
    ids: View,
    shape: &[usize],
) -> Result<Array> {
    add_rows(op, base, source, (dim, &values(op, ids)?), shape, shaders::index::RUN)
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
    base: Option<View>,
    source: View,
    (dim, ids): (usize, &[u32]),
    shape: &[usize],
    run: u32,
) -> Result<Array> {
    let scalar = float(op, source.dtype())?;
    let gpu = source.gpu();
    let y = Array::new(op, gpu, shape, source.dtype())?;
    if y.numel() == 0 {
        return Ok(y);
    }
    let (first, step) = entry0(source.layout(), dim, shape);
    let rows = counting(dim, shape);
    let layouts = [&first, &rows, base.map_or(&rows, View::layout)];
    let Some(mut walk) = Walk::new(&layouts) else {
        // Too many dimensions. In a copy without gaps those around `dim` merge.
        let base = base.map(|base| base.copy(op)).transpose()?;
        let (base, source) = (base.as_ref().map(Array::view), source.copy(op)?);
        return add_rows(op, base, source.view(), (dim, ids), shape, run);
    };
    walk.word = step as u32;
    let table = upload_table(op, gpu, &table(op, ids, shape[dim])?)?;
    let mut inputs = vec![source.buffer(), table.buffer()];
    inputs.extend(base.map(View::buffer));
    let key = ("index.add_rows", (run as u64) << 8 | (scalar.code() * 2 + base.is_some() as u64));
    let shader = || shaders::index::add_rows(scalar, base.is_some(), run);
    walk.launch(op, key, &inputs, y.storage(), shader)?;
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

/// `x` plus the entries of `source` at the places along `dim` that `index` names. It may be shorter
/// than `x` along the other dimensions and than `source` along all.
///
/// # Errors
/// If the dtype is neither f32 nor f16, the ids are too many, or memory is short.
pub fn scatter_add(x: View, dim: usize, index: View, source: View) -> Result<Array> {
    let op = "scatter_add";
    float(op, x.dtype())?;
    if index.numel() == 0 {
        return x.copy(op);
    }
    let used = Layout { shape: index.shape().to_vec(), ..source.layout().clone() };
    let source = source.with(&used).contiguous(op)?;
    let length = index.shape()[dim];
    let (lines, step) = entry0(&Layout::contiguous(x.shape()), dim, index.shape());
    let mut one_each = lines.clone();
    one_each.shape[dim] = 1;
    let (sizes, strides) = walk::merged(&[&one_each]);
    let count = one_each.numel();
    let few = count < FEW_LINES && length >= LONG && x.numel() <= 8 * index.numel();
    if few || sizes.len() > MAX_DIMS {
        return scatter_as_rows(op, x, index, source.view(), &lines, step);
    }
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
    scatter_lines(op, x, index, source.view(), &args)
}

/// Every element of the result counts as a row. `lines` has the index's shape: the place in the
/// result of entry 0 of each line; `step` is the distance of the entries.
fn scatter_as_rows(
    op: &'static str,
    x: View,
    index: View,
    source: View,
    lines: &Layout,
    step: usize,
) -> Result<Array> {
    let ids = values(op, index)?;
    let flat: Vec<u32> = lines
        .positions()
        .zip(ids.iter())
        .map(|(at, &id)| (at + id as usize * step) as u32)
        .collect();
    let base = x.contiguous(op)?;
    let of = |x: View| Layout { offset: x.layout().offset, ..Layout::contiguous(&[x.numel()]) };
    let (base_line, source_line) = (of(base.view()), of(source));
    let (base, source) = (base.view().with(&base_line), source.with(&source_line));
    // Adds one after another, like the other kernel.
    let sums = add_rows(op, Some(base), source, (0, &flat), base.shape(), 1)?;
    Ok(sums.reshape(x.shape()))
}

/// One thread adds a line.
fn scatter_lines(
    op: &'static str,
    x: View,
    index: View,
    source: View,
    args: &Lines,
) -> Result<Array> {
    let (scalar, gpu) = (float(op, x.dtype())?, x.gpu());
    let y = x.copy(op)?;
    let launch = Launch {
        op,
        key: ("index.scatter_add", scalar.code()),
        inputs: &[index.buffer(), source.buffer()],
        outputs: &[y.buffer()],
        immediates: bytemuck::bytes_of(args),
        groups: gpu.grid(op, (args.lines as u64).div_ceil(shaders::WORKGROUP as u64))?,
    };
    gpu.launch(&launch, || shaders::index::scatter_add(scalar))?;
    Ok(y)
}
