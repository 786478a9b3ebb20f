//! Matrix products: launches of `matmul.wgsl` (in tiles), `matmul_few.wgsl` (for few rows) and
//! `matmul_cooperative.wgsl`, chosen by shape and device.

use gradus_base::Layout;
use gradus_shaders::matmul::{Cooperative, Epilogue, FEW, Product, TILES, Types};
use gradus_shaders::{Scalar, Shader};

use super::context::{Gpu, Launch};
use super::kept::join_kept;
use super::storage::{float, output};
use super::transfer::{download, upload};
use super::walk;
use crate::{DType, Result, Tensor, bail};

/// The most batch dimensions that the kernel walks.
const MAX_BATCH: usize = 3;

/// The number of workgroups that keeps a device busy. Large tiles are used only if there are at
/// least this many of them.
const BUSY: usize = 64;

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Args {
    m: u32,
    k: u32,
    n: u32,
    tiles: u32,
    a_offset: u32,
    a_row: u32,
    a_col: u32,
    b_offset: u32,
    b_row: u32,
    b_col: u32,
    bias_offset: u32,
    batch: [u32; MAX_BATCH],
    a_batch: [u32; MAX_BATCH],
    b_batch: [u32; MAX_BATCH],
}

/// The dimensions before the last two.
fn batch_layout(x: &Tensor) -> Layout {
    let mut layout = x.layout.clone();
    layout.shape.truncate(x.rank() - 2);
    layout.strides.truncate(x.rank() - 2);
    layout
}

/// Batched product of operands already broadcast to one batch shape; `shape` is the result's.
pub(crate) fn matmul(a: &Tensor, b: &Tensor, shape: &[usize], dtype: DType) -> Result<Tensor> {
    let (batch_a, batch_b) = (batch_layout(a), batch_layout(b));
    let (sizes, strides) = walk::merged(&[&batch_a, &batch_b]);
    if sizes.len() > MAX_BATCH {
        return matmul(&a.copy()?, &b.copy()?, shape, dtype);
    }
    let rank = shape.len();
    let c = output("matmul", a.gpu(), shape, dtype)?;
    let steps = |x: &Tensor| (x.layout.strides[rank - 2], x.layout.strides[rank - 1]);
    let mut args = Args::new(steps(a), steps(b));
    let first = MAX_BATCH - sizes.len();
    for (d, &size) in sizes.iter().enumerate() {
        args.batch[first + d] = size as u32;
        args.a_batch[first + d] = strides[0][d] as u32;
        args.b_batch[first + d] = strides[1][d] as u32;
    }
    let batch = shape[..rank - 2].iter().product();
    product(
        "matmul",
        (batch, shape[rank - 2], a.shape()[rank - 1], shape[rank - 1]),
        args,
        a,
        b,
        None,
        Epilogue::None,
        &[&c],
        None,
    )?;
    Ok(c)
}

/// `x [m, in]`, `w [out, in]`, `bias [out]` → `[m, out]`. The kernel takes an f32 bias even for f16
/// operands.
pub(crate) fn linear(x: &Tensor, w: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    Ok(layer("linear", x, w, bias, Epilogue::None)?.0)
}

/// Layers side by side as one layer, with their weights joined.
pub(crate) fn linear_cat(x: &Tensor, weights: &[&Tensor], biases: &[&Tensor]) -> Result<Tensor> {
    let op = "linear_cat";
    let (w, b) = joined(op, weights, biases)?;
    Ok(layer(op, x, &w.to_dtype_kept(x.dtype())?, b.as_ref(), Epilogue::None)?.0)
}

/// The weights `[Σout, in]` of layers side by side.
pub(crate) fn joined_weights(weights: &[&Tensor], biases: &[&Tensor]) -> Result<Tensor> {
    Ok(joined("linear_cat", weights, biases)?.0)
}

/// The joined weights and biases of layers side by side, kept until one of them changes. Where they
/// have one dtype, they share one buffer and so one launch.
fn joined(
    op: &'static str,
    weights: &[&Tensor],
    biases: &[&Tensor],
) -> Result<(Tensor, Option<Tensor>)> {
    let k = weights[0].shape()[1];
    let n: usize = weights.iter().map(|w| w.shape()[0]).sum();
    if biases.iter().any(|b| b.dtype() != weights[0].dtype()) {
        let biases = biases.iter().map(|b| b.to_dtype(DType::F32)).collect::<Result<Vec<_>>>()?;
        let bias = join_kept(op, &biases.iter().collect::<Vec<_>>())?;
        return Ok((join_kept(op, weights)?.reshape(&[n, k])?, Some(bias)));
    }
    let all = join_kept(op, &[weights, biases].concat())?;
    let weight = all.narrow(0, 0, n * k)?.reshape(&[n, k])?;
    let bias = (!biases.is_empty()).then(|| all.narrow(0, n * k, n)).transpose()?;
    Ok((weight, bias))
}

fn layer(
    op: &'static str,
    x: &Tensor,
    w: &Tensor,
    bias: Option<&Tensor>,
    epilogue: Epilogue,
) -> Result<(Tensor, Option<Tensor>)> {
    let (m, k, n) = (x.shape()[0], x.shape()[1], w.shape()[0]);
    let made = || output(op, x.gpu(), &[m, n], x.dtype());
    let c = made()?;
    let kept = (epilogue == Epilogue::GeluKeep).then(made).transpose()?;
    // Wᵀ: swaps rows and columns.
    let (x_steps, w_steps) = (&x.layout.strides, &w.layout.strides);
    let args = Args::new((x_steps[0], x_steps[1]), (w_steps[1], w_steps[0]));
    let bias = bias.map(|b| b.to_dtype(DType::F32)?.contiguous()).transpose()?;
    let outputs: Vec<&Tensor> = [&c].into_iter().chain(&kept).collect();
    product(op, (1, m, k, n), args, x, w, bias.as_ref(), epilogue, &outputs, None)?;
    Ok((c, kept))
}

/// GELU of the linear layer in one launch and, with `keep`, also the linear layer's result.
pub(crate) fn linear_gelu(
    x: &Tensor,
    w: &Tensor,
    bias: Option<&Tensor>,
    keep: bool,
) -> Result<(Tensor, Option<Tensor>)> {
    layer("linear_gelu", x, w, bias, if keep { Epilogue::GeluKeep } else { Epilogue::Gelu })
}

/// For G `[rows, out]` and x `[rows, in]`: Gᵀ·x `[out, in]` in `dtype`, and the sums of G's columns
/// `[out]` if `dtype` is f32.
pub(crate) fn linear_parameters_backward(
    g: &Tensor,
    x: &Tensor,
    dtype: DType,
) -> Result<(Tensor, Tensor)> {
    let op = "linear_parameters_backward";
    let (k, m, n) = (g.shape()[0], g.shape()[1], x.shape()[1]);
    let dw = output(op, g.gpu(), &[m, n], dtype)?;
    let (g_steps, x_steps) = (&g.layout.strides, &x.layout.strides);
    let mut args = Args::new((g_steps[1], g_steps[0]), (x_steps[0], x_steps[1]));
    let sizes = (1, m, k, n);
    let kernel = args.kernel(float(op, g.dtype())?, sizes, g, x);
    let across_k = args.a_row <= args.a_col;
    if dtype == DType::F32
        && m * n > 0
        && across_k
        && matches!(kernel, Kernel::Tiles { vector: true, .. })
    {
        let db = output(op, g.gpu(), &[m], dtype)?;
        let outputs = [&dw, &db];
        product(op, sizes, args, g, x, None, Epilogue::RowSums, &outputs, Some(kernel))?;
        return Ok((dw, db));
    }
    product(op, sizes, args, g, x, None, Epilogue::None, &[&dw], Some(kernel))?;
    Ok((dw, g.sum_in(&[0], false, dtype)?))
}

impl Args {
    /// For one pair of matrices, from the row and column strides of each.
    fn new(a: (usize, usize), b: (usize, usize)) -> Args {
        Args {
            batch: [1; MAX_BATCH],
            a_row: a.0 as u32,
            a_col: a.1 as u32,
            b_row: b.0 as u32,
            b_col: b.1 as u32,
            ..bytemuck::Zeroable::zeroed()
        }
    }

    /// Sets the offsets of the operands and chooses the kernel of the product.
    fn kernel(
        &mut self,
        operands: Scalar,
        sizes: (usize, usize, usize, usize),
        a: &Tensor,
        b: &Tensor,
    ) -> Kernel {
        (self.a_offset, self.b_offset) = (a.start(), b.start());
        let gpu = a.gpu();
        Kernel::choose(sizes, self, |tiles| {
            let kernel = gpu.cooperative.fragments.kernel(operands, BUSY, tiles)?;
            agrees(gpu, operands, kernel).then_some(kernel)
        })
    }
}

/// The layout of a matrix: sizes, strides, and the offsets within a batch.
struct MatrixLayout<'a> {
    sizes: (usize, usize),
    steps: (u32, u32),
    starts: &'a [u32],
}

impl MatrixLayout<'_> {
    /// Whether it can be read in fours along the dimension with the smaller stride.
    fn in_fours(&self) -> bool {
        let ((rows, cols), (row, col)) = (self.sizes, self.steps);
        match col < row {
            true => self.in_fours_along(cols, col, rows, row),
            false => self.in_fours_along(rows, row, cols, col),
        }
    }

    /// Whether `across` lines of `length` elements have no gaps and begin at multiples of 4.
    fn in_fours_along(&self, length: usize, unit: u32, across: usize, step: u32) -> bool {
        unit == 1
            && length.is_multiple_of(4)
            && (across == 1 || step.is_multiple_of(4))
            && self.starts.iter().all(|start| start.is_multiple_of(4))
    }
}

/// The kernel that computes a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kernel {
    /// For at most `rows` rows.
    Few { rows: u32, vector: bool },
    /// In tiles of this size.
    Tiles { size: u32, vector: bool },
    /// With cooperative matrices.
    Cooperative(Cooperative),
}

impl Kernel {
    /// Chooses by shape and layout. `cooperative` gets the number of tiles for each size, and may
    /// return a kernel with cooperative matrices.
    fn choose(
        (batch, m, k, n): (usize, usize, usize, usize),
        args: &Args,
        cooperative: impl FnOnce(&dyn Fn(u32) -> usize) -> Option<Cooperative>,
    ) -> Kernel {
        let starts_of = |offset: u32, steps: [u32; MAX_BATCH]| [&[offset][..], &steps].concat();
        let a_starts = starts_of(args.a_offset, args.a_batch);
        let b_starts = starts_of(args.b_offset, args.b_batch);
        let a = MatrixLayout { sizes: (m, k), steps: (args.a_row, args.a_col), starts: &a_starts };
        let b = MatrixLayout { sizes: (k, n), steps: (args.b_row, args.b_col), starts: &b_starts };
        let b_lies_along_k = args.b_row <= args.b_col || n == 1;
        if let Some(&rows) = FEW.iter().find(|&&rows| b_lies_along_k && m <= rows as usize) {
            let vector = a.in_fours_along(k, args.a_col, m, args.a_row)
                && b.in_fours_along(k, args.b_row, n, args.b_col);
            return Kernel::Few { rows, vector };
        }
        let [large, small] = TILES;
        let count = |size: u32| batch * m.div_ceil(size as usize) * n.div_ceil(size as usize);
        let fours = a.in_fours() && b.in_fours();
        if fours && let Some(kernel) = cooperative(&count) {
            return Kernel::Cooperative(kernel);
        }
        // Many tiny products would leave most of a large tile unused.
        let fills = m.min(n) > small as usize;
        let size = if fills && count(large) >= BUSY { large } else { small };
        Kernel::Tiles { size, vector: fours && n.is_multiple_of(4) }
    }

    /// Workgroups for each matrix of the batch.
    fn groups(self, m: usize, n: usize) -> usize {
        match self {
            Kernel::Few { .. } => n.div_ceil(4),
            Kernel::Tiles { size, .. } | Kernel::Cooperative(Cooperative { size, .. }) => {
                m.div_ceil(size as usize) * n.div_ceil(size as usize)
            }
        }
    }

    /// A number for each kernel.
    fn code(self) -> u64 {
        match self {
            Kernel::Few { rows, vector } => (rows as u64) << 1 | vector as u64,
            Kernel::Tiles { size, vector } => 1 << 10 | (size as u64) << 1 | vector as u64,
            // One device has one kind of fragment and subgroup.
            Kernel::Cooperative(Cooperative { size, .. }) => 1 << 11 | size as u64,
        }
    }

    fn shader(self, product: Product) -> Shader {
        match self {
            Kernel::Few { rows, vector } => product.few(rows, vector),
            Kernel::Tiles { size, vector } => product.tiles(size, vector),
            Kernel::Cooperative(kernel) => product.cooperative(kernel),
        }
    }
}

fn product(
    op: &'static str,
    (batch, m, k, n): (usize, usize, usize, usize),
    mut args: Args,
    a: &Tensor,
    b: &Tensor,
    bias: Option<&Tensor>,
    epilogue: Epilogue,
    outputs: &[&Tensor],
    forced: Option<Kernel>,
) -> Result<()> {
    let types = Types { operands: float(op, a.dtype())?, result: float(op, outputs[0].dtype())? };
    if batch * m * n == 0 {
        return Ok(());
    }
    (args.a_offset, args.b_offset) = (a.start(), b.start());
    let gpu = a.gpu();
    let kernel = forced.unwrap_or_else(|| args.kernel(types.operands, (batch, m, k, n), a, b));
    let tiles = batch * kernel.groups(m, n);
    if tiles > u32::MAX as usize || k > u32::MAX as usize {
        bail!(
            op,
            Device,
            "{batch} products of [{m}, {k}] and [{k}, {n}] are more than one launch takes"
        );
    }
    (args.m, args.k, args.n, args.tiles) = (m as u32, k as u32, n as u32, tiles as u32);
    args.bias_offset = bias.map_or(0, Tensor::start);
    let mut inputs = vec![a.buffer(), b.buffer()];
    inputs.extend(bias.map(Tensor::buffer));
    let outputs: Vec<_> = outputs.iter().map(|t| t.buffer()).collect();
    let product = Product { types, bias: bias.is_some(), epilogue };
    let launch = Launch {
        op,
        key: ("matmul", product.code() << 32 | kernel.code()),
        inputs: &inputs,
        outputs: &outputs,
        immediates: bytemuck::bytes_of(&args),
        groups: gpu.grid(op, tiles as u64)?,
    };
    gpu.launch(&launch, || kernel.shader(product))
}

/// Whether cooperative matrices give the same sums as the tiles; computed once for each device.
fn agrees(gpu: &'static Gpu, operands: Scalar, kernel: Cooperative) -> bool {
    let known = match operands {
        Scalar::F16 => &gpu.cooperative.f16_agrees,
        _ => &gpu.cooperative.f32_agrees,
    };
    match known.get() {
        Some(&agrees) => agrees,
        // An error here is an error of the device, which the next operation will report.
        None => {
            let agrees = compared(gpu, operands, Kernel::Cooperative(kernel)).unwrap_or(false);
            *known.get_or_init(|| agrees)
        }
    }
}

/// Whether a kernel gives the same product as the plain tiles, bit for bit. The operands are small
/// whole numbers, so that no order of summation rounds. The sizes are no multiples of the tiles,
/// fragments and steps of k, and B lies both along k and along n.
fn compared(gpu: &'static Gpu, operands: Scalar, kernel: Kernel) -> Result<bool> {
    let (op, dtype) = ("matmul", if operands == Scalar::F16 { DType::F16 } else { DType::F32 });
    let (m, k, n) = (200, 100, 140);
    let numbers = |rows: usize, cols: usize, step: usize| {
        let values: Vec<f32> = (0..rows * cols).map(|i| (i * step % 13) as f32 - 6.0).collect();
        let here = Tensor::from_slice(&values, &[rows, cols])?.to_dtype(dtype)?;
        upload(op, &here, gpu)
    };
    let (a, b) = (numbers(m, k, 5)?, numbers(k, n, 7)?);
    let turned = b.t()?.copy()?.t()?;
    let result = |b: &Tensor, kernel: Kernel| {
        // Clears the buffer, so that an element left unwritten does not hold an earlier result.
        let c = super::copy::full(op, gpu, &[m, n], f64::NAN, DType::F32)?;
        let args = Args::new((k, 1), (b.layout.strides[0], b.layout.strides[1]));
        product(op, (1, m, k, n), args, &a, b, None, Epilogue::None, &[&c], Some(kernel))?;
        download(op, &c)?.to_vec::<f32>()
    };
    let plain = Kernel::Tiles { size: TILES[1], vector: false };
    let truth = result(&b, plain)?;
    Ok(result(&b, kernel)? == truth && result(&turned, kernel)? == truth)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kernel for contiguous operands, of which the second is a weight's transpose.
    fn chosen((m, k, n): (usize, usize, usize), change: impl FnOnce(&mut Args)) -> Kernel {
        let mut args = Args {
            a_row: k as u32,
            a_col: 1,
            b_row: 1,
            b_col: k as u32,
            ..bytemuck::Zeroable::zeroed()
        };
        change(&mut args);
        Kernel::choose((1, m, k, n), &args, |_| None)
    }

    #[test]
    fn kernels_are_chosen_by_shape() {
        let few = |rows, vector| Kernel::Few { rows, vector };
        let tiles = |size, vector| Kernel::Tiles { size, vector };
        let all = |_: &mut Args| {};
        assert_eq!(chosen((1, 384, 384), all), few(1, true));
        assert_eq!(chosen((3, 384, 77), all), few(4, true));
        assert_eq!(chosen((16, 384, 384), all), few(16, true));
        assert_eq!(chosen((16, 383, 384), all), few(16, false));
        assert_eq!(chosen((16, 384, 384), |a| a.a_offset = 2), few(16, false));
        assert_eq!(chosen((16, 384, 384), |a| a.b_batch[2] = 6), few(16, false));
        assert_eq!(chosen((17, 384, 384), all), tiles(32, true));
        assert_eq!(chosen((4096, 384, 384), all), tiles(64, true));
        assert_eq!(chosen((4096, 384, 77), all), tiles(64, false));
        assert_eq!(chosen((100, 384, 384), |a| a.a_row = 386), tiles(32, false));
        // B along n is computed in tiles even for few rows. m and k need not be multiples of 4
        // then.
        let along_n = |a: &mut Args| (a.b_row, a.b_col) = (384, 1);
        assert_eq!(chosen((9, 384, 384), along_n), tiles(32, true));
        assert_eq!(chosen((9, 6, 384), along_n), tiles(32, false));
        let turned = |a: &mut Args| {
            along_n(a);
            (a.a_row, a.a_col) = (1, 768);
        };
        assert_eq!(chosen((768, 391, 384), turned), tiles(64, true));
        // Cooperative matrices, where the device has them, compute every product that is read in
        // fours and has more than a few rows.
        let any = Cooperative { fragment: 16, lanes: 32, size: 64 };
        let with = |shape: (usize, usize, usize)| {
            let (m, k, n) = shape;
            let mut args: Args = bytemuck::Zeroable::zeroed();
            (args.a_row, args.a_col, args.b_row, args.b_col) = (k as u32, 1, 1, k as u32);
            Kernel::choose((1, m, k, n), &args, |_| Some(any))
        };
        assert_eq!(with((100, 384, 77)), Kernel::Cooperative(any));
        assert_eq!(with((100, 383, 76)), tiles(32, false));
        assert_eq!(with((9, 384, 76)), few(16, true));
    }

    /// The comparison that admits cooperative matrices accepts a right kernel and rejects a wrong
    /// one.
    #[test]
    fn a_comparison_tells_right_from_wrong() {
        let Some(info) = super::super::gpus().into_iter().next() else { return };
        let gpu = super::super::gpu("test", info.index).unwrap();
        for operands in [Scalar::F32, Scalar::F16] {
            if operands == Scalar::F16 && !info.features.f16 {
                continue;
            }
            let right = Kernel::Tiles { size: TILES[0], vector: true };
            assert!(compared(gpu, operands, right).unwrap());
            // This kernel computes only the first rows.
            assert!(!compared(gpu, operands, Kernel::Few { rows: 4, vector: false }).unwrap());
        }
    }
}
