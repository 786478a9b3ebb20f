//! Inputs for the methods of `Var` that are composed of other operations.

use gradus_tensor::ops::cross_entropy::{CrossEntropy, Reduction};
use gradus_tensor::{Result, Tensor};

use super::{Case, Gen};
use crate::op::Op;
use crate::var::Var;

/// A function of one element, by name.
type Function = (&'static str, fn(&Var) -> Result<Var>);

/// Functions of one element, each with a kink at 0 or none.
fn functions(g: &Gen) -> Vec<Case> {
    const FUNCTIONS: [Function; 6] = [
        ("expm1", Var::expm1),
        ("exp2", Var::exp2),
        ("leaky_relu", |x| x.leaky_relu(0.1)),
        ("elu", |x| x.elu(0.7)),
        ("softsign", Var::softsign),
        ("quick_gelu", Var::quick_gelu),
    ];
    let mut cases = Vec::new();
    for shape in g.shapes(0) {
        for (name, f) in FUNCTIONS {
            // expm1 has another form beyond ±½.
            let x = g.away_from(&shape, &[-0.5, 0.0, 0.5]);
            let op = Op::Unary(gradus_tensor::ops::unary::UnaryOp::Exp);
            cases.push(Case::new(op, name, vec![x], move |v| f(&v[0])));
        }
        let positive = g.uniform(&shape, 0.1, 3.0);
        let op = Op::Unary(gradus_tensor::ops::unary::UnaryOp::Log);
        cases.push(Case::new(op, "log2", vec![positive], |v| v[0].log2()));
    }
    cases
}

fn norms_and_sums(g: &Gen) -> Vec<Case> {
    let mut cases = Vec::new();
    for shape in g.shapes(1) {
        let (rank, dims, dim, keepdim) =
            (shape.len(), g.dims(shape.len()), g.dim(shape.len()), g.below(2) == 0);
        let distinct_sizes = g.away_from(&shape, &[0.0]);
        for p in [1.0, 2.0, 3.5] {
            let dims = dims.clone();
            let case = Case::new(Op::Sum, format!("norm {p}"), vec![distinct_sizes.clone()], {
                move |v| v[0].norm(p, &dims, keepdim)
            });
            cases.push(case);
        }
        let several = (0..rank).all(|d| shape[d] > 1);
        if several {
            let (dims, at) = (dims.clone(), g.distinct(&shape));
            cases.push(Case::new(Op::Var, "std", vec![at], move |v| v[0].std(&dims, keepdim, 1)));
        }
        cases.push(Case::new(Op::Cat, "cumsum", vec![g.any(&shape)], move |v| v[0].cumsum(dim)));
        if shape[dim.rem_euclid(rank as isize) as usize] > 0 {
            let x = || vec![g.distinct(&shape)];
            cases.push(Case::new(Op::Gather, "max_with_index", x(), move |v| {
                Ok(v[0].max_with_index(dim, keepdim)?.0)
            }));
            cases.push(Case::new(Op::Gather, "min_with_index", x(), move |v| {
                Ok(v[0].min_with_index(dim, keepdim)?.0)
            }));
        }
    }
    cases
}

fn masked(g: &Gen) -> Vec<Case> {
    let mut cases = Vec::new();
    for shape in g.shapes(2) {
        let diagonal = g.below(7) as isize - 3;
        let x = || vec![g.any(&shape)];
        cases.push(Case::new(Op::Where, format!("tril {diagonal}"), x(), move |v| {
            v[0].tril(diagonal)
        }));
        cases.push(Case::new(Op::Where, format!("triu {diagonal}"), x(), move |v| {
            v[0].triu(diagonal)
        }));
        let mask = g.mask(&shape[1..]);
        cases.push(Case::new(Op::Where, "masked_fill", x(), move |v| {
            v[0].masked_fill(&mask.to_device(v[0].device())?, 0.25)
        }));
        let (rows, columns) = (shape[0], shape[1]);
        let (row, column) = (g.below(rows + 1), g.below(columns + 1));
        cases.push(Case::new(Op::Narrow, format!("i ({row}.., ..{column})"), x(), move |v| {
            v[0].i((row.., ..column))
        }));
    }
    for (rows, n) in [(3, 4), (1, 1), (2, 5)] {
        // In each row the places are different.
        let places: Vec<u32> = (0..rows)
            .flat_map(|_| g.key().permutation(n + 2).into_iter().take(n))
            .map(|i| i as u32)
            .collect();
        let index = Tensor::from_slice(&places, &[rows, n]).expect("as many places as elements");
        let inputs = vec![g.any(&[rows, n + 2]), g.any(&[rows, n])];
        cases.push(Case::new(Op::ScatterAdd, "scatter", inputs, move |v| {
            v[0].scatter(1, &index.to_device(v[0].device())?, &v[1])
        }));
    }
    cases
}

/// The sum of each piece times its number, so that no piece can be taken for another.
fn sums_of(pieces: Vec<Var>) -> Result<Var> {
    let sums: Result<Vec<Var>> =
        (1..).zip(&pieces).map(|(i, piece)| piece.sum_all()?.mul_scalar(i as f64)).collect();
    Var::stack(&sums?.iter().collect::<Vec<_>>(), 0)
}

fn pieces(g: &Gen) -> Vec<Case> {
    let mut cases = Vec::new();
    for shape in g.shapes(1) {
        let dim = g.dim(shape.len());
        let size = shape[dim.rem_euclid(shape.len() as isize) as usize];
        let x = || vec![g.any(&shape)];
        let piece = g.size();
        cases.push(Case::new(Op::Narrow, format!("split {piece}"), x(), move |v| {
            sums_of(v[0].split(piece, dim)?)
        }));
        cases.push(Case::new(Op::Narrow, format!("chunk {piece}"), x(), move |v| {
            sums_of(v[0].chunk(piece, dim)?)
        }));
        let cut = g.below(size + 1);
        cases.push(Case::new(Op::Narrow, format!("split_with_sizes {cut}"), x(), move |v| {
            sums_of(v[0].split_with_sizes(&[cut, 0, size - cut], dim)?)
        }));
        if size > 0 {
            let entry = g.below(size);
            cases.push(Case::new(Op::Narrow, "select", x(), move |v| v[0].select(dim, entry)));
        }
    }
    cases
}

fn views(g: &Gen) -> Vec<Case> {
    let mut cases = Vec::new();
    for shape in g.shapes(1) {
        let rank = shape.len();
        let (dim, other, at) = (g.dim(rank), g.dim(rank), g.dim(rank + 1));
        let x = || vec![g.any(&shape)];
        cases.push(Case::new(Op::Cat, "stack", vec![g.any(&shape), g.any(&shape)], move |v| {
            Var::stack(&[&v[0], &v[1], &v[0]], at)
        }));
        let mut times: Vec<usize> = (0..rank + g.below(2)).map(|_| g.below(3)).collect();
        if shape.iter().any(|&s| s > 5) {
            times.iter_mut().for_each(|n| *n = 1 + *n / 2);
        }
        cases.push(Case::new(Op::BroadcastTo, format!("repeat {times:?}"), x(), move |v| {
            v[0].repeat(&times)
        }));
        cases.push(Case::new(Op::Permute, "transpose", x(), move |v| v[0].transpose(dim, other)));
        if rank > 1 {
            cases.push(Case::new(Op::Permute, "t", x(), |v| v[0].t()));
        }
        let (first, last) = (g.below(rank), rank as isize - 1);
        cases.push(Case::new(Op::Reshape, "flatten", x(), move |v| {
            v[0].flatten(first as isize, last)
        }));
        cases.push(Case::new(Op::Reshape, "unsqueeze and squeeze", x(), move |v| {
            v[0].unsqueeze(at)?.squeeze(at)?.mul(&v[0])
        }));
    }
    cases
}

fn products_and_orders(g: &Gen) -> Vec<Case> {
    let mut cases = Vec::new();
    for shape in g.shapes(1) {
        let (dims, dim) = (g.dims(shape.len()), g.dim(shape.len()));
        let (keepdim, descending) = (g.below(2) == 0, g.below(2) == 0);
        let op = Op::Binary(gradus_tensor::ops::binary::BinaryOp::Mul);
        cases.push(Case::new(op, "prod", vec![g.any(&shape)], move |v| v[0].prod(&dims, keepdim)));
        cases.push(Case::new(Op::Gather, "sort", vec![g.distinct(&shape)], move |v| {
            Ok(v[0].sort(dim, descending)?.0)
        }));
        let size = shape[dim.rem_euclid(shape.len() as isize) as usize];
        let k = g.below(size + 1);
        cases.push(Case::new(Op::Gather, "topk", vec![g.distinct(&shape)], move |v| {
            Ok(v[0].topk(k, dim, descending)?.0)
        }));
    }
    // Equal elements share the gradient of an extremum; along the diagonal it is smooth.
    cases.push(Case::new(Op::Max, "of a value and itself", vec![g.any(&[3])], |v| {
        Var::stack(&[&v[0], &v[0]], 0)?.max(&[0], false)?.maximum(&v[0])
    }));
    cases
}

fn linear_cross_entropy(g: &Gen) -> Vec<Case> {
    let reductions = [Reduction::Mean, Reduction::Sum, Reduction::None].into_iter().cycle();
    let mut cases = Vec::new();
    for ((n, rows), reduction) in [(5, 2), (4, 4), (3, 1), (1, 7)].into_iter().zip(reductions) {
        let inputs = vec![g.any(&[n, 3]), g.any(&[4, 3]), g.any(&[4])];
        let targets: Vec<u32> = (0..n).map(|_| g.below(4) as u32).collect();
        let options = CrossEntropy {
            // Targets of 3 are ignored, unless that would be all.
            ignore_index: targets.iter().any(|&t| t != 3).then_some(3),
            label_smoothing: 0.1,
            reduction,
            ..CrossEntropy::default()
        };
        let here = move |v: &[Var]| {
            let targets = Tensor::from_slice(&targets, &[n])?;
            targets.to_device(v[0].device())
        };
        let (targets, same) = (here.clone(), options.clone());
        let label = format!("linear_cross_entropy, {n} rows, {rows} at a time, {reduction:?}");
        let case = Case::new(Op::CrossEntropy, label, inputs, move |v| {
            v[0].linear_cross_entropy(&v[1], Some(&v[2]), &targets(v)?, &same, rows)
        });
        cases.push(case.composed(move |v| {
            v[0].linear(&v[1], Some(&v[2]))?.cross_entropy(&here(v)?, &options)
        }));
    }
    cases
}

pub(super) fn cases(g: &Gen) -> Vec<Case> {
    let families = [
        functions,
        norms_and_sums,
        masked,
        pieces,
        views,
        products_and_orders,
        linear_cross_entropy,
    ];
    families.into_iter().flat_map(|cases| cases(g)).collect()
}
