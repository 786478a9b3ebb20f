//! shipped: the kernels that `Tensor::layer_norm` and `Tensor::layer_norm_backward` launch.
//!
//! Adds: 64 or 256 threads, as long as the row is; blocks of 8 rows; totals in four lanes a column.
//!   The mean is the first number plus the mean distance from it, as on the processor. No checks of
//!   indices.
//! Why: as the step before, without the checks' instructions; the totals wait for a quarter of the
//!   blocks.
//! Order: each thread's elements ascending, then the threads by a tree; dw and db row by row in a
//!   block, block i to lane i mod 4, then the lanes pairwise

use gradus_tensor::{Result, Tensor};

use super::{Problem, shipped};

pub fn both(p: &Problem) -> Result<Vec<Tensor>> {
    shipped::both(p)
}
