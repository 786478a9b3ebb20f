//! The processor's kernels, one file an operation family.

pub(crate) mod attention;
pub(crate) mod binary;
pub mod buffer;
pub(crate) mod math;
pub(crate) mod matmul;
pub(crate) mod optim;
pub(crate) mod parallel;
pub(crate) mod simd;
pub(crate) mod strided;
pub(crate) mod unary;
