//! Inputs for the shape operations.

use gradus_tensor::DType;

use super::{Case, Gen};
use crate::op::Op;

pub(super) fn alias(g: &Gen) -> Vec<Case> {
    let case = |shape: Vec<usize>| Case::new(Op::Alias, "", vec![g.any(&shape)], |v| v[0].alias());
    g.shapes(0).into_iter().map(case).collect()
}

pub(super) fn cast(g: &Gen) -> Vec<Case> {
    let mut cases = Vec::new();
    for shape in g.shapes(0) {
        let mut case = Case::new(Op::Cast, "f32 and back", vec![g.any(&shape)], |v| {
            v[0].to_dtype(DType::F32)?.to_dtype(v[0].dtype())
        });
        // Linear, but rounded to 24 bits: large steps.
        case.precision = Some((0.25, 1e-5));
        cases.push(case);
        cases.push(Case::new(Op::Cast, "same", vec![g.any(&shape)], |v| {
            v[0].to_dtype(v[0].dtype())
        }));
    }
    cases
}

pub(super) fn reshape(g: &Gen) -> Vec<Case> {
    let mut cases = Vec::new();
    for shape in g.shapes(0) {
        let numel: usize = shape.iter().product();
        let mut to = vec![shape.iter().rev().copied().collect::<Vec<_>>(), vec![numel, 1]];
        if numel > 0 {
            to.push(vec![1, usize::MAX]);
        }
        for to in to {
            let parameters = format!("{to:?}");
            cases.push(Case::new(Op::Reshape, parameters, vec![g.any(&shape)], move |v| {
                v[0].reshape(&to)
            }));
        }
    }
    cases
}

pub(super) fn permute(g: &Gen) -> Vec<Case> {
    let case = |shape: Vec<usize>| {
        let rank = shape.len();
        let order = g.key().permutation(rank).into_iter().map(|d| d as isize);
        let dims: Vec<isize> =
            order.map(|d| if g.below(2) == 0 { d } else { d - rank as isize }).collect();
        let parameters = format!("{dims:?}");
        Case::new(Op::Permute, parameters, vec![g.any(&shape)], move |v| v[0].permute(&dims))
    };
    g.shapes(0).into_iter().map(case).collect()
}

pub(super) fn narrow(g: &Gen) -> Vec<Case> {
    let mut cases = Vec::new();
    for shape in g.shapes(1) {
        let dim = g.dim(shape.len());
        let size = shape[dim.rem_euclid(shape.len() as isize) as usize];
        let start = g.below(size + 1);
        let length = g.below(size - start + 1);
        for (start, length) in [(start, length), (0, size), (size, 0)] {
            let parameters = format!("dim {dim}, {length} from {start}");
            cases.push(Case::new(Op::Narrow, parameters, vec![g.any(&shape)], move |v| {
                v[0].narrow(dim, start, length)
            }));
        }
    }
    cases
}

pub(super) fn broadcast_to(g: &Gen) -> Vec<Case> {
    let case = |full: Vec<usize>| {
        let from = g.below(full.len() + 1);
        let shape: Vec<usize> =
            full[from..].iter().map(|&s| if g.below(2) == 0 { 1 } else { s }).collect();
        let parameters = format!("{full:?}");
        Case::new(Op::BroadcastTo, parameters, vec![g.any(&shape)], move |v| {
            v[0].broadcast_to(&full)
        })
    };
    g.shapes(0).into_iter().map(case).collect()
}
