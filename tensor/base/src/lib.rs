//! What kernels and devices stand on: errors, element types, shapes, and what operations are.
//!
//! No tensor is known here, and no device. The CPU's kernels (`gradus-cpu`) and the tensors above
//! them (`gradus-tensor`) use these names; users find those that are theirs in `gradus-tensor`.
//!
//! Each file uses only what is above it here: `error`, `dtype`, `sizes`, `layout`, `random`, `op`.

pub mod dtype;
pub mod error;
pub mod layout;
pub mod op;
pub mod random;
pub mod sizes;

pub use dtype::{DType, Element};
pub use error::{Error, Result};
pub use layout::Layout;
pub use random::RngKey;

#[doc(hidden)]
pub use half;
