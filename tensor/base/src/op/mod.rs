//! What the operations are: their names, variants and settings, without tensors.
//!
//! The public methods (`tensor/src/ops/`) and the kernels (`tensor/cpu/src/`, `tensor/gpu/src/`)
//! both stand on this: each family has the same file name in all four.

pub mod attention;
pub mod binary;
pub mod cross_entropy;
pub mod glu;
pub mod index;
pub mod layer_norm;
pub mod loss_scale;
pub mod matmul;
pub mod optim;
pub mod reduce;
pub mod rotary;
pub mod unary;
