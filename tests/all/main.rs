//! Tests across floors: every operation against finite differences, PyTorch's numbers, its composed
//! form and the other device.

#[path = "../common/mod.rs"]
mod common;
mod derived_ops;
mod device_parity;
mod golden;
mod golden_edges;
mod golden_ops;
mod gradients;
mod random_graphs;
