//! Tensors: storages on devices, and every operation on them.
//!
//! ```
//! # use gradus_tensor::Tensor;
//! let x = Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0], &[2, 2])?;
//! let y = (&x.t()? * 2.0)?;
//! assert_eq!(y.to_string(), "[[2. 6.]\n [4. 8.]]");
//! assert_eq!(y.sum(&[1], false)?.to_string(), "[ 8. 12.]"); // along the rows
//! # Ok::<(), gradus_tensor::Error>(())
//! ```
//!
//! This floor knows nothing of gradients. An operation family has one file name everywhere:
//! `base/src/op/matmul.rs` says what the operation is, `cpu/src/matmul.rs` is the processor's
//! kernel, `gpu/src/matmul.rs` the launch of the GPU's (`matmul.wgsl` in `gradus-shaders`), and
//! `src/ops/matmul.rs` holds the public methods with their shape rules.
//!
//! `base/` (`gradus-base`), `cpu/` (`gradus-cpu`) and `gpu/` (`gradus-gpu`) are crates of their own
//! below this one. Here each file uses only what is above it: `device`; `profile`; `storage`;
//! `tensor`; `ops`, `operators`; `data`; `io`, `display`.

mod data;
mod device;
mod display;
pub mod io;
mod operators;
pub mod ops;
pub mod profile;
mod storage;
mod tensor;

/// Shapes, strides and broadcasting: where each element of a view lies in its storage.
pub mod layout {
    pub use gradus_base::layout::{
        INFER, Layout, Positions, broadcast_shapes, checked_numel, resolve_dim, resolve_dims,
        row_major,
    };
}

/// Keys of random numbers.
pub mod random {
    pub use gradus_base::RngKey;
}

pub use data::Reading;
pub use device::Device;
pub use gradus_base::{DType, Element, Error, ErrorKind, Result, RngKey, bail, io_reason};
pub use gradus_cpu::low::is_bf16_fast;
pub use gradus_cpu::{MemoryUse, fma_loop, instruction_set, memory_use, read_loop};
pub use gradus_gpu::{GpuCounters, GpuFeatures, GpuInfo, GpuLimits, gpus, quiet_drivers};
pub use layout::INFER;
pub use ops::binary::Operand;
pub use ops::cross_entropy::{CrossEntropy, Reduction};
pub use ops::layer_norm::LayerNormOutput;
pub use ops::loss_scale::LossScale;
pub use ops::matmul::LowPrecision;
pub use ops::slice::Index;
pub use tensor::Tensor;
