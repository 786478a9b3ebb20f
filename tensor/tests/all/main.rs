//! Tests of the public interface of tensors: values, views, files, both devices. They are one
//! program, because linking the engine takes most of the time. The other programs in this folder
//! read state of the whole process.

mod attention;
mod cross_entropy;
mod custom;
mod error_kinds;
mod feed_forward;
mod gpu_edges;
mod gpu_half;
mod gpu_products;
mod gpu_rows;
mod io;
mod long_sums;
mod optim;
mod products;
mod random;
mod rearrange;
mod reductions;
mod reference;
mod shader;
mod shaders;
mod sizes;
mod values;
