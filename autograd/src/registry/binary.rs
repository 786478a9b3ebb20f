//! Inputs for the functions of two elements, and for `where`.

use gradus_tensor::Tensor;
use gradus_tensor::ops::binary::BinaryOp;

use super::{Case, Gen};
use crate::op::Op;

/// Pairs of shapes that broadcast to each other.
fn pairs(g: &Gen) -> Vec<(Vec<usize>, Vec<usize>)> {
    if g.is_large() {
        return vec![
            (vec![701, 900], vec![701, 900]),
            (vec![701, 900], vec![900]),
            (vec![701, 1], vec![701, 900]),
        ];
    }
    let mut pairs = vec![
        (vec![], vec![]),
        (vec![0, 2], vec![1, 2]),
        (vec![1], vec![0]),
        (vec![g.size(), 1], vec![1, g.size()]),
        (vec![], g.shape(2)),
    ];
    for _ in 0..3 {
        let full = g.shape(3);
        let squash = |from: usize| -> Vec<usize> {
            full[from..].iter().map(|&s| if g.below(3) == 0 { 1 } else { s }).collect()
        };
        let pair = (squash(0), squash(g.below(3)));
        pairs.push(if g.below(2) == 0 { pair } else { (pair.1, pair.0) });
    }
    pairs
}

/// Values where `op` is defined and smooth, also if either operand is broadcast.
fn domain(op: BinaryOp, g: &Gen, a: &[usize], b: &[usize]) -> Vec<Tensor> {
    // On two grids shifted against each other, so that no two values are close.
    let grid = |shape: &[usize], shift: f64| {
        let jitter = g.uniform(shape, 0.0, 0.02).to_f64_vec();
        let cell = g.ids(shape, 16).to_f64_vec();
        let values: Vec<f64> =
            cell.iter().zip(jitter).map(|(c, j)| c * 0.25 - 2.0 + shift + j).collect();
        Tensor::from_slice(&values, shape).expect("as many values as the shape has")
    };
    match op {
        BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul => vec![g.any(a), g.any(b)],
        BinaryOp::Div => {
            vec![g.any(a), g.map(b, |u| if u < 0.5 { u - 1.0 } else { u + 0.2 })]
        }
        BinaryOp::Pow => vec![g.uniform(a, 0.3, 2.0), g.any(b)],
        BinaryOp::Maximum | BinaryOp::Minimum => vec![grid(a, 0.0), grid(b, 0.125)],
    }
}

pub(super) fn cases(op: BinaryOp, g: &Gen) -> Vec<Case> {
    let case = |(a, b): (Vec<usize>, Vec<usize>)| {
        Case::new(Op::Binary(op), "", domain(op, g, &a, &b), move |v| v[0].binary(op, &v[1]))
    };
    pairs(g).into_iter().map(case).collect()
}

pub(super) fn where_(g: &Gen) -> Vec<Case> {
    pairs(g)
        .into_iter()
        .map(|(a, b)| {
            // The condition may itself broadcast the operands.
            let condition = match g.below(3) {
                0 => g.mask(&a),
                1 => g.mask(&b),
                _ if g.is_large() => g.mask(&[701, 900]),
                _ => {
                    let longer = if a.len() > b.len() { &a } else { &b };
                    g.mask(&[&[2], &longer[..]].concat())
                }
            };
            let parameters = format!("condition {:?}", condition.shape());
            Case::new(Op::Where, parameters, vec![g.any(&a), g.any(&b)], move |v| {
                v[0].where_(&condition.to_device(v[0].device())?, &v[1])
            })
        })
        .collect()
}
