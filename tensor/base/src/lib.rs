//! The base of kernels and devices: errors, element types, shapes, and what operations are.
//!
//! This crate knows no tensors and no devices. The CPU's kernels (`gradus-cpu`) and the tensors
//! above them (`gradus-tensor`) use these names; users find the public ones in `gradus-tensor`.
//!
//! Each file uses only what is above it here: `error`, `dtype`, `sizes`, `layout`, `random`, `op`.

pub mod dtype;
pub mod error;
pub mod layout;
pub mod op;
pub mod random;
pub mod sizes;

pub use dtype::{DType, Element};
pub use error::{Error, ErrorKind, Result, io_reason};
pub use layout::Layout;
pub use random::RngKey;

#[doc(hidden)]
pub use half;
