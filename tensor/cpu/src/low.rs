//! The linear layer with operands of 8 or 16 bits: y ≈ x·Wᵀ + b, on request with GELU; and in bf16
//! the products of its derivative.
//!
//! Shapes: x `[m, k]`, W `[n, k]`, b `[n]`, y `[m, n]`.
//!
//! [`product`] does it, with the best kernel that the processor has. Sums of integers are exact in
//! i32: all processors that round x in one way, and any split, give the same result. bf16 adds in
//! f32, in an order for each instruction set; where no kernel for it is faster than f32, the caller
//! takes f32.
//!
//! The rounded weight is made once and kept. It takes a half or a quarter of the memory of f32, so
//! few rows wait less for it.

use super::matmul;
use super::parallel::SharedMut;
use super::product::{self, Epilogue, Kernel, Left, Packed, Right, Rounded};
use super::storage::Output;
use super::view::{Array, View, ViewOrCopy};
use gradus_base::Result;
use gradus_base::op::matmul::LowPrecision;

/// The best kernel of this processor for rows of `k`; `None` where f32 has to do.
fn choose(low: LowPrecision, k: usize) -> Option<&'static dyn Kernel> {
    product::low_kernels(low, k).find(|kernel| kernel.is_worth_it())
}

/// Whether this processor computes products in bf16, and faster than in f32: with AMX, and AMD's with
/// AVX512-BF16. Elsewhere what is asked for in bf16 is computed in f32.
///
/// ```
/// println!("bf16: {}", gradus_cpu::low::is_bf16_fast());
/// ```
pub fn is_bf16_fast() -> bool {
    has_kernel(LowPrecision::Bf16, 1)
}

/// Whether this processor has a kernel for inputs of `k` columns.
pub fn has_kernel(low: LowPrecision, k: usize) -> bool {
    choose(low, k).is_some()
}

/// What becomes of a layer's result.
#[derive(Clone, Copy, PartialEq)]
pub enum Gelu {
    /// Nothing.
    No,
    /// GELU of it.
    Yes,
    /// GELU of it; what it was before is kept, because a derivative needs it.
    Keep,
}

/// Layers side by side: `x [m, k]`, weights `[n, k]`, their biases `[n]` (or none) → `[m, Σn]`, and
/// what is to be kept: of one layer only.
///
/// # Panics
/// If there is no kernel: see [`has_kernel`].
pub fn linear_low(
    low: LowPrecision,
    x: View,
    weights: Vec<View>,
    biases: Vec<View>,
    gelu: Gelu,
) -> Result<(Array, Option<Array>)> {
    let kernel = choose(low, x.shape()[1]).expect("the caller asked for one");
    let biases = biases.into_iter().map(View::contiguous).collect::<Result<Vec<_>>>()?;
    let biases: Vec<View> = biases.iter().map(ViewOrCopy::view).collect();
    linear(kernel, x.contiguous()?.view(), &weights, &biases, gelu)
}

/// A·B with both rounded to bf16, for any strides: `[m, k] × [k, n] → [m, n]`.
///
/// # Panics
/// If there is no kernel: see [`has_kernel`].
pub fn matmul_bf16(a: View, b: View) -> Result<Array> {
    let k = a.shape()[1];
    product_bf16(choose(LowPrecision::Bf16, k).expect("the caller asked for one"), a, b)
}

/// [`matmul_bf16`] with a kernel of bf16.
pub(crate) fn product_bf16(kernel: &dyn Kernel, a: View, b: View) -> Result<Array> {
    let op = "matmul_bf16";
    let (m, k, n) = (a.shape()[0], a.shape()[1], b.shape()[1]);
    let mut out = Output::<f32>::new(op, &[m, n])?;
    if m * n > 0 {
        let rows = Rounded::new(op, kernel, a.mat(), (m, k))?;
        let packed = Packed::new(op, kernel, b.mat(), (k, n))?;
        let (left, right) = (Left::Rounded(&rows), Right::Packed(&packed));
        product::product(kernel, (m, k, n), left, right, out.slice_mut(), Epilogue::default())?;
    }
    Ok(out.into_array(&[m, n]))
}

/// Layers side by side: `x [m, k]` contiguous, weights `[n, k]`, their biases `[n]` contiguous (or
/// none) → `[m, Σn]`, and what is to be kept.
pub(crate) fn linear(
    kernel: &dyn Kernel,
    x: View,
    weights: &[View],
    biases: &[View],
    gelu: Gelu,
) -> Result<(Array, Option<Array>)> {
    let op = "linear_low";
    let (m, k) = (x.shape()[0], x.shape()[1]);
    let all: usize = weights.iter().map(|w| w.shape()[0]).sum();
    let mut out = Output::<f32>::new(op, &[m, all])?;
    assert!(gelu != Gelu::Keep || weights.len() == 1, "the result of one layer is kept");
    let mut before = (gelu == Gelu::Keep).then(|| Output::<f32>::new(op, &[m, all])).transpose()?;
    let finished = |out: Output<f32>, before: Option<Output<f32>>| {
        (out.into_array(&[m, all]), before.map(|before| before.into_array(&[m, all])))
    };
    if out.slice_mut().is_empty() {
        return Ok(finished(out, before));
    }
    let rows = Rounded::new(op, kernel, x.mat(), (m, k))?;
    let mut column = 0;
    for (i, w) in weights.iter().enumerate().filter(|(_, w)| w.shape()[0] > 0) {
        let n = w.shape()[0];
        let make = || Packed::new(op, kernel, w.mat().t(), (k, n));
        let kept = matmul::derived(*w, make)?;
        let made;
        let packed = match kept.as_deref().filter(|packed| packed.is_for(kernel, k, n)) {
            Some(kept) => kept,
            None => {
                made = make()?;
                &made
            }
        };
        let bias = biases.get(i).map(|b| b.slice::<f32>());
        let before = before.as_mut().map(|before| SharedMut::new(before.slice_mut()));
        let gelu = gelu != Gelu::No;
        let epilogue = Epilogue { bias, gelu, before, row: Some(all) };
        let (left, right) = (Left::Rounded(&rows), Right::Packed(packed));
        let c = &mut out.slice_mut()[column..];
        product::product(kernel, (m, k, n), left, right, c, epilogue)?;
        column += n;
    }
    Ok(finished(out, before))
}
