//! How much an operation has to do, for the profile: FLOPs of products and attention, bytes of
//! operands and results.

use gradus_base::DType;
use gradus_base::op::layer_norm::LayerNormOutput;

use crate::profile::{Call, Work};
use crate::tensor::Tensor;

/// The work of a call as far as its operands say.
pub(super) fn of(op: &str, operands: &[&Tensor]) -> Work {
    let read = &operands[is_lookup(op) as usize..];
    Work {
        flops: flops(op, operands),
        bytes: read.iter().map(|t| size(t)).fold(0, u64::saturating_add),
        shapes: operands.iter().map(|t| t.shape().to_vec()).collect(),
        dtype: dtype(operands),
    }
}

/// The element type in which a call computes.
fn dtype(operands: &[&Tensor]) -> DType {
    let mut dtypes = operands.iter().map(|t| t.dtype());
    let first = dtypes.next().unwrap_or(DType::F32);
    if first.is_float() { first } else { dtypes.find(|d| d.is_float()).unwrap_or(first) }
}

/// Adds to a call's work what its results say.
pub(super) fn add_outputs(call: &mut Call, outputs: &impl Outputs) {
    let times = 1 + is_lookup(call.op) as u64;
    outputs.each(&mut |t| call.bytes = call.bytes.saturating_add(times.saturating_mul(size(t))));
    if is_product(call.op) {
        // So far twice the length of the sums.
        let mut results = 0;
        outputs.each(&mut |t| results = results.max(t.numel() as u64));
        call.flops = call.flops.saturating_mul(results);
    }
}

fn size(t: &Tensor) -> u64 {
    (t.numel() * t.dtype().size()) as u64
}

/// Whether `op` reads from its first operand only as much as it returns.
fn is_lookup(op: &str) -> bool {
    matches!(op, "embedding" | "index_select" | "gather")
}

/// Whether an operation is a matrix product.
fn is_product(op: &str) -> bool {
    matches!(
        op,
        "matmul"
            | "linear"
            | "linear_gelu"
            | "linear_cat"
            | "linear_low"
            | "matmul_bf16"
            | "linear_parameters_backward"
    )
}

/// For a product twice the length of its sums; [`add_outputs`] multiplies it by the number of
/// results. Attention counts its own.
fn flops(op: &str, operands: &[&Tensor]) -> u64 {
    let shape = |i: usize| operands.get(i).map_or(&[][..], |t| t.shape());
    match op {
        "linear_parameters_backward" => 2 * shape(0).first().copied().unwrap_or(0) as u64,
        _ if is_product(op) => 2 * shape(0).last().copied().unwrap_or(0) as u64,
        _ => 0,
    }
}

/// What operations return.
pub(crate) trait Outputs {
    /// Calls `f` for each tensor.
    fn each(&self, f: &mut dyn FnMut(&Tensor));
}

impl Outputs for () {
    fn each(&self, _f: &mut dyn FnMut(&Tensor)) {}
}

impl Outputs for Tensor {
    fn each(&self, f: &mut dyn FnMut(&Tensor)) {
        f(self);
    }
}

impl<T: Outputs> Outputs for Option<T> {
    fn each(&self, f: &mut dyn FnMut(&Tensor)) {
        self.iter().for_each(|output| output.each(f));
    }
}

impl<T: Outputs, U: Outputs> Outputs for (T, U) {
    fn each(&self, f: &mut dyn FnMut(&Tensor)) {
        self.0.each(f);
        self.1.each(f);
    }
}

impl<T: Outputs, U: Outputs, V: Outputs> Outputs for (T, U, V) {
    fn each(&self, f: &mut dyn FnMut(&Tensor)) {
        self.0.each(f);
        self.1.each(f);
        self.2.each(f);
    }
}

impl<T: Outputs, U: Outputs, V: Outputs, W: Outputs> Outputs for (T, U, V, W) {
    fn each(&self, f: &mut dyn FnMut(&Tensor)) {
        self.0.each(f);
        self.1.each(f);
        self.2.each(f);
        self.3.each(f);
    }
}

impl Outputs for LayerNormOutput<Tensor> {
    fn each(&self, f: &mut dyn FnMut(&Tensor)) {
        [&self.output, &self.mean, &self.rstd].into_iter().chain(&self.sum).for_each(f);
    }
}
