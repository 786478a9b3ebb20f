//! C = A·B over any strides, and the linear layer y = x·Wᵀ + b, on request with GELU.
//!
//! f32 on a processor with a kernel goes to [`super::product`]; a weight keeps its packed form with
//! it. Everything else is `matrixmultiply`'s product; this file splits it between threads. A task is
//! one block of one matrix of the batch: rows of C where C is tall, columns where it is wide and
//! flat. The split depends on the shape alone, and every element is summed over k in one order:
//! bit-identical for every number of threads.

use gradus_base::op::unary::UnaryOp;
use gradus_base::{DType, Result, bail, dispatch_float, sizes};

use super::concat;
use super::create;
use super::mat::Mat;
use super::math::Float;
use super::parallel::{self, SharedMut};
use super::product::{self, Epilogue, F32Kernel, Left, Packed, Right};
use super::reduce;
use super::storage::Output;
use super::unary;
use super::view::{Array, View, ViewOrCopy};

/// Products of matrices of this type.
pub(crate) trait Gemm: Float {
    /// The BLAS operation `C = alpha·A·B + beta·C` on one thread, with the arguments of BLAS.
    ///
    /// # Safety
    /// `c` must be valid for writes at `i·row_c + j` for all `i < m`, `j < n`, and no other
    /// thread may write there meanwhile.
    unsafe fn gemm(
        m: usize,
        k: usize,
        n: usize,
        alpha: Self,
        a: Mat<Self>,
        b: Mat<Self>,
        beta: Self,
        c: *mut Self,
        row_c: usize,
    );

    /// C = A·B for sizes `(m, k, n)`, split between threads.
    fn product(
        sizes: (usize, usize, usize),
        a: Mat<Self>,
        b: Mat<Self>,
        c: &mut [Self],
    ) -> Result<()>;
}

macro_rules! gemm {
    ($($t:ty => $f:path, $product:path;)*) => {$(impl Gemm for $t {
        unsafe fn gemm(
            m: usize, k: usize, n: usize, alpha: $t, a: Mat<$t>, b: Mat<$t>, beta: $t,
            c: *mut $t, row_c: usize,
        ) {
            a.check(m, k);
            b.check(k, n);
            // SAFETY: A and B lie inside their slices (checked); C is the caller's promise.
            unsafe {
                $f(
                    m, k, n, alpha,
                    a.data.as_ptr(), a.row as isize, a.col as isize,
                    b.data.as_ptr(), b.row as isize, b.col as isize,
                    beta, c, row_c as isize, 1,
                )
            }
        }

        fn product(
            sizes: (usize, usize, usize), a: Mat<$t>, b: Mat<$t>, c: &mut [$t],
        ) -> Result<()> {
            $product(sizes, a, b, c)
        }
    })*};
}
gemm! {
    f32 => matrixmultiply::sgemm, product_f32;
    f64 => matrixmultiply::dgemm, product_f64;
}

/// Picoseconds of one multiply-add on one core, for the decision whether threads are worth it.
const PS_PER_MAC: usize = 25;

/// Rows or columns of one task. Blocks of this size lose little to packing the other operand again.
fn block(len: usize, other: usize, k: usize) -> usize {
    // At least about 4 M multiply-adds a task, at most 16 tasks.
    let by_work = (4usize << 20).div_ceil(sizes::work(&[other, k]).max(1));
    by_work.max(len.div_ceil(16)).next_multiple_of(16).min(len.max(1))
}

/// One product, split into tasks; rows of C are `row_c` apart.
/// `epilogue(row, first_column, columns)` sees each piece of a row of C right after it is computed.
///
/// # Safety
/// As for [`Gemm::gemm`], over the whole of C.
unsafe fn split<T: Gemm>(
    (m, k, n): (usize, usize, usize),
    a: Mat<T>,
    b: Mat<T>,
    (c, row_c): (&SharedMut<T>, usize),
    epilogue: impl Fn(usize, &mut [T]) + Sync + Send,
) {
    c.check(m, n, row_c);
    let by_rows = m >= n / 2;
    let (len, size) = if by_rows { (m, block(m, n, k)) } else { (n, block(n, m, k)) };
    let ps = sizes::work(&[size, if by_rows { n } else { m }, k, PS_PER_MAC]);
    parallel::run(len.div_ceil(size), ps / 1000, &|task| {
        let (from, to) = (task * size, len.min((task + 1) * size));
        let (rows, cols) = if by_rows { (from..to, 0..n) } else { (0..m, from..to) };
        let sub_a = Mat { data: &a.data[(rows.start * a.row).min(a.data.len())..], ..a };
        let sub_b = Mat { data: &b.data[(cols.start * b.col).min(b.data.len())..], ..b };
        // SAFETY: this task alone writes the block `rows × cols` of C, which lies inside C.
        unsafe {
            let first = c.ptr(rows.start * row_c + cols.start);
            T::gemm(rows.len(), k, cols.len(), T::ONE, sub_a, sub_b, T::ZERO, first, row_c);
            for r in rows {
                epilogue(cols.start, c.slice(r * row_c + cols.start..r * row_c + cols.end));
            }
        }
    });
}

/// Batched product of operands already broadcast to one batch shape; `shape` is the result's.
/// The result has the operands' dtype: another is only for f16, which is not computed here.
pub fn matmul(a: View, b: View, shape: &[usize], _dtype: DType) -> Result<Array> {
    dispatch_float!("matmul", a.dtype(), batched::<T>(a, b, shape))
}

fn batched<T: Gemm>(a: View, b: View, shape: &[usize]) -> Result<Array> {
    let rank = shape.len();
    let (m, n, k) = (shape[rank - 2], shape[rank - 1], a.shape()[rank - 1]);
    if shape.contains(&0) || k == 0 {
        return create::full(shape, 0.0, a.dtype());
    }
    let mut out = Output::<T>::new("matmul", shape)?;
    // Storage positions of the first element of every matrix.
    let starts = |t: View| {
        let mut layout = t.layout().clone();
        layout.shape.truncate(rank - 2);
        layout.strides.truncate(rank - 2);
        let mut starts = sizes::list("matmul", layout.numel())?;
        starts.extend(layout.positions());
        Ok::<_, gradus_base::Error>(starts)
    };
    let (at_a, at_b) = (starts(a)?, starts(b)?);
    let (va, vb) = (a.typed::<T>(), b.typed::<T>());
    let mat = |data, t: View| Mat {
        data,
        row: t.layout().strides[rank - 2],
        col: t.layout().strides[rank - 1],
    };
    let one = |i: usize| (mat(&va.data[at_a[i]..], a), mat(&vb.data[at_b[i]..], b));
    if at_a.len() == 1 {
        let (a, b) = one(0);
        T::product((m, k, n), a, b, out.slice_mut())?;
    } else {
        let c = SharedMut::new(out.slice_mut());
        c.check(at_a.len(), m * n, m * n);
        parallel::run(at_a.len(), sizes::work(&[m, k, n, PS_PER_MAC]) / 1000, &|i| {
            let (a, b) = one(i);
            // SAFETY: each task writes its own matrix.
            unsafe { T::gemm(m, k, n, T::ONE, a, b, T::ZERO, c.ptr(i * m * n), n) };
        });
    }
    Ok(out.into_array(shape))
}

/// C = A·B in f64.
fn product_f64(
    sizes: (usize, usize, usize),
    a: Mat<f64>,
    b: Mat<f64>,
    c: &mut [f64],
) -> Result<()> {
    // SAFETY: C is exclusively ours.
    unsafe { split(sizes, a, b, (&SharedMut::new(c), sizes.2), |_, _| {}) };
    Ok(())
}

/// C = A·B in f32.
fn product_f32(
    (m, k, n): (usize, usize, usize),
    a: Mat<f32>,
    b: Mat<f32>,
    c: &mut [f32],
) -> Result<()> {
    let Some(kernel) = product::f32_kernel() else {
        // SAFETY: C is exclusively ours.
        unsafe { split((m, k, n), a, b, (&SharedMut::new(c), n), |_, _| {}) };
        return Ok(());
    };
    // Packed before, B is read by all tasks; packed on the way, it need not wait. An A that is copied
    // comes in tall blocks, so that a B larger than A is packed on the way once or twice only, and
    // never written to memory.
    let packed = match m > product::FEW_ROWS && (a.col == 1 || m >= n) {
        true => Some(Packed::new("matmul", kernel, b, (k, n))?),
        false => None,
    };
    let right = packed.as_ref().map_or(Right::Plain(b), Right::Packed);
    product::product(kernel, (m, k, n), Left::Plain(a), right, c, Epilogue::default())
}

/// `x [m, in]`, `w [out, in]`, `bias [out]` → `[m, out]`.
pub fn linear(x: View, w: View, bias: Option<View>) -> Result<Array> {
    Ok(layer("linear", x, w, bias, false, false)?.0)
}

/// GELU of [`linear`] and, with `keep`, the linear layer's own result.
pub fn linear_gelu(
    x: View,
    w: View,
    bias: Option<View>,
    keep: bool,
) -> Result<(Array, Option<Array>)> {
    layer("linear_gelu", x, w, bias, true, keep)
}

fn layer(
    op: &'static str,
    x: View,
    w: View,
    bias: Option<View>,
    gelu: bool,
    keep: bool,
) -> Result<(Array, Option<Array>)> {
    only_floats(op, x.dtype())?;
    let bias = bias.map(View::contiguous).transpose()?;
    let (m, k, n) = (x.shape()[0], x.shape()[1], w.shape()[0]);
    if x.dtype() == DType::F32
        && m.min(k).min(n) > 0
        && let Some(kernel) = product::f32_kernel()
    {
        let mut out = Output::<f32>::new(op, &[m, n])?;
        let mut before = keep.then(|| Output::<f32>::new(op, &[m, n])).transpose()?;
        let kept = before.as_mut().map(|before| SharedMut::new(before.slice_mut()));
        let bias = bias.as_ref().map(|b| b.view().slice::<f32>());
        let epilogue = Epilogue { bias, gelu, before: kept, ..Epilogue::default() };
        packed_layer(kernel, x.unit_columns()?.view(), w, out.slice_mut(), epilogue)?;
        return Ok((out.into_array(&[m, n]), before.map(|before| before.into_array(&[m, n]))));
    }
    let y = dispatch_float!("linear", x.dtype(), layers::<T>(x, &[w], bias.as_slice()))?;
    if gelu {
        let z = unary::forward(y.view(), UnaryOp::Gelu)?;
        return Ok((z, keep.then_some(y)));
    }
    Ok((y, None))
}

/// Linear layers of one input, each writing its columns of the result.
pub fn linear_cat(x: View, weights: Vec<View>, biases: Vec<View>) -> Result<Array> {
    let op = "linear_cat";
    only_floats(op, x.dtype())?;
    let biases = biases.iter().map(|b| b.contiguous()).collect::<Result<Vec<_>>>()?;
    if x.dtype() == DType::F32
        && x.numel() > 0
        && let Some(kernel) = product::f32_kernel()
    {
        let (m, n) = (x.shape()[0], weights.iter().map(|w| w.shape()[0]).sum());
        let x = x.unit_columns()?;
        let x = x.view();
        let mut out = Output::<f32>::new(op, &[m, n])?;
        let mut column = 0;
        for (i, w) in weights.iter().enumerate().filter(|(_, w)| w.numel() > 0) {
            let bias = biases.get(i).map(|b| b.view().slice::<f32>());
            let epilogue = Epilogue { bias, row: Some(n), ..Epilogue::default() };
            packed_layer(kernel, x, *w, &mut out.slice_mut()[column..], epilogue)?;
            column += w.shape()[0];
        }
        return Ok(out.into_array(&[m, n]));
    }
    dispatch_float!("linear", x.dtype(), layers::<T>(x, &weights, &biases))
}

/// The weights of layers side by side as one, `[Σout, in]`.
pub fn joined_weights(weights: Vec<View>, _biases: Vec<View>) -> Result<Array> {
    let (rows, k) = (weights.iter().map(|w| w.shape()[0]).sum(), weights[0].shape()[1]);
    concat::cat("cat", weights, 0, &[rows, k])
}

/// Gᵀ·x and the sums of G's columns.
pub fn linear_parameters_backward(g: View, x: View, dtype: DType) -> Result<(Array, Array)> {
    let transposed = g.layout().permute([1, 0]);
    let dw = matmul(g.with(&transposed), x, &[g.shape()[1], x.shape()[1]], dtype)?;
    Ok((dw, reduce::sum(g, &[0])?))
}

fn only_floats(op: &'static str, dtype: DType) -> Result<()> {
    if !matches!(dtype, DType::F32 | DType::F64) {
        bail!(op, DType, "computes on f32 and f64, got {dtype}; convert with to_dtype");
    }
    Ok(())
}

/// x·Wᵀ and the epilogue, by the packed form of W where it has a place for one.
fn packed_layer(
    kernel: &dyn F32Kernel,
    x: View,
    w: View,
    c: &mut [f32],
    epilogue: Epilogue,
) -> Result<()> {
    let (m, k, n) = (x.shape()[0], x.shape()[1], w.shape()[0]);
    let wt = w.mat::<f32>().t();
    let packed = derived(w, || Packed::new("matmul", kernel, wt, (k, n)))?;
    let packed = packed.filter(|packed| packed.is_for(kernel, k, n));
    let right = packed.as_deref().map_or(Right::Plain(wt), Right::Packed);
    product::product(kernel, (m, k, n), Left::Plain(x.mat()), right, c, epilogue)
}

/// A form of a whole weight that a kernel derives, made on first use and kept until the weight
/// changes. `None` for a view of something larger, which has no place for it, and where another
/// form has the place.
pub(crate) fn derived<D: Send + Sync + 'static>(
    w: View,
    make: impl FnOnce() -> Result<D>,
) -> Result<Option<std::sync::Arc<D>>> {
    let storage = w.storage();
    if !w.is_contiguous() || w.numel() != storage.slice::<f32>().len() {
        return Ok(None);
    }
    storage.derived(make)
}

/// Layers side by side; the bias is added while the block is in the cache.
fn layers<T: Gemm>(x: View, weights: &[View], biases: &[ViewOrCopy]) -> Result<Array> {
    let (m, k) = (x.shape()[0], x.shape()[1]);
    let all: usize = weights.iter().map(|w| w.shape()[0]).sum();
    let mut out = Output::<T>::new("linear", &[m, all])?;
    if k == 0 {
        out.slice_mut().fill(T::ZERO);
    }
    let mut column = 0;
    for (i, w) in weights.iter().enumerate().filter(|(_, w)| m.min(w.shape()[0]) > 0) {
        let (n, bias) = (w.shape()[0], biases.get(i).map(|b| b.view().slice::<T>()));
        let (a, b) = (x.mat::<T>(), w.mat::<T>().t());
        let c = SharedMut::new(&mut out.slice_mut()[column..]);
        let add_bias = |first: usize, row: &mut [T]| {
            if let Some(bias) = bias {
                let bias = &bias[first..first + row.len()];
                for i in 0..row.len() {
                    row[i] += bias[i];
                }
            }
        };
        // SAFETY: C is exclusively ours.
        unsafe { split((m, k, n), a, b, (&c, all), add_bias) };
        column += n;
    }
    Ok(out.into_array(&[m, all]))
}

#[cfg(test)]
mod tests {
    use super::block;

    /// There are at most 16 tasks, and each has four million multiply-adds, unless it is the only
    /// one.
    #[test]
    fn tasks_are_few_and_large() {
        for (len, other, k) in [
            (1, 1, 1),
            (10, 10, 10),
            (1000, 64, 64),
            (1024, 1024, 1024),
            (100_000, 8, 8),
            (33, 5000, 5000),
        ] {
            let size = block(len, other, k);
            assert!((1..=len).contains(&size), "{len}: {size}");
            assert!(len.div_ceil(size) <= 16, "{len}: tasks of {size}");
            assert!(size == len || size * other * k >= 4 << 20, "{len}: tasks of {size}");
        }
    }
}
