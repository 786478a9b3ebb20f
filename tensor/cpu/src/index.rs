//! Reading and adding rows by id.
//!
//! - `index_select`: `y[o, j, i] = x[o, ids[j], i]`
//! - `index_add`: `y[o, ids[j], i] = x[o, ids[j], i] + Σ source[o, j, i]` over all j with that id
//! - `gather`: `y[o, j, i] = x[o, index[o, j, i], i]`
//! - `scatter_add`: `y[o, index[o, j, i], i] = x[…] + Σ source[o, j, i]`
//!
//! where o runs over the dimensions before `dim` and i over those after it; ids were checked by
//! `ops/index.rs`.
//!
//! Split of work: always by output, so that no two threads add to one element. `index_add` sorts
//! the pairs (id, j) once; a task owns a block of output rows, or a range of columns of it where
//! few rows receive many additions (token types), and finds its pairs by binary search.
//! `scatter_add` gives each line along `dim` to one task.
//!
//! Order of reduction: the additions to one element are made in order of j, in the dtype; those of
//! `index_add` in runs of [`RUN`], whose sums are added to x (or 0): so a row that is hit 65,536
//! times loses no more than PyTorch's sums. `scatter_add` adds one after another to x. So results
//! depend neither on the threads nor on the split.

use std::ops::Range;

use gradus_base::op::index::RUN;
use gradus_base::{Element, Layout, Result, dispatch_any, dispatch_float, sizes};

use super::math::Float;
use super::parallel::{self, SharedMut};
use super::simd;
use super::storage::Output;
use super::strided::{self, TypedView};
use super::view::{Array, View};

/// Elements of one task.
const TASK: usize = 16 * 1024;

/// A tensor seen as `[outer, size, inner]` around one dimension.
struct Around {
    /// Where entry 0 of each index of the outer dimensions lies.
    outer: Vec<usize>,
    /// Distance between entries of the dimension.
    step: usize,
    /// Steps to each index of the inner dimensions; `None` where they run with stride 1.
    inner: Option<Vec<usize>>,
}

impl Around {
    fn new(layout: &Layout, dim: usize) -> Around {
        let part = |range: Range<usize>, offset| Layout {
            shape: layout.shape[range.clone()].to_vec(),
            strides: layout.strides[range].to_vec(),
            offset,
        };
        let inner = part(dim + 1..layout.shape.len(), 0);
        Around {
            outer: part(0..dim, layout.offset).positions().collect(),
            step: layout.strides[dim],
            inner: (!inner.is_contiguous()).then(|| inner.positions().collect()),
        }
    }

    /// Calls `each(i, value)` for the `columns` of the row that starts at `start`, i from 0.
    #[inline(always)]
    fn row<T: Copy>(
        &self,
        data: &[T],
        start: usize,
        columns: Range<usize>,
        mut each: impl FnMut(usize, T),
    ) {
        match &self.inner {
            None => {
                let row = &data[start + columns.start..start + columns.end];
                for i in 0..row.len() {
                    each(i, row[i]);
                }
            }
            Some(steps) => {
                for (i, step) in steps[columns].iter().enumerate() {
                    each(i, data[start + step]);
                }
            }
        }
    }
}

/// `shape` is the result's; its sizes around `dim` are x's, and `ids` fill those between.
pub fn index_select(
    op: &'static str,
    x: View,
    dim: usize,
    ids: View,
    shape: &[usize],
) -> Result<Array> {
    dispatch_any!(x.dtype(), index_select_of::<T>(op, x, dim, ids.slice(), shape))
}

fn index_select_of<T: Element>(
    op: &'static str,
    x: View,
    dim: usize,
    ids: &[u32],
    shape: &[usize],
) -> Result<Array> {
    let mut out = Output::<T>::new(op, shape)?;
    if !out.slice_mut().is_empty() {
        select_rows(out.slice_mut(), x.typed::<T>().data, &Around::new(x.layout(), dim), ids);
    }
    Ok(out.into_array(shape))
}

fn select_rows<T: Element>(out: &mut [T], data: &[T], x: &Around, ids: &[u32]) {
    let row = out.len() / (x.outer.len() * ids.len());
    // A row costs a random access to memory and its bytes.
    let ns = 5.0 + row as f64 * 0.2;
    parallel::rows(out, row, parallel::rows_per_task(row.max(8)), ns, |first, out| {
        let (mut o, mut j) = (first / ids.len(), first % ids.len());
        for out in out.chunks_exact_mut(row) {
            let start = x.outer[o] + ids[j] as usize * x.step;
            match &x.inner {
                None => out.copy_from_slice(&data[start..start + row]),
                Some(steps) => {
                    for i in 0..row {
                        out[i] = data[start + steps[i]];
                    }
                }
            }
            j += 1;
            if j == ids.len() {
                (o, j) = (o + 1, 0);
            }
        }
    });
}

/// `base` plus the rows of `source` at `ids` along `dim`; zeros plus them without a base. `shape`
/// is the result's.
pub fn index_add(
    op: &'static str,
    base: Option<View>,
    source: View,
    dim: usize,
    ids: View,
    shape: &[usize],
) -> Result<Array> {
    let rows = Rows { dim, ids: ids.slice() };
    dispatch_float!(op, source.dtype(), index_add_of::<T>(op, base, source, rows, shape))
}

/// The entries `ids` of dimension `dim`.
#[derive(Clone, Copy)]
struct Rows<'a> {
    dim: usize,
    ids: &'a [u32],
}

fn index_add_of<T: Float>(
    op: &'static str,
    base: Option<View>,
    source: View,
    Rows { dim, ids }: Rows,
    shape: &[usize],
) -> Result<Array> {
    let mut out = Output::<T>::new(op, shape)?;
    if out.slice_mut().is_empty() {
        return Ok(out.into_array(shape));
    }
    if let Some(base) = base {
        strided::copy(out.slice_mut(), base.typed::<T>());
    }
    // Pairs (id, j), sorted: ids ascend, and j within one id.
    let mut pairs = sizes::list::<u64>(op, ids.len())?;
    pairs.extend(ids.iter().enumerate().map(|(j, &id)| (id as u64) << 32 | j as u64));
    pairs.sort_unstable();
    let additions = Additions {
        data: source.typed::<T>().data,
        source: Around::new(source.layout(), dim),
        pairs: &pairs,
        size: shape[dim],
        inner: shape[dim + 1..].iter().product(),
        clear: base.is_none(),
    };
    additions.run(out.slice_mut());
    Ok(out.into_array(shape))
}

/// The rows of a source that are added to an output `[outer, size, inner]`.
struct Additions<'a, T> {
    data: &'a [T],
    source: Around,
    /// (row of the output, row of the source), sorted.
    pairs: &'a [u64],
    size: usize,
    inner: usize,
    /// Whether the output is cleared first.
    clear: bool,
}

impl<T: Float> Additions<'_, T> {
    fn run(&self, out: &mut [T]) {
        let Additions { size, inner, pairs, .. } = *self;
        let outer = out.len() / (size * inner);
        // Many additions to few rows: columns are split, not rows, else one task gets all the work.
        let columns = if pairs.len() / size >= 16 { inner.min(64) } else { inner };
        let rows = (TASK / columns).clamp(1, size);
        let (row_blocks, column_blocks) = (size.div_ceil(rows), inner.div_ceil(columns));
        let blocks = row_blocks * column_blocks;
        let work =
            out.len() as f64 * 0.2 + (outer * pairs.len()) as f64 * (3.0 + inner as f64 * 0.2);
        let shared = SharedMut::new(out);
        parallel::run(outer * blocks, (work / (outer * blocks) as f64) as usize, &|task| {
            let (o, block) = (task / blocks, task % blocks);
            let (row, column) = (block / column_blocks * rows, block % column_blocks * columns);
            let rows = row..size.min(row + rows);
            let columns = column..inner.min(column + columns);
            self.block(o, rows, columns, &shared);
        });
    }

    /// Adds to some rows and columns of outer index `o`, which are the calling task's alone.
    fn block(&self, o: usize, rows: Range<usize>, columns: Range<usize>, out: &SharedMut<T>) {
        // SAFETY: tasks own disjoint blocks of rows and columns, and this task holds one slice of
        // its block at a time.
        let part = |row: usize| unsafe {
            let start = (o * self.size + row) * self.inner;
            out.slice(start + columns.start..start + columns.end)
        };
        if self.clear {
            rows.clone().for_each(|row| part(row).fill(T::ZERO));
        }
        let begin = |row: usize| self.pairs.partition_point(|&pair| ((pair >> 32) as usize) < row);
        let pairs = &self.pairs[begin(rows.start)..begin(rows.end)];
        let mut sum = vec![T::ZERO; columns.len()];
        simd::dispatch::<false, T, _>(
            #[inline(always)]
            || {
                for hits in pairs.chunk_by(|a, b| a >> 32 == b >> 32) {
                    let out = part((hits[0] >> 32) as usize);
                    for run in hits.chunks(RUN) {
                        self.add_run(o, run, columns.clone(), &mut sum, out);
                    }
                }
            },
        );
    }

    /// Adds the sum of a run's rows to `out`; `sum` is room for it.
    #[inline(always)]
    fn add_run(&self, o: usize, run: &[u64], columns: Range<usize>, sum: &mut [T], out: &mut [T]) {
        let start = |pair: u64| self.source.outer[o] + pair as u32 as usize * self.source.step;
        if let [pair] = run {
            self.source.row(self.data, start(*pair), columns, |i, value| out[i] += value);
            return;
        }
        self.source.row(self.data, start(run[0]), columns.clone(), |i, value| sum[i] = value);
        for &pair in &run[1..] {
            self.source.row(self.data, start(pair), columns.clone(), |i, value| sum[i] += value);
        }
        (0..out.len()).for_each(|i| out[i] += sum[i]);
    }
}

/// `index` has the result's shape; along the other dimensions it may be shorter than `x`.
pub fn gather(x: View, dim: usize, index: View) -> Result<Array> {
    dispatch_any!(x.dtype(), gather_of::<T>(x, dim, index))
}

fn gather_of<T: Element>(x: View, dim: usize, index: View) -> Result<Array> {
    let mut out = Output::<T>::new("gather", index.shape())?;
    // Where entry 0 along `dim` lies, for every element of the index.
    let mut entry0 = x.layout().clone();
    entry0.shape = index.shape().to_vec();
    let step = std::mem::replace(&mut entry0.strides[dim], 0);
    let view = TypedView { data: x.typed::<T>().data, layout: &entry0 };
    strided::gather(out.slice_mut(), view, index.typed::<u32>(), step);
    Ok(out.into_array(index.shape()))
}

/// `index` may be shorter than `x` along the other dimensions and than `source` along all.
pub fn scatter_add(x: View, dim: usize, index: View, source: View) -> Result<Array> {
    dispatch_float!("scatter_add", x.dtype(), scatter_add_of::<T>(x, dim, index, source))
}

fn scatter_add_of<T: Float>(x: View, dim: usize, index: View, source: View) -> Result<Array> {
    let mut out = Output::<T>::new("scatter_add", x.shape())?;
    strided::copy(out.slice_mut(), x.typed::<T>());
    if index.numel() > 0 {
        let lines = Lines::new(x.shape(), dim, index, source);
        lines.add(out.slice_mut(), index.typed::<u32>().data, source.typed::<T>().data);
    }
    Ok(out.into_array(x.shape()))
}

/// The lines along one dimension in output, index and source: where each starts and its step.
struct Lines {
    starts: [Vec<usize>; 3],
    steps: [usize; 3],
    length: usize,
    /// Size of the output along the dimension: ids are below it.
    size: usize,
    /// Whether neighbouring lines are neighbours in memory (the dimension is not the last).
    side_by_side: bool,
}

impl Lines {
    fn new(out: &[usize], dim: usize, index: View, source: View) -> Lines {
        let layouts = [&Layout::contiguous(out), index.layout(), source.layout()];
        let starts = layouts.map(|layout| {
            let mut line = layout.clone();
            line.shape = index.shape().to_vec();
            line.shape[dim] = 1;
            line.positions().collect::<Vec<_>>()
        });
        Lines {
            starts,
            steps: layouts.map(|layout| layout.strides[dim]),
            length: index.shape()[dim],
            size: out[dim],
            side_by_side: out[dim + 1..].iter().any(|&s| s > 1),
        }
    }

    fn add<T: Float>(&self, out: &mut [T], ids: &[u32], source: &[T]) {
        let [outs, indices, sources] = &self.starts;
        let [out_step, id_step, source_step] = self.steps;
        let per_task = (TASK / 4 / self.length).max(16);
        let shared = SharedMut::new(out);
        parallel::ranges(outs.len(), per_task, self.length as f64 * 2.0, |range| {
            let add = |line: usize, j: usize| {
                let id = ids[indices[line] + j * id_step] as usize;
                let value = source[sources[line] + j * source_step];
                assert!(id < self.size, "an id beyond the dimension");
                // SAFETY: the id is below the dimension's size, so the place is in this line of the
                // output, which no other task touches.
                unsafe { *shared.ptr(outs[line] + id * out_step) += value };
            };
            if self.side_by_side {
                for j in 0..self.length {
                    range.clone().for_each(|line| add(line, j));
                }
            } else {
                for line in range {
                    (0..self.length).for_each(|j| add(line, j));
                }
            }
        });
    }
}

/// The first id of a contiguous u32 tensor that is not below `size`, and its position.
pub fn outside(ids: View, size: usize) -> Option<(usize, u32)> {
    let ids = ids.slice::<u32>();
    let largest = simd::dispatch::<true, f32, _>(
        #[inline(always)]
        || simd::reduce(ids, 0, u32::max, u32::max),
    );
    if ids.is_empty() || (largest as usize) < size {
        return None;
    }
    ids.iter().copied().enumerate().find(|&(_, id)| id as usize >= size)
}
