//! Reductions of any dimensions, and the indices of extrema: launches of `reduce.wgsl`.
//!
//! A view is copied only if its kept or its reduced dimensions do not merge to [`MAX_DIMS`]. The
//! division of the work, and with it the order of summation, follows from the shape alone.

use gradus_base::op::binary::BinaryOp;
use gradus_base::op::reduce::ReduceOp;
use gradus_base::op::unary::UnaryOp;
use gradus_base::{DType, Layout, Result, bail};
use gradus_shaders::reduce::{Division, Reduction, arg_extremum as arg_shader, reduce as shader};
use gradus_shaders::{Scalar, Shader};

use super::binary::{binary, where_};
use super::context::Launch;
use super::copy::{convert, full};
use super::unary;
use super::view::{Array, View, ViewOrCopy};
use super::walk;

/// The most kept dimensions, and the most reduced dimensions, that the kernel walks.
const MAX_DIMS: usize = 4;

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Args {
    outputs: u32,
    n: u32,
    block: u32,
    tiles: u32,
    groups: u32,
    offset: u32,
    divisor: f32,
    kept_rank: u32,
    reduced_rank: u32,
    sizes: [[u32; MAX_DIMS]; 2],
    strides: [[u32; MAX_DIMS]; 2],
}

/// An input seen as `[outputs, n]`.
struct Nest<'a> {
    x: ViewOrCopy<'a>,
    outputs: usize,
    n: usize,
    kept: Layout,
    reduced: Layout,
    /// Whether the last dimension is a reduced one.
    along: bool,
}

/// Some dimensions of a layout.
fn part(layout: &Layout, keep: impl Fn(usize) -> bool) -> Layout {
    let dims = (0..layout.shape.len()).filter(|&d| keep(d));
    let (shape, strides) = dims.map(|d| (layout.shape[d], layout.strides[d])).unzip();
    Layout { shape, strides, offset: 0 }
}

impl<'a> Nest<'a> {
    /// `dims` are in ascending order, and `x` has elements.
    fn new(op: &'static str, x: View<'a>, dims: &[usize], n: usize) -> Result<Nest<'a>> {
        let (outputs, rank) = (x.numel() / n, x.shape().len());
        // The kernel adds up to 256 to an index.
        let max = u32::MAX as usize - 256;
        if outputs > max || n > max {
            bail!(
                op,
                Device,
                "{:?} over {dims:?} is more than one launch takes; cut it",
                x.shape()
            );
        }
        let last = (0..rank).rev().find(|&d| x.shape()[d] != 1);
        let along = last.is_none_or(|d| dims.contains(&d));
        let kept = part(x.layout(), |d| !dims.contains(&d));
        let reduced = part(x.layout(), |d| dims.contains(&d));
        let too_many = |layout: &Layout| walk::merged(&[layout]).0.len() > MAX_DIMS;
        if too_many(&kept) || too_many(&reduced) {
            let order = (0..rank).filter(|d| !dims.contains(d)).chain(dims.iter().copied());
            let turned = x.layout().permute(order);
            let x = ViewOrCopy::Copy(x.with(&turned).copy(op)?);
            let (kept, reduced) = (strided(outputs, n), strided(n, 1));
            return Ok(Nest { x, outputs, n, kept, reduced, along });
        }
        Ok(Nest { x: ViewOrCopy::View(x), outputs, n, kept, reduced, along })
    }

    /// Parts `[n, outputs]` of an earlier launch.
    fn of_parts(x: Array, n: usize, outputs: usize) -> Nest<'static> {
        let (kept, reduced) = (strided(outputs, 1), strided(n, outputs));
        let x = ViewOrCopy::Copy(x);
        Nest { x, outputs, n, kept, reduced, along: outputs == 1 }
    }

    /// The division of a workgroup, and the number of elements in a block.
    fn division(&self) -> (Division, usize) {
        match (self.along, self.n) {
            (true, ..=16) | (false, ..=8) => (Division::Threads, self.n),
            (true, ..=256) => (Division::Short, self.n),
            (true, ..=8192) => (Division::Long, self.n),
            (true, _) => (Division::Long, 4096),
            (false, ..=512) => (Division::Columns, self.n),
            (false, _) => (Division::Columns, 256),
        }
    }

    fn args(&self, division: Division, block: usize, divisor: f64) -> Args {
        let tiles = self.outputs.div_ceil(division.columns() as usize);
        let mut args = Args {
            outputs: self.outputs as u32,
            n: self.n as u32,
            block: block as u32,
            tiles: tiles as u32,
            groups: (tiles * self.n.div_ceil(block)) as u32,
            offset: self.x.start(),
            divisor: divisor as f32,
            ..bytemuck::Zeroable::zeroed()
        };
        let mut ranks = [0; 2];
        for (i, layout) in [&self.kept, &self.reduced].into_iter().enumerate() {
            let (sizes, strides) = walk::merged(&[layout]);
            ranks[i] = sizes.len() as u32;
            for (d, (&size, &stride)) in sizes.iter().zip(&strides[0]).enumerate() {
                (args.sizes[i][d], args.strides[i][d]) = (size as u32, stride as u32);
            }
        }
        [args.kept_rank, args.reduced_rank] = ranks;
        args
    }

    fn launch(
        &self,
        op: &'static str,
        key: u64,
        centre: Option<&Array>,
        y: &Array,
        args: &Args,
        shader: impl FnOnce() -> Shader,
    ) -> Result<()> {
        let gpu = self.x.view().gpu();
        let mut inputs = vec![self.x.buffer()];
        inputs.extend(centre.map(Array::buffer));
        let launch = Launch {
            op,
            key: ("reduce", key),
            inputs: &inputs,
            outputs: &[y.buffer()],
            immediates: bytemuck::bytes_of(args),
            groups: gpu.grid(op, args.groups as u64)?,
        };
        gpu.launch(&launch, shader)
    }

    /// Reduces. Many elements are reduced in blocks, whose results are reduced in turn. `centre`
    /// holds a value for each output, contiguous from element 0 on; `dtype` is the result's.
    fn reduce(
        self,
        op: &'static str,
        (map, join, finish): (&'static str, &'static str, &'static str),
        centre: Option<&Array>,
        divisor: f64,
        dtype: DType,
    ) -> Result<Array> {
        let (division, block) = self.division();
        let blocks = self.n.div_ceil(block);
        let args = self.args(division, block, divisor);
        let y = Array::new(op, self.x.view().gpu(), &[blocks * self.outputs], dtype)?;
        let now = if blocks > 1 { "none" } else { finish };
        let reduction = Reduction { map, join, finish: now };
        let scalar = words(self.x.view().dtype());
        let centre_now = centre.filter(|_| reduction.centred());
        let key = key(reduction.code(), scalar, division);
        self.launch(op, key, centre_now, &y, &args, || shader(reduction, scalar, division))?;
        if blocks == 1 {
            return Ok(y);
        }
        let rest = Nest::of_parts(y, blocks, self.outputs);
        rest.reduce(op, ("plain", join, finish), centre, divisor, dtype)
    }
}

fn strided(size: usize, stride: usize) -> Layout {
    Layout { shape: vec![size], strides: vec![stride], offset: 0 }
}

/// The type of a dtype's elements in buffers, where u8 lies in 32-bit words.
fn words(dtype: DType) -> Scalar {
    match dtype {
        DType::F32 => Scalar::F32,
        DType::F16 => Scalar::F16,
        _ => Scalar::U32,
    }
}

fn key(what: u64, scalar: Scalar, division: Division) -> u64 {
    (what * 4 + scalar.code()) * 4 + division as u64
}

fn check(op: &'static str, dtype: DType) -> Result<()> {
    match dtype {
        DType::F32 | DType::F16 | DType::U32 | DType::U8 => Ok(()),
        other => {
            bail!(
                op,
                DType,
                "computes on f32, f16, u32 and u8 on a GPU, got {other}; convert with to_dtype"
            )
        }
    }
}

/// Reduces `dims` (resolved), which hold `n > 0` elements. `x` has elements. The result is flat,
/// and f32 for f16.
///
/// # Errors
/// If the kernel does not take the dtype, the launch is too large, or memory is short.
pub fn forward(x: View, op: ReduceOp, dims: &[usize], n: usize) -> Result<Array> {
    let name = op.name();
    check(name, x.dtype())?;
    let dtype = match op {
        ReduceOp::Sum | ReduceOp::Prod if x.dtype() == DType::U8 => DType::U32,
        _ if x.dtype() == DType::F16 => DType::F32,
        _ => x.dtype(),
    };
    let nest = || Nest::new(name, x, dims, n);
    let plain =
        |join, finish, divisor| nest()?.reduce(name, ("plain", join, finish), None, divisor, dtype);
    match op {
        ReduceOp::Sum => plain("sum", "none", 1.0),
        ReduceOp::Prod => plain("prod", "none", 1.0),
        ReduceOp::Max => plain("max", "none", 1.0),
        ReduceOp::Min => plain("min", "none", 1.0),
        ReduceOp::Mean => plain("sum", "divide", n as f64),
        ReduceOp::Var { correction } => {
            variance(x, dims, n, n.saturating_sub(correction) as f64, dtype)
        }
        ReduceOp::LogSumExp => {
            let max = plain("max", "none", 1.0)?;
            nest()?.reduce(name, ("exp", "sum", "log"), Some(&max), 1.0, dtype)
        }
    }
}

/// The sum of the squares of the distances from the mean, over `divisor`.
fn variance(x: View, dims: &[usize], n: usize, divisor: f64, dtype: DType) -> Result<Array> {
    let op = "var";
    let nest = || Nest::new(op, x, dims, n);
    let two = |op, a: &Array, b: &Array| binary(op, a.view(), b.view());
    let one = |op, x: &Array| unary::forward(x.view(), op);
    let first = first(op, x, dims, dtype)?;
    let distance = ("minus", "sum", "divide");
    let distance = nest()?.reduce(op, distance, Some(&first), n as f64, dtype)?;
    let mean = two(BinaryOp::Add, &first, &distance)?;
    // The rounding error of the mean adds n times its square.
    let left = two(BinaryOp::Add, &two(BinaryOp::Sub, &first, &mean)?, &distance)?;
    let left = one(UnaryOp::Square, &left)?;
    let left = one(UnaryOp::Affine { mul: n as f64, add: -0.0 }, &left)?;
    let squares = ("square", "sum", "none");
    let squares = nest()?.reduce(op, squares, Some(&mean), 1.0, dtype)?;
    let rest = one(UnaryOp::Relu, &two(BinaryOp::Sub, &squares, &left)?)?;
    // Where the sum is infinite, `left` may be infinite too.
    let infinite = unary::is_not_finite(squares.view())?;
    let sums = where_(infinite.view(), squares.view(), rest.view())?;
    let divisor = full(op, x.gpu(), &[], divisor, dtype)?;
    let repeated = divisor.view().layout().broadcast_to(op, sums.shape())?;
    binary(BinaryOp::Div, sums.view(), divisor.view().with(&repeated))
}

/// The first element of each output, flat. Differences from it are small, and 0 for a constant.
fn first(op: &'static str, x: View, dims: &[usize], dtype: DType) -> Result<Array> {
    let mut first = x.layout().clone();
    for &d in dims {
        first.shape[d] = 1;
    }
    let numel = first.numel();
    Ok(convert(op, x.with(&first), dtype)?.reshape(&[numel]))
}

/// The index of the first extremum along the last dimension, which is not empty; NaN is the
/// extremum if there is one. The result is flat.
///
/// # Errors
/// As [`forward`].
pub fn arg_extremum(op: &'static str, x: View, largest: bool) -> Result<Array> {
    check(op, x.dtype())?;
    let dims: Vec<usize> = x.shape().len().checked_sub(1).into_iter().collect();
    let n = x.shape().last().copied().unwrap_or(1);
    let y = Array::new(op, x.gpu(), &[x.numel() / n], DType::U32)?;
    if y.numel() == 0 {
        return Ok(y);
    }
    let nest = Nest::new(op, x, &dims, n)?;
    let (division, _) = nest.division();
    let scalar = words(x.dtype());
    let args = nest.args(division, n, 1.0);
    // These numbers follow those of the reductions.
    let key = key(64 + largest as u64, scalar, division);
    nest.launch(op, key, None, &y, &args, || arg_shader(largest, scalar, division))?;
    Ok(y)
}
