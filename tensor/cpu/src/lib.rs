//! The processor's kernels, one file an operation family.
//!
//! A kernel knows no tensor and no device. It reads [`View`]s (a storage, an element type, a layout)
//! and returns an [`Array`] (a storage of its own, in row-major order). Shapes and dtypes were checked
//! by the caller, `ops/NAME.rs` in `gradus-tensor`; a kernel that gets others panics.
//!
//! Element types are chosen inside this crate, so that its generic code is compiled here and nowhere
//! else: a public function is never generic over code that must be fast.
//!
//! Each file uses only what is above it here: `simd`, `parallel`, `math` and their like; `buffer`,
//! `storage`; `strided`, `view`; the families.

// A kernel's header names the private parts that it is made of, and has formulas, whose indices look like
// links.
#![allow(rustdoc::private_intra_doc_links, rustdoc::broken_intra_doc_links)]

mod math;
mod parallel;
mod peak;
mod simd;
mod team;

mod buffer;
mod mat;
mod storage;
mod strided;
mod view;

pub mod attention;
pub mod binary;
pub mod concat;
pub mod copy;
pub mod create;
pub mod cross_entropy;
pub mod custom;
pub mod dropout;
pub mod glu;
pub mod index;
pub mod layer_norm;
pub mod loss_scale;
pub mod low;
pub mod matmul;
pub mod optim;
mod product;
pub mod random;
pub mod reduce;
pub mod rotary;
pub mod softmax;
pub mod sort;
mod sources;
pub mod unary;

pub use buffer::{MemoryUse, memory_use};
pub use custom::CustomKernel;
pub use math::Float;
pub use peak::{fma_loop, instruction_set, read_loop};
pub use product::prefetch;
pub use simd::widest;
pub use sources::sources;
pub use storage::{CpuStorage, Output};
pub use strided::TypedView;
pub use view::{Array, View, ViewMut, ViewOrCopy};
