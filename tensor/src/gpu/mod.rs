//! GPUs, through `wgpu`: one file an operation family, as in `gradus-cpu`, and what they share.
//!
//! | file | what |
//! | --- | --- |
//! | `info.rs` | what a GPU is and can do |
//! | `adapter.rs`, `device.rs` | which GPUs there are, opening one, what a program asks of it |
//! | `quiet.rs` | keeping drivers off standard error |
//! | `context.rs` | the recorder: one compute pass, kernels by key, bind groups by buffers, submits |
//! | `memory.rs` | buffers, recycled by size class |
//! | `staging.rs` | memory that both sides see: small uploads, reads |
//! | `gather.rs` | launches of one kernel on many tensors as few |
//! | `storage.rs` | a tensor's memory, how dtypes lie in buffers |
//! | `transfer.rs`, `kept.rs` | uploads and reads; conversions that are kept until values change |
//! | `walk.rs` | the arguments of elementwise kernels over strided views |
//! | `rows.rs` | the arguments of kernels along rows |
//! | `cooperative.rs` | which products go by cooperative matrices |
//! | `cache.rs`, `counters.rs` | compiled pipelines on disk; what the device did and holds |
//! | `copy.rs`, `unary.rs`, … | the families: launches of `shaders/src/NAME.wgsl` |
//!
//! # Adding a kernel family
//!
//! 1. **Text**: `shaders/src/NAME.wgsl`, opened by formula, shapes, what one workgroup does, order
//!    of reduction, numerics. Inputs are `var<storage, read>` at bindings 0.., outputs `read_write`
//!    after them, small arguments one `var<immediate>` struct of at most 128 bytes. `$T`, `#if`,
//!    `#for` are the template's (`shaders/src/template.rs`).
//! 2. **Variants**: `shaders/src/NAME.rs` with a function for each kernel that returns a `Shader`
//!    (text, entry point, numbers of inputs and outputs, needs), and `variants()`, added to the
//!    list in `shaders/src/lib.rs`: `cargo test -p gradus-shaders` then validates them with naga.
//! 3. **Launch**: `gpu/NAME.rs` here, with the functions of `tensor/cpu/src/NAME.rs` (same names, same
//!    arguments, tensors for views: `on_device!` in `ops/` calls either). Take memory with [`storage::output`], read
//!    operands with `Tensor::buffer` and `Tensor::start` (first element; strides are in
//!    `tensor.layout`), and record a [`context::Launch`] with `Gpu::launch`. Write in place only
//!    after `Tensor::make_writable`.
//! 4. **Check**: `tests/all/device_parity.rs` walks the registry and finds the family by itself, over
//!    short and long shapes, and `tests/device_limits.rs` over launches of many rows of workgroups;
//!    add what the registry's shapes do not reach (blocks, long rows) to a test in `tensor/tests/`.
//!
//! Rules that a kernel must keep:
//! - Bounds are not checked and loops are not bounded: the kernel checks every index and every
//!   loop, and divisors must not be 0.
//! - A launch may start more workgroups than asked for (`Gpu::grid` makes two dimensions of many):
//!   count them as `group.y * groups.x + group.x` and compare with the number in use.
//! - Workgroup memory is not zeroed.
//! - NaN and infinity: test bits (`is_nan` in `bits.wgsl`); make them with `quiet_nan()` and
//!   `infinity()` of `math.wgsl`. A comparison with NaN is not to be relied on.
//! - A buffer must not be bound as input and as output of one launch.
//! - Nothing of size 0 is launched.
//! - Nothing reads from the GPU: ids, targets and offsets that were uploaded have their CPU
//!   original (`to_device(Cpu)` of them is free).

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
