//! GPUs, through `wgpu`: one file for each operation family, as in `gradus-cpu`, and shared files.
//!
//! | file | contents |
//! | --- | --- |
//! | `info.rs` | the name, driver, features and limits of a GPU |
//! | `adapter.rs`, `device.rs` | the list of GPUs, opening one, the public methods of `Device` |
//! | `quiet.rs` | keeping drivers off standard error |
//! | `context.rs` | the recorder: one pass, kernels by key, bind groups by buffers, submits |
//! | `memory.rs` | buffers, recycled by size class |
//! | `staging.rs` | memory that both sides see: small uploads, reads |
//! | `gather.rs` | launches of one kernel on many tensors, merged into few |
//! | `storage.rs` | a tensor's memory, the form of each dtype in buffers |
//! | `transfer.rs`, `kept.rs` | uploads and reads; conversions that are kept until values change |
//! | `walk.rs` | the arguments of elementwise kernels over strided views |
//! | `rows.rs` | the arguments of kernels along rows |
//! | `cooperative.rs` | the choice of products for cooperative matrices |
//! | `cache.rs`, `counters.rs` | compiled pipelines on disk; counts of launches, buffers, bytes |
//! | `copy.rs`, `unary.rs`, … | the families: launches of `shaders/src/NAME.wgsl` |
//!
//! # Adding a kernel family
//!
//! 1. **Text**: `shaders/src/NAME.wgsl`. It opens with the formula, the shapes, the work of one
//!    workgroup, the order of reduction and the numerics. Inputs are `var<storage, read>` at
//!    bindings 0.., outputs `read_write` after them, small arguments one `var<immediate>` struct of
//!    at most 128 bytes. `$T`, `#if` and `#for` belong to the template language
//!    (`shaders/src/template.rs`).
//! 2. **Variants**: `shaders/src/NAME.rs`, with a function for each kernel that returns a `Shader`
//!    (text, entry point, numbers of inputs and outputs, needs), and `variants()`. Add it to the
//!    list in `shaders/src/lib.rs`; `cargo test -p gradus-shaders` then validates it with naga.
//! 3. **Launch**: `gpu/NAME.rs` here, with the functions of `tensor/cpu/src/NAME.rs` (same names,
//!    same arguments, but tensors in place of views), because `on_device!` in `ops/` calls either.
//!    Take memory with [`storage::output`], read operands with `Tensor::buffer` and
//!    `Tensor::start` (first element; strides are in `tensor.layout`), and record a
//!    [`context::Launch`] with `Gpu::launch`. Write in place only after `Tensor::make_writable`.
//! 4. **Check**: `tests/all/device_parity.rs` walks the registry and so finds the family, over
//!    short and long shapes; `tests/device_limits.rs` does it over launches of many rows of
//!    workgroups. For cases that the registry's shapes do not reach (blocks, long rows) add a test
//!    in `tensor/tests/`.
//!
//! Rules for kernels:
//! - Nothing checks bounds or loops for the kernel: it must check every index, end every loop, and
//!   never divide by 0.
//! - A launch may start more workgroups than asked for, because `Gpu::grid` splits a large number
//!   into two dimensions. Count them as `group.y * groups.x + group.x` and compare with the number
//!   in use.
//! - Workgroup memory is not zeroed.
//! - NaN and infinity: test bits (`is_nan` in `bits.wgsl`); make them with `quiet_nan()` and
//!   `infinity()` of `math.wgsl`. Do not rely on a comparison with NaN.
//! - A buffer must not be both an input and an output of one launch.
//! - Never launch for size 0.
//! - Do not read from the GPU. Uploaded ids, targets and offsets keep their CPU original, so
//!   `to_device(Cpu)` of them is free.

mod adapter;
pub(crate) mod attention;
pub(crate) mod binary;
mod cache;
pub(crate) mod concat;
pub(crate) mod context;
mod cooperative;
pub(crate) mod copy;
mod counters;
pub(crate) mod cross_entropy;
pub(crate) mod custom;
mod device;
pub(crate) mod dropout;
mod gather;
pub(crate) mod index;
mod info;
pub(crate) mod kept;
pub(crate) mod layer_norm;
pub(crate) mod loss_scale;
pub(crate) mod matmul;
pub(crate) mod memory;
pub(crate) mod optim;
mod quiet;
pub(crate) mod reduce;
mod rows;
pub(crate) mod softmax;
pub(crate) mod sort;
mod staging;
pub(crate) mod storage;
mod sync;
mod timing;
pub(crate) mod transfer;
pub(crate) mod unary;
pub(crate) mod walk;

pub(crate) use adapter::gpu;
pub use adapter::gpus;
pub use counters::GpuCounters;
pub use info::{GpuFeatures, GpuInfo, GpuLimits};
pub use quiet::quiet_drivers;
pub use transfer::Reading;
