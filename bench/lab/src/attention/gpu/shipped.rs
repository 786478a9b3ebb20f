//! shipped: the kernels that `Tensor::attention` and `Tensor::attention_backward` launch.
//!
//! Adds: 16 × 16 threads for 16 queries: thread (y, x) computes the score of query y and key x, and
//!   some columns of row y of the result, instead of all of both. Packed sequences, dropout,
//!   windows, biases; f16. No checks of indices.
//! Why: a thread that keeps whole rows of 64 numbers has no registers left, and 64 threads for 64
//!   queries leave most of a GPU idle; 16 times as many threads keep a sixteenth each.
//! Order: ascending over d and over keys, blocks of 16 keys; sums over a row in 16 lanes, ascending

use gradus_tensor::{Result, Tensor};

use super::{Attention, shipped};

pub fn both(a: &Attention) -> Result<Vec<Tensor>> {
    shipped::both(a)
}
