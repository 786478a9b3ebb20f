//! The operations: shape rules and docs here, kernels in `gradus-cpu` and launches in `gradus-gpu`
//! under the same file names.

pub mod attention;
pub mod binary;
pub mod concat;
pub mod cross_entropy;
pub mod custom;
mod dispatch;
pub mod dropout;
pub mod glu;
mod half;
pub mod index;
mod kernels;
pub mod layer_norm;
pub mod loss_scale;
pub mod mask;
pub mod matmul;
pub mod optim;
pub mod reduce;
pub mod rotary;
pub mod shader;
pub mod slice;
pub mod softmax;
pub mod sort;
pub mod unary;
pub mod view;
mod work;

pub(crate) use dispatch::{begin, begin_counted, common, end, must_match, on_device};
