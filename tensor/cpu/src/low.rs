//! The linear layer of inference with operands of 8 or 16 bits: y ≈ x·Wᵀ + b, on request with GELU.
//!
//! Shapes: x `[m, k]`, W `[n, k]`, b `[n]`, y `[m, n]`.
//!
//! [`product`] does it, with the best kernel that the processor has. Sums of integers are exact in
//! i32: all processors that round x in one way, and any split, give the same result. bf16 adds in
//! f32, in an order for each instruction set; a processor without AVX512-BF16 or AMX has no kernel
//! for it: the caller takes f32.
//!
//! The rounded weight is made once and kept. It takes a half or a quarter of the memory of f32, so
//! few rows wait less for it.

use super::matmul;
use super::product::{self, Epilogue, Kernel, Left, Packed, Right, Rounded};
use super::storage::Output;
use super::view::{Array, View, ViewOrCopy};
use gradus_base::Result;
use gradus_base::op::matmul::LowPrecision;

/// The best kernel of this processor for rows of `k`; `None` where f32 has to do.
fn choose(low: LowPrecision, k: usize) -> Option<&'static dyn Kernel> {
    product::low_kernels(low, k).next()
}

/// Whether this processor has a kernel for inputs of `k` columns.
pub fn has_kernel(low: LowPrecision, k: usize) -> bool {
    choose(low, k).is_some()
}

/// Layers side by side: `x [m, k]`, weights `[n, k]`, their biases `[n]` (or none) → `[m, Σn]`; with `gelu`,
/// GELU of it.
///
/// # Panics
/// If there is no kernel: see [`has_kernel`].
pub fn linear_low(
    low: LowPrecision,
    x: View,
    weights: Vec<View>,
    biases: Vec<View>,
    gelu: bool,
) -> Result<Array> {
    let kernel = choose(low, x.shape()[1]).expect("the caller asked for one");
    let biases = biases.into_iter().map(View::contiguous).collect::<Result<Vec<_>>>()?;
    let biases: Vec<View> = biases.iter().map(ViewOrCopy::view).collect();
    linear(kernel, x.contiguous()?.view(), &weights, &biases, gelu)
}

/// Layers side by side: `x [m, k]` contiguous, weights `[n, k]`, their biases `[n]` contiguous (or
/// none) → `[m, Σn]`; with `gelu`, GELU of it.
pub(crate) fn linear(
    kernel: &dyn Kernel,
    x: View,
    weights: &[View],
    biases: &[View],
    gelu: bool,
) -> Result<Array> {
    let op = "linear_low";
    let (m, k) = (x.shape()[0], x.shape()[1]);
    let all: usize = weights.iter().map(|w| w.shape()[0]).sum();
    let mut out = Output::<f32>::new(op, &[m, all])?;
    if out.slice_mut().is_empty() {
        return Ok(out.into_array(&[m, all]));
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
        let epilogue = Epilogue { bias, gelu, row: Some(all), ..Epilogue::default() };
        let (left, right) = (Left::Rounded(&rows), Right::Packed(packed));
        let c = &mut out.slice_mut()[column..];
        product::product(kernel, (m, k, n), left, right, c, epilogue)?;
        column += n;
    }
    Ok(out.into_array(&[m, all]))
}
