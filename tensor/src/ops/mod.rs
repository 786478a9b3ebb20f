//! The operations: shape rules and docs here, kernels in `cpu/` under the same file names.

pub mod binary;
pub mod concat;
pub mod dropout;
pub mod index;
pub mod matmul;
pub mod sort;
pub mod unary;
pub mod view;
