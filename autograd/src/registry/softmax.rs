//! Inputs for softmax and log-softmax.

use super::{Case, Gen};
use crate::op::Op;

/// Shapes, each with a dimension to normalise along.
fn lines(g: &Gen) -> Vec<(Vec<usize>, isize)> {
    g.shapes(1).into_iter().map(|shape| (shape.clone(), g.dim(shape.len()))).collect()
}

pub(super) fn softmax(g: &Gen) -> Vec<Case> {
    let case = |(shape, dim): (Vec<usize>, isize)| {
        let parameters = format!("dim {dim}");
        Case::new(Op::Softmax, parameters, vec![g.any(&shape)], move |v| v[0].softmax(dim))
            .composed(move |v| {
                let e = v[0].exp()?;
                e.div(&e.sum(&[dim], true)?)
            })
    };
    lines(g).into_iter().map(case).collect()
}

pub(super) fn log_softmax(g: &Gen) -> Vec<Case> {
    let case = |(shape, dim): (Vec<usize>, isize)| {
        let parameters = format!("dim {dim}");
        Case::new(Op::LogSoftmax, parameters, vec![g.any(&shape)], move |v| v[0].log_softmax(dim))
            .composed(move |v| v[0].sub(&v[0].exp()?.sum(&[dim], true)?.log()?))
    };
    lines(g).into_iter().map(case).collect()
}
