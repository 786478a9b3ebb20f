//! Inputs for the matrix products.

use super::{Case, Gen};
use crate::Var;
use crate::op::Op;
use crate::ops::matmul::{linear_cat_composed, linear_gelu_composed};

pub(super) fn matmul(g: &Gen) -> Vec<Case> {
    let (m, k, n) = (g.size(), g.size(), g.size());
    let shapes: Vec<(Vec<usize>, Vec<usize>)> = if g.is_large() {
        vec![(vec![201, 300], vec![300, 150]), (vec![8, 65, 33], vec![8, 33, 70])]
    } else {
        // Never long: a batch of 1,000 products takes another kernel.
        let batch = 1 + g.below(5);
        vec![
            (vec![m, k], vec![k, n]),
            (vec![1, 1], vec![1, 1]),
            (vec![m, 0], vec![0, n]),
            (vec![0, k], vec![k, n]),
            (vec![batch, m, k], vec![batch, k, n]),
            (vec![batch, m, k], vec![k, n]),
            (vec![m, k], vec![2, 1, k, n]),
            (vec![2, 1, m, k], vec![batch, k, n]),
            (vec![0, m, k], vec![1, k, n]),
        ]
    };
    let case = |(a, b): (Vec<usize>, Vec<usize>)| {
        let case = Case::new(Op::Matmul, "", vec![g.any(&a), g.any(&b)], |v| v[0].matmul(&v[1]));
        if g.is_large() {
            return case;
        }
        // The products one by one, then added.
        case.composed(|v| v[0].unsqueeze(-1)?.mul(&v[1].unsqueeze(-3)?)?.sum(&[-2], false))
    };
    shapes.into_iter().map(case).collect()
}

/// Shapes of x, and rows of the weight.
fn layers(g: &Gen) -> Vec<(Vec<usize>, usize)> {
    let (input, output) = (g.size(), g.size());
    if g.is_large() {
        vec![(vec![203, 300], 150)]
    } else {
        vec![
            (vec![input], output),
            (vec![1, 1], 1),
            (vec![g.size(), g.size(), input], output),
            (vec![0, input], output),
            (vec![3, 0], output),
            (vec![3, input], 0),
        ]
    }
}

pub(super) fn linear_gelu(g: &Gen) -> Vec<Case> {
    let mut cases = Vec::new();
    for (x, output) in layers(g) {
        let weight = g.any(&[output, x[x.len() - 1]]);
        let inputs = vec![g.any(&x), weight, g.any(&[output])];
        let two = inputs[..2].to_vec();
        let case = Case::new(Op::LinearGelu, "", two, |v| v[0].linear_gelu(&v[1], None));
        cases.push(case.composed(|v| linear_gelu_composed(&v[0], &v[1], None)));
        let case =
            Case::new(Op::LinearGelu, "bias", inputs, |v| v[0].linear_gelu(&v[1], Some(&v[2])));
        cases.push(case.composed(|v| linear_gelu_composed(&v[0], &v[1], Some(&v[2]))));
    }
    cases
}

pub(super) fn linear_cat(g: &Gen) -> Vec<Case> {
    fn split(v: &[Var], layers: usize) -> (Vec<&Var>, Vec<&Var>) {
        let (weights, biases) = v[1..].split_at(layers);
        (weights.iter().collect(), biases.iter().collect())
    }
    let mut cases = Vec::new();
    for (x, output) in layers(g) {
        // Layers of different widths, one of them empty.
        let widths = if cases.is_empty() { vec![output, 3] } else { vec![output, 0, 2] };
        let layers = widths.len();
        for biased in [false, true] {
            let mut inputs = vec![g.any(&x)];
            inputs.extend(widths.iter().map(|&n| g.any(&[n, x[x.len() - 1]])));
            inputs.extend(widths.iter().filter(|_| biased).map(|&n| g.any(&[n])));
            let parameters = if biased { "biases" } else { "" };
            let case = Case::new(Op::LinearCat, parameters, inputs, move |v| {
                let (weights, biases) = split(v, layers);
                v[0].linear_cat(&weights, &biases)
            });
            cases.push(case.composed(move |v| {
                let (weights, biases) = split(v, layers);
                linear_cat_composed(&v[0], &weights, &biases)
            }));
        }
    }
    cases
}

pub(super) fn linear(g: &Gen) -> Vec<Case> {
    let mut cases = Vec::new();
    for (x, output) in layers(g) {
        let weight = g.any(&[output, x[x.len() - 1]]);
        let inputs = vec![g.any(&x), weight, g.any(&[output])];
        let case = Case::new(Op::Linear, "", inputs[..2].to_vec(), |v| v[0].linear(&v[1], None));
        let rows: usize = x[..x.len() - 1].iter().product();
        let composed = move |x: &Var, w: &Var| {
            let flat = x.reshape(&[rows, w.size(1)?])?;
            let shape = [&x.shape()[..x.rank() - 1], &[w.size(0)?]].concat();
            flat.matmul(&w.t()?)?.reshape(&shape)
        };
        cases.push(case.composed(move |v| composed(&v[0], &v[1])));
        let case = Case::new(Op::Linear, "bias", inputs, |v| v[0].linear(&v[1], Some(&v[2])));
        cases.push(case.composed(move |v| composed(&v[0], &v[1])?.add(&v[2])));
    }
    cases
}
