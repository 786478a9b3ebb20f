//! The WGSL kernels of Gradus, one file an operation family, embedded as text.
//!
//! The floor is in place and still empty: the CPU's kernels (`gradus-tensor`, `src/cpu/`) are the
//! reference that every shader will be checked against. A shader joins as `src/NAME.wgsl` and an
//! entry of [`SOURCES`], under the name that its family has on every floor (`softmax.wgsl` beside
//! `tensor/src/ops/softmax.rs`).

/// Every shader: name of the operation family, WGSL text.
pub const SOURCES: &[(&str, &str)] = &[];
