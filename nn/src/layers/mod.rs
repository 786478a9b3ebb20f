//! Layers. Each takes its parameters from a [`Path`](crate::Path) and runs with `&self`; an error
//! inside names the path.

pub(crate) mod activation;
pub(crate) mod attention;
pub(crate) mod cache;
pub(crate) mod dropout;
pub(crate) mod embedding;
pub(crate) mod encoder;
pub(crate) mod feed_forward;
pub(crate) mod gated;
pub(crate) mod layer_norm;
pub(crate) mod linear;
pub(crate) mod low_rank;
pub(crate) mod names;
pub(crate) mod pre_norm;
pub(crate) mod rms_norm;
pub(crate) mod rotary;
pub(crate) mod sequences;
