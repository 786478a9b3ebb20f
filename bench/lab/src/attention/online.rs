//! online softmax: blocks of keys, so that no row of scores need be whole (FlashAttention,
//! arXiv:2205.14135).
//!
//! Adds: a query keeps the largest score so far, the sum that belongs to it, and a row of O that
//!   is scaled whenever a larger score turns up. Backward goes block of keys by block of keys, and
//!   gets Σ dP·P, for which a whole row would be needed, as Σ dO·O.
//! Why: a block of K and V stays in the first cache while all queries pass, for texts of any
//!   length. On a processor whose cache holds a row of scores anyway it gains little; a GPU's
//!   workgroup memory holds none, so there it is what makes attention fit.
//! Order: ascending, one sum, scaled whenever a larger score turns up

use super::scores::{add, dot};
use super::{Attention, Results};

/// Keys of a block: K and V of 64 tokens of 64 numbers are 32 KiB.
const BLOCK: usize = 64;

/// What a query knows of the keys so far.
#[derive(Clone, Copy)]
struct Seen {
    largest: f32,
    sum: f32,
}

pub fn both(a: &Attention, mut r: Results) {
    r.all_zero();
    for head in 0..a.heads {
        let seen = forward(a, head, &mut r);
        backward(a, head, &seen, &mut r);
    }
}

fn forward(a: &Attention, head: usize, r: &mut Results) -> Vec<Seen> {
    let (n, d) = (a.n, a.d);
    let (q, k, v, _) = a.head(head);
    let mut seen = vec![Seen { largest: f32::NEG_INFINITY, sum: 0.0 }; n];
    let o = &mut r.o[head * n * d..][..n * d];
    for first in (0..n).step_by(BLOCK) {
        for i in 0..n {
            let (seen, o) = (&mut seen[i], &mut o[i * d..][..d]);
            for j in first..n.min(first + BLOCK) {
                let score = a.scale * dot(&q[i * d..][..d], &k[j * d..][..d]);
                if score > seen.largest {
                    let factor = (seen.largest - score).exp();
                    seen.sum *= factor;
                    o.iter_mut().for_each(|o| *o *= factor);
                    seen.largest = score;
                }
                let e = (score - seen.largest).exp();
                seen.sum += e;
                add(e, &v[j * d..][..d], o);
            }
        }
    }
    for (o, seen) in o.chunks_mut(d).zip(&seen) {
        o.iter_mut().for_each(|o| *o /= seen.sum);
    }
    seen
}

fn backward(a: &Attention, head: usize, seen: &[Seen], r: &mut Results) {
    let (n, d, at) = (a.n, a.d, head * a.n * a.d);
    let (q, k, v, g) = a.head(head);
    let sums: Vec<f32> = (0..n).map(|i| dot(&g[i * d..][..d], &r.o[at + i * d..][..d])).collect();
    for first in (0..n).step_by(BLOCK) {
        for i in 0..n {
            let (q, g) = (&q[i * d..][..d], &g[i * d..][..d]);
            for j in first..n.min(first + BLOCK) {
                let (k, v) = (&k[j * d..][..d], &v[j * d..][..d]);
                let p = (a.scale * dot(q, k) - seen[i].largest).exp() / seen[i].sum;
                let ds = p * (dot(g, v) - sums[i]) * a.scale;
                add(p, g, &mut r.dv[at + j * d..][..d]);
                add(ds, q, &mut r.dk[at + j * d..][..d]);
                add(ds, k, &mut r.dq[at + i * d..][..d]);
            }
        }
    }
}
