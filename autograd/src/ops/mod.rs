//! The backward rules, one file an operation family (the names are those of `gradus_tensor::ops`).
//!
//! A rule is written in `Var` operations, so that it can be differentiated again. Where a fused
//! kernel computes the first derivative faster, the rule uses it unless it is itself being recorded
//! ([`Context::create_graph`](crate::Context::create_graph)).

pub mod attention;
pub mod binary;
pub mod concat;
pub mod cross_entropy;
pub mod derived;
pub mod dropout;
pub mod glu;
pub mod index;
pub mod layer_norm;
pub mod matmul;
pub mod reduce;
pub mod rotary;
pub mod softmax;
pub mod sort;
pub mod unary;
pub mod view;
