//! threads: blocks of rows of C, each on whichever thread is free.
//!
//! Adds: all threads read the same panels, and each block of 96 rows is one thread's alone.
//!   Packing is shared too, panel by panel: one thread's work that the others wait for would soon
//!   be what is left.
//! Why: as many multiply-adds at a time as there are cores. The blocks depend on the shape alone,
//!   and every sum is made by one thread: so any number of threads gives the same bits.
//! Order: that of the step before

use rayon::prelude::*;

use super::Sizes;
use super::blocks::{BLOCK_ROWS, blocked};

pub fn product(s: Sizes, a: &[f32], b: &[f32], c: &mut [f32]) {
    match gradus_cpu::instruction_set().starts_with("AVX-512") {
        true => on_threads::<8, 32>(s, a, b, c),
        false => on_threads::<6, 16>(s, a, b, c),
    }
}

fn on_threads<const R: usize, const W: usize>(s: Sizes, a: &[f32], b: &[f32], c: &mut [f32]) {
    let mut panels = vec![[0.0; W]; s.k * s.n.div_ceil(W)];
    panels.par_chunks_mut(s.k).enumerate().for_each(|(number, panel)| {
        let columns = number * W..s.n.min((number + 1) * W);
        for (p, row) in panel.iter_mut().enumerate() {
            row[..columns.len()].copy_from_slice(&b[p * s.n..][columns.clone()]);
        }
    });
    let blocks = c.par_chunks_mut(BLOCK_ROWS * s.n).zip(a.par_chunks(BLOCK_ROWS * s.k));
    blocks.for_each(|(c, a)| {
        let part = Sizes { m: a.len() / s.k, ..s };
        gradus_cpu::widest(
            #[inline(always)]
            || blocked::<R, W, true>(part, a, &panels, c),
        );
    });
}
