//! The operations: shape rules and docs here, kernels in `cpu/` under the same file names.

pub mod attention;
pub mod binary;
pub mod matmul;
pub mod optim;
pub mod unary;
pub mod view;
