//! Tensors: dtypes, shapes, strides, storages, devices, and every kernel.
//!
//! This floor knows nothing of gradients. An operation family has one file name everywhere:
//! `op/matmul.rs` says what the operation is, `cpu/matmul.rs` is the processor's kernel,
//! `gpu/matmul.rs` the launch of the GPU's (`matmul.wgsl` in `gradus-shaders`), and `ops/matmul.rs`
//! holds the public methods with their shape rules.
//!
//! Each file uses only what is above it here: `error`, `dtype`, `sizes`, `layout`, `device`; `op`
//! and `random`; `profile`; the parts that kernels share; `storage`; `tensor`, `operands`; the
//! kernels of `cpu/` and `gpu/`; `ops`; `data`; `io`, `display`.

mod cpu;
mod data;
mod device;
mod display;
mod dtype;
mod error;
mod gpu;
pub mod io;
pub mod layout;
mod op;
mod operands;
mod operators;
pub mod ops;
pub mod profile;
pub mod random;
mod sizes;
mod storage;
mod tensor;

pub use cpu::buffer::{MemoryUse, memory_use};
pub use cpu::peak::fma_loop;
pub use device::Device;
pub use dtype::{DType, Element};
pub use error::{Error, Result};
pub use gpu::{GpuCounters, GpuFeatures, GpuInfo, GpuLimits, Reading, gpus, quiet_drivers};
pub use layout::INFER;
pub use ops::binary::Operand;
pub use ops::cross_entropy::{CrossEntropy, Reduction};
pub use ops::layer_norm::LayerNormOutput;
pub use ops::loss_scale::LossScale;
pub use ops::matmul::LowPrecision;
pub use ops::slice::Index;
pub use random::RngKey;
pub use tensor::Tensor;
