//! threads: blocks of 64 rows, each with its own part of dw and db.
//!
//! Adds: rows of y and dx belong to one task each. All rows add to dw and db: so each block adds
//!   to a part of its own, and the parts are added at the end, in the order of the blocks.
//! Why: as many rows at a time as there are cores, and nobody waits for anybody. The blocks
//!   depend on the shape alone, so any number of threads gives the same bits.
//! Order: that of the step before; dw and db row by row in a block, then the blocks

use rayon::prelude::*;

use super::{Gradients, Problem, vectors};

const BLOCK: usize = 64;

pub fn both(p: &Problem, y: &mut [f32], grads: Gradients) {
    let n = p.n;
    let mut parts = vec![0.0; p.x.len().div_ceil(BLOCK * n) * 2 * n];
    let rows = y.par_chunks_mut(BLOCK * n).zip(grads.dx.par_chunks_mut(BLOCK * n));
    let tasks = rows.zip(parts.par_chunks_mut(2 * n)).enumerate();
    tasks.for_each(|(block, ((y, dx), part))| {
        let (dw, db) = part.split_at_mut(n);
        vectors::rows(p, block * BLOCK, y, Gradients { dx, dw, db });
    });
    grads.dw.fill(0.0);
    grads.db.fill(0.0);
    for part in parts.chunks(2 * n) {
        for j in 0..n {
            grads.dw[j] += part[j];
            grads.db[j] += part[n + j];
        }
    }
}
