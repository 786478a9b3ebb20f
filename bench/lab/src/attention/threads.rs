//! threads: heads, each on whichever thread is free.
//!
//! Adds: a head's outputs are one thread's alone; heads do not know of each other.
//! Why: as many heads at a time as there are cores.
//! Order: that of the step before

use rayon::prelude::*;

use super::{Attention, Results, vectors};

pub fn both(a: &Attention, r: Results) {
    let heads: Vec<_> = r.heads(a.n * a.d).enumerate().collect();
    heads.into_par_iter().for_each(|(number, head)| vectors::one(a, number, head));
}
