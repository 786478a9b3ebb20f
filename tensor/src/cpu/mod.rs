//! The processor's kernels, one file an operation family.

pub(crate) mod attention;
pub(crate) mod binary;
pub mod buffer;
pub(crate) mod concat;
pub(crate) mod cross_entropy;
pub(crate) mod dropout;
pub(crate) mod index;
pub(crate) mod layer_norm;
pub(crate) mod loss_scale;
pub(crate) mod low;
pub(crate) mod mat;
pub(crate) mod math;
pub(crate) mod matmul;
pub(crate) mod optim;
pub(crate) mod parallel;
pub mod peak;
pub(crate) mod product;
pub(crate) mod random;
pub(crate) mod reduce;
pub(crate) mod simd;
pub(crate) mod softmax;
pub(crate) mod sort;
pub(crate) mod strided;
pub(crate) mod team;
pub(crate) mod unary;
