//! shipped: the softmax that `Tensor::softmax` computes.
//!
//! Adds: the exponentials are summed while they are written. f64 by the same text, for checks of
//!   gradients; tasks as large as they must be to be worth a thread.
//! Why: one pass over y less than in the vector step.
//! Order: element i to lane i mod 16, each ascending, then the lanes pairwise

use gradus_tensor::{Result, Tensor};

pub fn softmax(x: &Tensor) -> Result<Tensor> {
    x.softmax(-1)
}
