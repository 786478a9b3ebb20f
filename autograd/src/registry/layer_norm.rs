//! Inputs for layer norm and RMS norm, alone and after dropout and a residual sum.

use super::{Case, Gen};
use crate::op::Op;
use crate::ops::layer_norm::{
    dropout_add_layer_norm_composed, dropout_add_rms_norm_composed, layer_norm_composed,
    rms_norm_composed,
};

/// ε for rows of `n` elements: with one the result is the bias; a larger ε keeps it smooth.
fn eps_of(n: usize) -> f64 {
    if n < 3 { 0.5 } else { 1e-3 }
}

pub(super) fn dropout_add_layer_norm(g: &Gen) -> Vec<Case> {
    let mut cases = Vec::new();
    for shape in g.shapes(1) {
        let n = shape[shape.len() - 1];
        for (dropout, bias) in [(None, true), (Some((0.4, g.key())), true), (None, false)] {
            // Dropout may leave a row of nearly equal elements.
            let eps = if dropout.is_some() { 0.5 } else { eps_of(n) };
            let mut inputs = vec![g.distinct(&shape), g.any(&shape), g.any(&[n])];
            inputs.extend(bias.then(|| g.any(&[n])));
            let parameters = format!("eps {eps}, dropout {dropout:?}, bias {bias}");
            let case = Case::new(Op::DropoutAddLayerNorm, parameters, inputs, move |v| {
                v[0].dropout_add_layer_norm(&v[1], &v[2], v.get(3), eps, dropout)
            });
            cases.push(case.composed(move |v| {
                dropout_add_layer_norm_composed(&v[0], &v[1], &v[2], v.get(3), eps, dropout)
            }));
        }
    }
    cases
}

pub(super) fn dropout_add_rms_norm(g: &Gen) -> Vec<Case> {
    let mut cases = Vec::new();
    for shape in g.shapes(1) {
        let n = shape[shape.len() - 1];
        for dropout in [None, Some((0.4, g.key()))] {
            let eps = 0.5; // dropout may leave a row near 0
            let inputs = vec![g.any(&shape), g.any(&shape), g.any(&[n])];
            let parameters = format!("eps {eps}, dropout {dropout:?}");
            let case = Case::new(Op::DropoutAddRmsNorm, parameters, inputs, move |v| {
                v[0].dropout_add_rms_norm(&v[1], &v[2], eps, dropout)
            });
            cases.push(case.composed(move |v| {
                dropout_add_rms_norm_composed(&v[0], &v[1], &v[2], eps, dropout)
            }));
        }
    }
    cases
}

pub(super) fn layer_norm(g: &Gen) -> Vec<Case> {
    let case = |(shape, bias): (Vec<usize>, bool)| {
        let n = shape[shape.len() - 1];
        let eps = eps_of(n);
        let mut inputs = vec![g.distinct(&shape), g.any(&[n])];
        inputs.extend(bias.then(|| g.any(&[n])));
        Case::new(Op::LayerNorm, format!("eps {eps}, bias {bias}"), inputs, move |v| {
            v[0].layer_norm(&v[1], v.get(2), eps)
        })
        .composed(move |v| layer_norm_composed(&v[0], &v[1], v.get(2), eps))
    };
    let both = |shape: Vec<usize>| [(shape.clone(), true), (shape, false)];
    g.shapes(1).into_iter().flat_map(both).map(case).collect()
}

pub(super) fn rms_norm(g: &Gen) -> Vec<Case> {
    let case = |shape: Vec<usize>| {
        let n = shape[shape.len() - 1];
        let inputs = vec![g.any(&shape), g.any(&[n])];
        Case::new(Op::RmsNorm, "eps 0.1", inputs, move |v| v[0].rms_norm(&v[1], 0.1))
            .composed(move |v| rms_norm_composed(&v[0], &v[1], 0.1))
    };
    g.shapes(1).into_iter().map(case).collect()
}
