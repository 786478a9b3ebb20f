//! Inputs for joining, padding, reversing.

use super::{Case, Gen};
use crate::op::Op;
use crate::var::Var;

pub(super) fn cat(g: &Gen) -> Vec<Case> {
    let mut cases = Vec::new();
    for shape in g.shapes(1) {
        let dim = g.dim(shape.len());
        let d = dim.rem_euclid(shape.len() as isize) as usize;
        for pieces in [1, 2, 3] {
            let inputs = (0..pieces)
                .map(|i| {
                    let mut shape = shape.clone();
                    shape[d] = if i == 1 { g.below(3) } else { shape[d] };
                    g.any(&shape)
                })
                .collect();
            cases.push(Case::new(Op::Cat, format!("dim {dim}"), inputs, move |v| {
                Var::cat(&v.iter().collect::<Vec<_>>(), dim)
            }));
        }
    }
    cases
}

pub(super) fn pad_zeros(g: &Gen) -> Vec<Case> {
    let case = |shape: Vec<usize>| {
        let (dim, before, after) = (g.dim(shape.len()), g.below(3), g.below(3));
        let parameters = format!("dim {dim}, {before} before, {after} after");
        Case::new(Op::PadZeros, parameters, vec![g.any(&shape)], move |v| {
            v[0].pad_zeros(dim, before, after)
        })
    };
    g.shapes(1).into_iter().map(case).collect()
}

pub(super) fn flip(g: &Gen) -> Vec<Case> {
    let case = |shape: Vec<usize>| {
        let dims = g.dims(shape.len());
        let parameters = format!("{dims:?}");
        Case::new(Op::Flip, parameters, vec![g.any(&shape)], move |v| v[0].flip(&dims))
    };
    g.shapes(0).into_iter().map(case).collect()
}
