//! shipped: `Tensor::layer_norm` and `Tensor::layer_norm_backward`.
//!
//! Adds: a mean that is exact for a row of equal numbers, and right for one far from 0: the first
//!   number, plus the mean distance from it. A residual and dropout, where asked for, in the same
//!   pass.
//! Why: the passes are those of the step before; the care for the mean costs a few operations,
//!   which memory hides.
//! Order: element i to lane i mod 16, then the lanes pairwise; dw and db row by row in a block,
//!   then the blocks

use gradus_tensor::{Result, Tensor};

use super::{EPS, Problem};

pub fn both(p: &Problem) -> Result<Vec<Tensor>> {
    let [x, w, b, g] = &p.tensors;
    let forward = x.layer_norm(w, Some(b), EPS)?;
    let (dx, dw, db) = x.layer_norm_backward(w, &forward.mean, &forward.rstd, g, None)?;
    Ok(vec![forward.output, dx, dw, db])
}
