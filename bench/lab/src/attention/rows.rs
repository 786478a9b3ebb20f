//! by rows: the scores of one query at a time.
//!
//! Adds: a row of scores becomes a row of O at once, and its memory serves for the next query.
//!   Forward keeps one number a query, L = ln Σ eˢ; backward computes S again and P = e^(S − L).
//! Why: a row of 512 scores stays in the first cache; no matrix of n × n is in memory at all. The
//!   price is one product more in the backward pass.
//! Order: ascending, one sum

use super::scores::{add, dot, softmax};
use super::{Attention, Results};

pub fn both(a: &Attention, mut r: Results) {
    let (n, d) = (a.n, a.d);
    let mut row = vec![0.0; n];
    let mut slopes = vec![0.0; n];
    r.all_zero();
    for head in 0..a.heads {
        let (q, k, v, g) = a.head(head);
        let at = head * n * d;
        let mut logarithms = vec![0.0; n];
        for i in 0..n {
            for j in 0..n {
                row[j] = a.scale * dot(&q[i * d..][..d], &k[j * d..][..d]);
            }
            logarithms[i] = softmax(&mut row);
            let o = &mut r.o[at + i * d..][..d];
            for j in 0..n {
                add(row[j], &v[j * d..][..d], o);
            }
        }
        for i in 0..n {
            let (q, g) = (&q[i * d..][..d], &g[i * d..][..d]);
            for j in 0..n {
                let score = a.scale * dot(q, &k[j * d..][..d]);
                row[j] = (score - logarithms[i]).exp();
                slopes[j] = dot(g, &v[j * d..][..d]);
            }
            let sum = dot(&slopes, &row);
            for j in 0..n {
                let ds = row[j] * (slopes[j] - sum) * a.scale;
                add(row[j], g, &mut r.dv[at + j * d..][..d]);
                add(ds, q, &mut r.dk[at + j * d..][..d]);
                add(ds, &k[j * d..][..d], &mut r.dq[at + i * d..][..d]);
            }
        }
    }
}
