//! The launches of the kernels on GPUs, through `wgpu`: one file an operation family, as in
//! `gradus-cpu`, and shared files.
//!
//! A launch knows no tensor. It reads [`View`]s (a storage, an element type, a layout) and returns
//! an [`Array`] (a storage, which others may share, and a layout). Shapes and dtypes were checked
//! by the caller, `ops/NAME.rs` in `gradus-tensor`.
//!
//! ```
//! use gradus_base::op::unary::UnaryOp;
//! use gradus_gpu::{gpu, gpus, transfer, unary};
//!
//! # fn main() -> gradus_base::Result<()> {
//! let Some(info) = gpus().into_iter().next() else { return Ok(()) }; // no GPU here
//! let x = transfer::upload("example", gpu("example", info.index)?, &[1f32, -2.0], &[2])?;
//! let y = unary::forward(x.view(), UnaryOp::Neg)?;
//! let mut values = [0f32; 2];
//! transfer::start_reading("example", y.view())?.wait_into(&mut values)?;
//! assert_eq!(values, [-1.0, 2.0]);
//! # Ok(())
//! # }
//! ```
//!
//! Each file uses only what is above it here:
//!
//! | file | contents |
//! | --- | --- |
//! | `sync.rs`, `quiet.rs` | locks; keeping drivers off standard error |
//! | `info.rs`, `counters.rs`, `profile.rs` | what a GPU is, what it did, which kernels ran |
//! | `cooperative.rs` | the choice of products for cooperative matrices |
//! | `cache.rs`, `driver.rs` | compiled pipelines on disk; an opened device as `wgpu` has it |
//! | `memory.rs` | buffers, recycled by size class |
//! | `staging.rs`, `timing.rs` | memory that both sides see: small uploads, reads; times of kernels |
//! | `pipelines.rs` | kernels by key, bind groups by buffers |
//! | `gather.rs` | launches of one kernel on many tensors, merged into few |
//! | `recorder.rs` | the commands that are not yet submitted: one pass |
//! | `context.rs` | an opened GPU |
//! | `allocate.rs`, `adapter.rs` | buffers from the pool; the list of GPUs, opening one |
//! | `storage.rs`, `view.rs` | the memory of arrays, views of it |
//! | `walk.rs` | the arguments of elementwise kernels over strided views |
//! | `drops.rs`, `rows.rs` | the arguments of dropout, of kernels along rows |
//! | `copy.rs`, `transfer.rs` | copies, conversions; uploads and reads |
//! | `unary.rs`, `binary.rs`, … | the families: launches of `shaders/src/NAME.wgsl` |
//! | `kept.rs` | conversions that are kept until values change |
//! | `product.rs` | one product: the choice of its kernel, and the launch |
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
//! 3. **Launch**: `NAME.rs` here, with the functions of `tensor/cpu/src/NAME.rs` (same names, same
//!    arguments, over views of this crate), because `on_device!` in `tensor/src/ops/` calls either.
//!    Take memory with `Array::new`, read operands with `View::buffer` and `View::start` (the first
//!    element; strides are in the layout), and record a [`context::Launch`] with `Gpu::launch`. A
//!    launch that writes in place takes a [`ViewMut`].
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

// Headers name the private parts that a launch is made of.
#![allow(rustdoc::private_intra_doc_links)]

mod quiet;
mod sync;

mod cooperative;
mod counters;
mod info;
pub mod profile;

mod cache;
mod driver;
mod memory;
mod staging;
mod timing;

mod context;
mod gather;
mod pipelines;
mod recorder;

mod adapter;
mod allocate;

mod drops;
mod rows;
mod storage;
mod view;
mod walk;

pub mod copy;
pub mod transfer;

pub mod attention;
pub mod binary;
pub mod concat;
pub mod cross_entropy;
pub mod custom;
pub mod dropout;
pub mod glu;
pub mod index;
pub mod kept;
pub mod layer_norm;
pub mod loss_scale;
pub mod matmul;
pub mod optim;
mod product;
pub mod reduce;
pub mod rotary;
pub mod shader;
pub mod softmax;
pub mod sort;
pub mod unary;

pub use adapter::{gpu, gpu_within, gpus};
pub use context::Gpu;
pub use counters::GpuCounters;
pub use custom::CustomShader;
pub use gradus_shaders::source as shader_source;
pub use info::{GpuFeatures, GpuInfo, GpuLimits};
pub use quiet::quiet_drivers;
pub use shader::UserShader;
pub use storage::GpuStorage;
pub use transfer::Reading;
pub use view::{Array, View, ViewMut};
