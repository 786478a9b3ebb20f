//! shipped: the product that `Tensor::matmul` computes.
//!
//! Adds: a tile of C is written straight from the registers. A weight that does not change stays
//!   packed. With few rows the panels are packed on the way, and threads split columns.
//! Why: what the steps before do, tuned: a team of threads that need not be woken, memory that is
//!   used again, panels transposed 16×16 in registers, prefetches only where they pay.
//! Order: blocks of up to 384, each k ascending and fused, then the blocks ascending

use gradus_tensor::{Result, Tensor};

pub fn product(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    a.matmul(b)
}
