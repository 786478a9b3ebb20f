//! shipped: the kernels that `Tensor::attention` and `Tensor::attention_backward` launch.
//!
//! Adds: 16 × 16 threads for 32 queries: thread (y, x) computes the scores of queries y and y + 16
//!   with keys x and x + 16, and some columns of these rows of the result, instead of all of both.
//!   Packed sequences, dropout, windows, biases; f16. No checks of indices.
//! Why: a thread that keeps whole rows of 64 numbers has no registers left, and 64 threads for 64
//!   queries leave most of a GPU idle; 8 times as many threads for each query keep an eighth each.
//!   Four scores for a thread use every number from workgroup memory twice.
//! Order: ascending over d and over keys, blocks of 32 keys; sums over a row in 16 lanes, ascending

use gradus_tensor::{Result, Tensor};

use super::{Attention, shipped};

pub fn both(a: &Attention) -> Result<Vec<Tensor>> {
    shipped::both(a)
}
