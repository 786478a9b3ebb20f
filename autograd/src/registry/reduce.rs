//! Inputs for the reductions.

use super::{Case, Gen};
use crate::op::Op;
use crate::var::Var;

pub(super) fn cases(op: Op, g: &Gen) -> Vec<Case> {
    let mut cases = Vec::new();
    for shape in g.shapes(0) {
        let every = if g.is_large() {
            vec![vec![], vec![0], vec![1]]
        } else {
            vec![vec![], g.dims(shape.len())]
        };
        for dims in every {
            let reduced: Vec<usize> = if dims.is_empty() {
                (0..shape.len()).collect()
            } else {
                dims.iter().map(|d| d.rem_euclid(shape.len() as isize) as usize).collect()
            };
            let n: usize = reduced.iter().map(|&d| shape[d]).product();
            let keepdim = g.below(2) == 0;
            let correction = g.below(4);
            // No elements have no mean and no maximum; one element has no variance.
            if n == 0 && op != Op::Sum || op == Op::Var && n <= correction {
                continue;
            }
            let parameters = format!("{dims:?}, keepdim {keepdim}, correction {correction}");
            let extremum = matches!(op, Op::Max | Op::Min);
            let x = if extremum { g.distinct(&shape) } else { g.any(&shape) };
            let d = dims.clone();
            let case = Case::new(op, parameters, vec![x], move |v| match op {
                Op::Sum => v[0].sum(&d, keepdim),
                Op::Mean => v[0].mean(&d, keepdim),
                Op::Max => v[0].max(&d, keepdim),
                Op::Min => v[0].min(&d, keepdim),
                Op::Var => v[0].var(&d, keepdim, correction),
                Op::LogSumExp => v[0].logsumexp(&d, keepdim),
                other => unreachable!("{} is no reduction", other.name()),
            });
            let mean = move |x: &Var, dims: &[isize], keepdim: bool| {
                x.sum(dims, keepdim)?.mul_scalar(1.0 / n as f64)
            };
            cases.push(match op {
                Op::Mean => case.composed(move |v| mean(&v[0], &dims, keepdim)),
                Op::Var => case.composed(move |v| {
                    let centred = v[0].sub(&mean(&v[0], &dims, true)?)?;
                    let squares = centred.square()?.sum(&dims, keepdim)?;
                    squares.mul_scalar(1.0 / (n - correction) as f64)
                }),
                Op::LogSumExp => case.composed(move |v| v[0].exp()?.sum(&dims, keepdim)?.log()),
                _ => case,
            });
        }
    }
    cases
}

pub(super) fn sum_to(g: &Gen) -> Vec<Case> {
    let case = |full: Vec<usize>| {
        let from = g.below(full.len() + 1);
        let to: Vec<usize> =
            full[from..].iter().map(|&s| if g.below(2) == 0 { 1 } else { s }).collect();
        Case::new(Op::SumTo, format!("{to:?}"), vec![g.any(&full)], move |v| v[0].sum_to(&to))
    };
    g.shapes(0).into_iter().map(case).collect()
}
