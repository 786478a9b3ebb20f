//! Tensors from outside: values, views, files, both devices. One program, because linking the engine is
//! what takes time; the tests beside it look at state of the whole process.

mod attention;
mod cross_entropy;
mod custom;
mod gpu_edges;
mod gpu_half;
mod gpu_products;
mod gpu_rows;
mod io;
mod long_sums;
mod optim;
mod random;
mod rearrange;
mod reductions;
mod reference;
mod shaders;
mod sizes;
mod values;
