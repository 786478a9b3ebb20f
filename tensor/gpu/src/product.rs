//! One batch of products: the choice of its kernel, and the launch.

use gradus_base::{DType, Result, bail};
use gradus_shaders::matmul::{Cooperative, Epilogue, FEW, Product, TILES, Types};
use gradus_shaders::{Scalar, Shader};

use super::context::{Gpu, Launch};
use super::copy::{convert, full};
use super::storage::float;
use super::transfer::{start_reading, upload};
use super::view::{Array, View};

/// The most batch dimensions that the kernel walks.
pub(super) const MAX_BATCH: usize = 3;

/// The number of workgroups that keeps a device busy. Large tiles are used only if there are at
/// least this many of them.
const BUSY: usize = 64;

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
pub(super) struct Args {
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
    pub(super) batch: [u32; MAX_BATCH],
    pub(super) a_batch: [u32; MAX_BATCH],
    pub(super) b_batch: [u32; MAX_BATCH],
}

impl Args {
    /// For one pair of matrices, from the row and column strides of each.
    pub(super) fn new(a: (usize, usize), b: (usize, usize)) -> Args {
        Args {
            batch: [1; MAX_BATCH],
            a_row: a.0 as u32,
            a_col: a.1 as u32,
            b_row: b.0 as u32,
            b_col: b.1 as u32,
            ..bytemuck::Zeroable::zeroed()
        }
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
        Sizes { batch, m, k, n }: Sizes,
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

/// The sizes of a batch of products `[m, k]` × `[k, n]`.
#[derive(Clone, Copy)]
pub(super) struct Sizes {
    pub(super) batch: usize,
    pub(super) m: usize,
    pub(super) k: usize,
    pub(super) n: usize,
}

/// A batch of products.
pub(super) struct Multiplication<'a> {
    op: &'static str,
    sizes: Sizes,
    args: Args,
    a: View<'a>,
    b: View<'a>,
    /// f32, contiguous.
    pub(super) bias: Option<View<'a>>,
    pub(super) epilogue: Epilogue,
}

impl<'a> Multiplication<'a> {
    /// Without a bias and an epilogue. `args` lacks the offsets.
    pub(super) fn new(
        op: &'static str,
        sizes: Sizes,
        args: Args,
        a: View<'a>,
        b: View<'a>,
    ) -> Self {
        let args = Args { a_offset: a.start(), b_offset: b.start(), ..args };
        Multiplication { op, sizes, args, a, b, bias: None, epilogue: Epilogue::None }
    }

    /// Chooses the kernel.
    fn kernel(&self, operands: Scalar) -> Kernel {
        let gpu = self.a.gpu();
        Kernel::choose(self.sizes, &self.args, |tiles| {
            let kernel = gpu.cooperative.fragments.kernel(operands, BUSY, tiles)?;
            agrees(gpu, operands, kernel).then_some(kernel)
        })
    }

    /// Whether the chosen kernel can also sum the rows of A, with
    /// [`RowSums`](Epilogue::RowSums): in tiles that read A in fours across k.
    pub(super) fn can_sum_rows(&self) -> Result<bool> {
        let Sizes { m, n, .. } = self.sizes;
        let across_k = self.args.a_row <= self.args.a_col;
        let operands = float(self.op, self.a.dtype())?;
        Ok(m * n > 0
            && across_k
            && matches!(self.kernel(operands), Kernel::Tiles { vector: true, .. }))
    }

    /// Launches the chosen kernel.
    pub(super) fn launch(self, outputs: &[&Array]) -> Result<()> {
        self.launch_as(None, outputs)
    }

    /// Launches this kernel, or the chosen one.
    fn launch_as(mut self, given: Option<Kernel>, outputs: &[&Array]) -> Result<()> {
        let (op, Sizes { batch, m, k, n }) = (self.op, self.sizes);
        let result = float(op, outputs[0].dtype())?;
        let types = Types { operands: float(op, self.a.dtype())?, result };
        if batch * m * n == 0 {
            return Ok(());
        }
        let kernel = given.unwrap_or_else(|| self.kernel(types.operands));
        let tiles = batch * kernel.groups(m, n);
        if tiles > u32::MAX as usize || k > u32::MAX as usize {
            bail!(
                op,
                Device,
                "{batch} products of [{m}, {k}] and [{k}, {n}] are more than one launch takes"
            );
        }
        let (gpu, args) = (self.a.gpu(), &mut self.args);
        (args.m, args.k, args.n, args.tiles) = (m as u32, k as u32, n as u32, tiles as u32);
        args.bias_offset = self.bias.map_or(0, View::start);
        let product = Product { types, bias: self.bias.is_some(), epilogue: self.epilogue };
        let launch = Launch {
            op,
            key: ("matmul", product.code() << 32 | kernel.code()),
            inputs: &[Some(self.a), Some(self.b), self.bias]
                .into_iter()
                .flatten()
                .map(View::buffer)
                .collect::<Vec<_>>(),
            outputs: &outputs.iter().map(|array| array.buffer()).collect::<Vec<_>>(),
            immediates: bytemuck::bytes_of(args),
            groups: gpu.grid(op, tiles as u64)?,
        };
        gpu.launch(&launch, || kernel.shader(product))
    }
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
    let sizes @ Sizes { m, k, n, .. } = Sizes { batch: 1, m: 200, k: 100, n: 140 };
    let number = |i: usize, step: usize| (i * step % 13) as f32 - 6.0;
    let matrix = |values: Vec<f32>, shape: [usize; 2]| {
        convert(op, upload(op, gpu, &values, &shape)?.view(), dtype)
    };
    let a = matrix((0..m * k).map(|i| number(i, 5)).collect(), [m, k])?;
    let b = matrix((0..k * n).map(|i| number(i, 7)).collect(), [k, n])?;
    // The same numbers, along k.
    let turned = matrix((0..n * k).map(|i| number(i % k * n + i / k, 7)).collect(), [n, k])?;
    let result = |(b, steps): (&Array, (usize, usize)), kernel: Kernel| -> Result<Vec<f32>> {
        // Clears the buffer, so that an element left unwritten does not hold an earlier result.
        let c = full(op, gpu, &[m, n], f64::NAN, DType::F32)?;
        let (args, a, b) = (Args::new((k, 1), steps), a.view(), b.view());
        Multiplication::new(op, sizes, args, a, b).launch_as(Some(kernel), &[&c])?;
        let mut values = vec![0.0; m * n];
        start_reading(op, c.view())?.wait_into(&mut values)?;
        Ok(values)
    };
    let plain = Kernel::Tiles { size: TILES[1], vector: false };
    let (along_n, along_k) = ((&b, (n, 1)), (&turned, (1, k)));
    let truth = result(along_n, plain)?;
    Ok(result(along_n, kernel)? == truth && result(along_k, kernel)? == truth)
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
        Kernel::choose(Sizes { batch: 1, m, k, n }, &args, |_| None)
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
            Kernel::choose(Sizes { batch: 1, m, k, n }, &args, |_| Some(any))
        };
        assert_eq!(with((100, 384, 77)), Kernel::Cooperative(any));
        assert_eq!(with((100, 383, 76)), tiles(32, false));
        assert_eq!(with((9, 384, 76)), few(16, true));
    }

    /// The comparison that admits cooperative matrices accepts a right kernel and rejects a wrong
    /// one.
    #[test]
    fn a_comparison_tells_right_from_wrong() {
        let Some(info) = crate::gpus().into_iter().next() else { return };
        let gpu = crate::gpu("test", info.index).unwrap();
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
