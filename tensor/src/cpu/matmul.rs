//! C = A·B over any strides, and the linear layer y = x·Wᵀ + b.
//!
//! Products are `matrixmultiply`'s; this file splits them between threads. A task is one block of
//! one matrix of the batch: rows of C where C is tall, columns where it is wide and flat. The split
//! depends on the shape alone, and every element is summed over k in one order: bit-identical for
//! every number of threads.

use super::math::Float;
use super::parallel::{self, SharedMut};
use crate::storage::Output;
use crate::{DType, Result, Tensor, bail, dispatch_float};

/// A matrix inside a storage: where it starts and how far apart its rows and columns lie.
#[derive(Clone, Copy)]
pub(crate) struct Mat<'a, T> {
    pub(crate) data: &'a [T],
    pub(crate) row: usize,
    pub(crate) col: usize,
}

/// The BLAS operation `C = alpha·A·B + beta·C` on one thread.
pub(crate) trait Gemm: Float {
    /// # Safety
    /// `c` must be valid for writes at `i·row_c + j` for all `i < m`, `j < n` and written by nobody
    /// else meanwhile.
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
}

fn check<T>(mat: &Mat<T>, rows: usize, cols: usize) {
    if rows > 0 && cols > 0 {
        let last = (rows - 1) * mat.row + (cols - 1) * mat.col;
        assert!(last < mat.data.len(), "a matrix reaches beyond its storage");
    }
}

macro_rules! gemm {
    ($($t:ty => $f:path;)*) => {$(impl Gemm for $t {
        unsafe fn gemm(
            m: usize, k: usize, n: usize, alpha: $t, a: Mat<$t>, b: Mat<$t>, beta: $t,
            c: *mut $t, row_c: usize,
        ) {
            check(&a, m, k);
            check(&b, k, n);
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
    })*};
}
gemm! {
    f32 => matrixmultiply::sgemm;
    f64 => matrixmultiply::dgemm;
}

/// Picoseconds of one multiply-add on one core, for the decision whether threads are worth it.
const PS_PER_MAC: usize = 25;

/// Rows or columns of one task. Blocks of this size lose little to packing the other operand again.
fn block(len: usize, other: usize, k: usize) -> usize {
    // At least about 4 M multiply-adds a task, at most 16 tasks.
    let by_work = (4usize << 20).div_ceil((other * k).max(1));
    by_work.max(len.div_ceil(16)).next_multiple_of(16).min(len.max(1))
}

/// One product, split into tasks. `epilogue(row, first_column, columns)` sees each piece of a row
/// of C right after it is computed.
///
/// # Safety
/// As for [`Gemm::gemm`], over the whole of C.
unsafe fn split<T: Gemm>(
    (m, k, n): (usize, usize, usize),
    a: Mat<T>,
    b: Mat<T>,
    c: &SharedMut<T>,
    epilogue: impl Fn(usize, &mut [T]) + Sync + Send,
) {
    let by_rows = m >= n / 2;
    let (len, size) = if by_rows { (m, block(m, n, k)) } else { (n, block(n, m, k)) };
    let macs = size * if by_rows { n } else { m } * k;
    parallel::run(len.div_ceil(size), macs * PS_PER_MAC / 1000, &|task| {
        let (from, to) = (task * size, len.min((task + 1) * size));
        let (rows, cols) = if by_rows { (from..to, 0..n) } else { (0..m, from..to) };
        let sub_a = Mat { data: &a.data[(rows.start * a.row).min(a.data.len())..], ..a };
        let sub_b = Mat { data: &b.data[(cols.start * b.col).min(b.data.len())..], ..b };
        // SAFETY: this task alone writes the block `rows × cols` of C, which lies inside C.
        unsafe {
            let first = c.ptr(rows.start * n + cols.start);
            T::gemm(rows.len(), k, cols.len(), T::ONE, sub_a, sub_b, T::ZERO, first, n);
            for r in rows {
                epilogue(cols.start, c.slice(r * n + cols.start..r * n + cols.end));
            }
        }
    });
}

/// Batched product of operands already broadcast to one batch shape; `shape` is the result's.
pub(crate) fn matmul(a: &Tensor, b: &Tensor, shape: &[usize]) -> Result<Tensor> {
    dispatch_float!("matmul", a.dtype(), T => batched::<T>(a, b, shape))
}

fn batched<T: Gemm>(a: &Tensor, b: &Tensor, shape: &[usize]) -> Result<Tensor> {
    let rank = shape.len();
    let (m, n, k) = (shape[rank - 2], shape[rank - 1], a.shape()[rank - 1]);
    let numel: usize = shape.iter().product();
    if numel == 0 || k == 0 {
        return Tensor::zeros(shape, a.dtype());
    }
    // Storage positions of the first element of every matrix.
    let starts = |t: &Tensor| {
        let mut layout = t.layout.clone();
        layout.shape.truncate(rank - 2);
        layout.strides.truncate(rank - 2);
        layout.positions().collect::<Vec<_>>()
    };
    let (at_a, at_b) = (starts(a), starts(b));
    let (va, vb) = (a.cpu_view::<T>(), b.cpu_view::<T>());
    let mat = |data, t: &Tensor| Mat {
        data,
        row: t.layout.strides[rank - 2],
        col: t.layout.strides[rank - 1],
    };
    let mut out = Output::<T>::new("matmul", numel)?;
    let c = SharedMut::new(out.slice_mut());
    let one = |i: usize| (mat(&va.data[at_a[i]..], a), mat(&vb.data[at_b[i]..], b));
    if at_a.len() == 1 {
        let (a, b) = one(0);
        // SAFETY: C is exclusively ours.
        unsafe { split((m, k, n), a, b, &c, |_, _| {}) };
    } else {
        parallel::run(at_a.len(), m * k * n * PS_PER_MAC / 1000, &|i| {
            let (a, b) = one(i);
            // SAFETY: each task writes its own matrix.
            unsafe { T::gemm(m, k, n, T::ONE, a, b, T::ZERO, c.ptr(i * m * n), n) };
        });
    }
    Ok(out.into_tensor(shape))
}

/// `x [m, in]`, `w [out, in]`, `bias [out]` → `[m, out]`; the bias is added while the block is in
/// the cache.
pub(crate) fn linear(x: &Tensor, w: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    if !matches!(x.dtype(), DType::F32 | DType::F64) {
        bail!("linear", "computes on f32 and f64, got {}; convert with to_dtype", x.dtype());
    }
    let bias = bias.map(Tensor::contiguous).transpose()?;
    dispatch_float!("linear", x.dtype(), T => {
        let (m, k, n) = (x.shape()[0], x.shape()[1], w.shape()[0]);
        let bias = bias.as_ref().map(|b| b.cpu_slice::<T>());
        let mut out = Output::<T>::new("linear", m * n)?;
        if m * n == 0 {
            return Ok(out.into_tensor(&[m, n]));
        }
        let (vx, vw) = (x.cpu_view::<T>(), w.cpu_view::<T>());
        if k == 0 {
            out.slice_mut().fill(T::ZERO);
        }
        let (sx, sw) = (&x.layout.strides, &w.layout.strides);
        let a = Mat { data: &vx.data[x.layout.offset.min(vx.data.len())..], row: sx[0], col: sx[1] };
        // Wᵀ: rows and columns exchanged.
        let b = Mat { data: &vw.data[w.layout.offset.min(vw.data.len())..], row: sw[1], col: sw[0] };
        let c = SharedMut::new(out.slice_mut());
        // SAFETY: C is exclusively ours.
        unsafe {
            split((m, k, n), a, b, &c, |first, row| {
                if let Some(bias) = bias {
                    let bias = &bias[first..first + row.len()];
                    for i in 0..row.len() {
                        row[i] += bias[i];
                    }
                }
            });
        }
        Ok(out.into_tensor(&[m, n]))
    })
}
