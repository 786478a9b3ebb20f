//! What the operations are: their names, variants and settings, without tensors.
//!
//! The public methods (`ops/`) and the kernels (`cpu/`, `gpu/`) both stand on this: each family has
//! the same file name in all four. `ops/NAME.rs` exports what is public here.

pub(crate) mod attention;
pub(crate) mod binary;
pub(crate) mod cross_entropy;
pub(crate) mod loss_scale;
pub(crate) mod matmul;
pub(crate) mod optim;
pub(crate) mod reduce;
pub(crate) mod unary;
