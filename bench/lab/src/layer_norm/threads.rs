//! threads: blocks of 64 rows, each with its own part of dw and db.
//!
//! Adds: rows of y and dx belong to one task each. All rows add to dw and db: so each block adds
//!   to a part of its own, and the parts are added at the end, in the order of the blocks.
//! Why: as many rows at a time as there are cores, and nobody waits for anybody. The blocks
//!   depend on the shape alone, so any number of threads gives the same bits.
//! Order: that of the step before; dw and db row by row in a block, then the blocks

use rayon::prelude::*;

use super::{Problem, Results, vectors};

const BLOCK: usize = 64;

pub fn both(p: &Problem, r: Results) {
    let n = p.n;
    let mut parts = vec![0.0; p.x.len().div_ceil(BLOCK * n) * 2 * n];
    let rows = r.y.par_chunks_mut(BLOCK * n).zip(r.dx.par_chunks_mut(BLOCK * n));
    let tasks = rows.zip(parts.par_chunks_mut(2 * n)).enumerate();
    tasks.for_each(|(block, ((y, dx), part))| {
        let (dw, db) = part.split_at_mut(n);
        vectors::rows(p, block * BLOCK, Results { y, dx, dw, db });
    });
    r.dw.fill(0.0);
    r.db.fill(0.0);
    for part in parts.chunks(2 * n) {
        for j in 0..n {
            r.dw[j] += part[j];
            r.db[j] += part[n + j];
        }
    }
}
