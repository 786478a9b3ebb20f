//! Attention over packed sequences, forward and backward.
//!
//! Forward, per sequence and head, over blocks of query rows:
//!   S = Q·Kᵀ·scale + B;  L = ln Σeˢ;  P = e^(S − L);  O = dropout(P)·V
//! Backward (Dao et al., arXiv:2205.14135, recomputing P from L):
//!   dV = dropout(P)ᵀ·dO;  dP = dropout(dO·Vᵀ);  dS = P·(dP − Σ dP·P);
//!   dQ = dS·K·scale;  dK = dSᵀ·Q·scale;  dB: the sums of dS over pairs of one distance
//! P is 0 where the query does not see the key. A block works on the keys that its queries see, so
//! with a window the work grows with the window.
//!
//! Shapes: Q, K, V, O `[tokens, heads·d]`, any row stride; L `[heads, tokens]`; dQ, dK and dV in
//! one tensor, one after another or side by side; B `[heads, 2·m + 1]` by distance ([`bias`]).
//! A task is one sequence and one head: it alone writes its block of every output. It copies its
//! operands into small contiguous matrices (rows padded to whole vectors), and all products run on
//! one register-blocked kernel, `C += A·B` with B's rows in vectors ([`product`]); the forward pass may
//! round the operands of its two products to bf16 ([`operands`]).
//! Sums run over k in ascending order and are then added to C; softmax subtracts the row's maximum.
//! dB adds the pairs of a distance by ascending query, then the distances beyond m, then sequences.

mod backward;
mod bias;
mod forward;
mod operands;
mod product;
mod task;

use gradus_base::random::drop_threshold;
use gradus_base::{Result, RngKey};

use super::storage::Output;
use super::view::Array;
pub use backward::backward;
pub use forward::forward;

/// The mask of the dropout of one sequence that begins at token `start` of the batch:
/// `[heads, length, length]`, 1 where the probability is kept (u8).
pub fn dropout_mask(
    op: &'static str,
    start: usize,
    [heads, length]: [usize; 2],
    p: f64,
    key: RngKey,
) -> Result<Array> {
    let shape = [heads, length, length];
    let mut mask = Output::<u8>::new(op, &shape)?;
    let least = drop_threshold(p);
    for (i, mask) in mask.slice_mut().iter_mut().enumerate() {
        let (row, k) = (i / length, i % length);
        *mask = (word(key, row / length, start + row % length, k) as u64 >= least) as u8;
    }
    Ok(mask.into_array(&shape))
}

/// The random word of one attention probability: query token (in the batch), key token (in the
/// sequence), head.
#[inline(always)]
fn word(key: RngKey, head: usize, query: usize, k: usize) -> u32 {
    key.block([(k / 4) as u32, query as u32, head as u32, 1])[k % 4]
}
