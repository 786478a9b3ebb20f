//! shipped: `Tensor::attention` and `Tensor::attention_backward`.
//!
//! Adds: blocks of 48 queries, whose products run in tiles of registers as in `lab matmul`;
//!   packed sequences, dropout, windows, biases. A head of the lab is a sequence of its own with
//!   one head.
//! Why: a block of queries reads K and V once for 48 rows, and the sums of a tile stay in
//!   registers.
//! Order: k ascending and fused; rows of scores in 16 lanes

use gradus_tensor::{Result, Tensor};

use super::Attention;

pub fn both(a: &Attention) -> Result<Vec<Tensor>> {
    let ([q, k, v, g], offsets, options) = (&a.tensors, &a.offsets, &a.options);
    let (out, logarithms) = q.attention(k, v, None, offsets, options)?;
    let grads = q.attention_backward([k, v], None, offsets, [&logarithms, g], options)?;
    Ok(vec![out, grads.query, grads.key, grads.value])
}
