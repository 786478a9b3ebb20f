//! Inputs for the normalisations: softmax, log-softmax, layer norm, cross-entropy.

use gradus_tensor::ops::cross_entropy::{CrossEntropy, Reduction};

use super::{Case, Gen};
use crate::op::Op;
use crate::ops::cross_entropy::cross_entropy_composed;
use crate::ops::layer_norm::{dropout_add_layer_norm_composed, layer_norm_composed};

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

/// ε for rows of `n` elements: with one the result is the bias; a larger ε keeps it smooth.
fn eps_of(n: usize) -> f64 {
    if n < 3 { 0.5 } else { 1e-3 }
}

pub(super) fn dropout_add_layer_norm(g: &Gen) -> Vec<Case> {
    let mut cases = Vec::new();
    for shape in g.shapes(1) {
        let n = shape[shape.len() - 1];
        for dropout in [None, Some((0.4, g.key()))] {
            // Elements that are dropped may leave a row of nearly equal ones.
            let eps = if dropout.is_some() { 0.5 } else { eps_of(n) };
            let inputs = vec![g.distinct(&shape), g.any(&shape), g.any(&[n]), g.any(&[n])];
            let parameters = format!("eps {eps}, dropout {dropout:?}");
            let case = Case::new(Op::DropoutAddLayerNorm, parameters, inputs, move |v| {
                v[0].dropout_add_layer_norm(&v[1], &v[2], &v[3], eps, dropout)
            });
            cases.push(case.composed(move |v| {
                dropout_add_layer_norm_composed(&v[0], &v[1], &v[2], &v[3], eps, dropout)
            }));
        }
    }
    cases
}

pub(super) fn layer_norm(g: &Gen) -> Vec<Case> {
    let case = |shape: Vec<usize>| {
        let n = shape[shape.len() - 1];
        let eps = eps_of(n);
        let inputs = vec![g.distinct(&shape), g.any(&[n]), g.any(&[n])];
        Case::new(Op::LayerNorm, format!("eps {eps}"), inputs, move |v| {
            v[0].layer_norm(&v[1], &v[2], eps)
        })
        .composed(move |v| layer_norm_composed(&v[0], &v[1], &v[2], eps))
    };
    g.shapes(1).into_iter().map(case).collect()
}

pub(super) fn cross_entropy(g: &Gen) -> Vec<Case> {
    let mut cases = Vec::new();
    let sizes = if g.is_large() {
        vec![(501, 1000)]
    } else {
        vec![(1, 1), (1 + g.size(), 1 + g.size()), (g.size(), 2 + g.size()), (0, 3)]
    };
    for (rows, classes) in sizes {
        for reduction in [Reduction::Mean, Reduction::Sum, Reduction::None] {
            if rows == 0 && reduction == Reduction::Mean {
                continue; // no rows have no mean
            }
            let ids = g.ids(&[rows], classes);
            let mut targets = ids.to_vec::<u32>().expect("ids are u32");
            let ignored = 1000;
            if rows > 1 {
                targets[g.below(rows)] = ignored;
            }
            let targets = gradus_tensor::Tensor::from_slice(&targets, &[rows])
                .expect("as many targets as rows");
            for (smoothing, weighted) in [(0.0, false), (0.1, true)] {
                let weight = weighted.then(|| g.uniform(&[classes], 0.2, 1.5));
                let options = move |x: &crate::Var| {
                    Ok::<_, gradus_tensor::Error>(CrossEntropy {
                        ignore_index: Some(ignored),
                        label_smoothing: smoothing,
                        weight: match &weight {
                            Some(w) => Some(w.to_dtype(x.dtype())?.to_device(x.device())?),
                            None => None,
                        },
                        reduction,
                    })
                };
                let parameters =
                    format!("{reduction:?}, smoothing {smoothing}, weights {weighted}");
                let (t, o) = (targets.clone(), options.clone());
                let inputs = vec![g.any(&[rows, classes])];
                let case = Case::new(Op::CrossEntropy, parameters, inputs, move |v| {
                    v[0].cross_entropy(&t.to_device(v[0].device())?, &o(&v[0])?)
                });
                let t = targets.clone();
                cases.push(
                    case.composed(move |v| cross_entropy_composed(&v[0], &t, &options(&v[0])?)),
                );
            }
        }
    }
    cases
}
