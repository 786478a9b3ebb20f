//! Attention over packed sequences, forward and backward.
//!
//! Forward, per sequence and head, over blocks of query rows:
//!   S = Q·Kᵀ·scale;  L = ln Σeˢ;  P = e^(S − L);  O = dropout(P)·V
//! Backward (Dao et al., arXiv:2205.14135, recomputing P from L):
//!   dV = dropout(P)ᵀ·dO;  dP = dropout(dO·Vᵀ);  dS = P·(dP − Σ dP·P)·scale;
//!   dQ = dS·K;  dK = dSᵀ·Q
//!
//! Shapes: Q, K, V, O `[tokens, heads·d]`, any row stride; L `[heads, tokens]`; dQ, dK and dV in
//! one tensor, one after another or side by side.
//! A task is one sequence and one head: it alone writes its block of every output. It copies its
//! operands into small contiguous matrices (rows padded to whole vectors), and all products run on
//! one register-blocked kernel, `C += A·B` with B's rows in vectors ([`product`]).
//! Sums run over k in ascending order and are then added to C; softmax subtracts the row's maximum.

mod backward;
mod forward;
mod product;
mod task;

pub(crate) use backward::backward;
pub(crate) use forward::forward;

use crate::random::RngKey;

/// The random word of one attention probability: query token (in the batch), key token (in the
/// sequence), head.
#[inline(always)]
pub(crate) fn word(key: RngKey, head: usize, query: usize, k: usize) -> u32 {
    key.block([(k / 4) as u32, query as u32, head as u32, 1])[k % 4]
}
