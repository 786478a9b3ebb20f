//! shipped: the softmax that `Tensor::softmax` launches.
//!
//! Adds: 64 or 256 threads, as long as the row is. No checks of indices. Its maximum and its
//!   exponential keep NaN and infinity, which WGSL's own need not.
//! Why: as the workgroup's step, without the checks' instructions.
//! Order: each thread's elements ascending, then the threads by a tree

use gradus_tensor::{Result, Tensor};

pub fn softmax(x: &Tensor) -> Result<Tensor> {
    x.softmax(-1)
}
