//! Inputs for layer norm, alone and after dropout and a residual sum.

use super::{Case, Gen};
use crate::op::Op;
use crate::ops::layer_norm::{dropout_add_layer_norm_composed, layer_norm_composed};

/// ε for rows of `n` elements: with one the result is the bias; a larger ε keeps it smooth.
fn eps_of(n: usize) -> f64 {
    if n < 3 { 0.5 } else { 1e-3 }
}

pub(super) fn dropout_add_layer_norm(g: &Gen) -> Vec<Case> {
    let mut cases = Vec::new();
    for shape in g.shapes(1) {
        let n = shape[shape.len() - 1];
        for dropout in [None, Some((0.4, g.key()))] {
            // Dropout may leave a row of nearly equal elements.
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
