//! Tensors of given values: making them, copying, converting, moving and reading them. None of it
//! is an operation with a derivative; those are in `ops/`.

mod copy;
mod create;
mod random;
mod transfer;

pub use transfer::Reading;
