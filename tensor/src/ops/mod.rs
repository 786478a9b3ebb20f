//! The operations: shape rules and docs here, kernels in `cpu/` under the same file names.

pub mod binary;
pub mod cross_entropy;
pub mod layer_norm;
pub mod matmul;
pub mod reduce;
pub mod softmax;
pub mod unary;
pub mod view;
