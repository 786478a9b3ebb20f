//! Inputs for reading and adding by index.

use super::{Case, Gen};
use crate::op::Op;

/// A shape, a dimension of it, and a number of indices along that dimension.
fn lines(g: &Gen) -> Vec<(Vec<usize>, isize, usize)> {
    if g.is_large() {
        return vec![(vec![701, 900], 0, 2000), (vec![701, 900], 1, 1000)];
    }
    let mut lines = Vec::new();
    for shape in g.shapes(1) {
        let dim = g.dim(shape.len());
        let size = shape[dim.rem_euclid(shape.len() as isize) as usize];
        lines.push((shape.clone(), dim, 0));
        if size > 0 {
            // At most one of them is long.
            let n = if shape.iter().all(|&s| s <= 5) { g.size() } else { 1 + g.below(5) };
            lines.push((shape, dim, n + 1));
        }
    }
    lines
}

fn with_size(shape: &[usize], dim: isize, n: usize) -> Vec<usize> {
    let mut shape = shape.to_vec();
    let d = dim.rem_euclid(shape.len() as isize) as usize;
    shape[d] = n;
    shape
}

fn size(shape: &[usize], dim: isize) -> usize {
    shape[dim.rem_euclid(shape.len() as isize) as usize]
}

pub(super) fn index_select(g: &Gen) -> Vec<Case> {
    let case = |(shape, dim, n): (Vec<usize>, isize, usize)| {
        let ids = g.ids(&[n], size(&shape, dim));
        let parameters = format!("dim {dim}, {n} ids");
        Case::new(Op::IndexSelect, parameters, vec![g.any(&shape)], move |v| {
            v[0].index_select(dim, &ids.to_device(v[0].device())?)
        })
    };
    lines(g).into_iter().map(case).collect()
}

pub(super) fn index_add(g: &Gen) -> Vec<Case> {
    let case = |(shape, dim, n): (Vec<usize>, isize, usize)| {
        let ids = g.ids(&[n], size(&shape, dim));
        let inputs = vec![g.any(&shape), g.any(&with_size(&shape, dim, n))];
        Case::new(Op::IndexAdd, format!("dim {dim}"), inputs, move |v| {
            v[0].index_add(dim, &ids.to_device(v[0].device())?, &v[1])
        })
    };
    lines(g).into_iter().map(case).collect()
}

/// The index of a gather: any number along `dim`, at most the input's size along the others.
fn index_shape(g: &Gen, shape: &[usize], dim: isize, n: usize) -> Vec<usize> {
    let mut index = shape.to_vec();
    if !g.is_large() {
        index.iter_mut().filter(|s| **s > 1).for_each(|s| *s -= g.below(2));
    }
    with_size(&index, dim, n)
}

pub(super) fn gather(g: &Gen) -> Vec<Case> {
    let case = |(shape, dim, n): (Vec<usize>, isize, usize)| {
        let index = g.ids(&index_shape(g, &shape, dim, n), size(&shape, dim));
        let parameters = format!("dim {dim}, index {:?}", index.shape());
        Case::new(Op::Gather, parameters, vec![g.any(&shape)], move |v| {
            v[0].gather(dim, &index.to_device(v[0].device())?)
        })
    };
    lines(g).into_iter().map(case).collect()
}

pub(super) fn scatter_add(g: &Gen) -> Vec<Case> {
    let case = |(shape, dim, n): (Vec<usize>, isize, usize)| {
        let index = g.ids(&index_shape(g, &shape, dim, n), size(&shape, dim));
        // The source may be larger than the index.
        let extra = g.below(2);
        let source: Vec<usize> = index.shape().iter().map(|s| s + extra).collect();
        let parameters = format!("dim {dim}, index {:?}", index.shape());
        let inputs = vec![g.any(&shape), g.any(&source)];
        Case::new(Op::ScatterAdd, parameters, inputs, move |v| {
            v[0].scatter_add(dim, &index.to_device(v[0].device())?, &v[1])
        })
    };
    lines(g).into_iter().map(case).collect()
}

pub(super) fn embedding(g: &Gen) -> Vec<Case> {
    let sizes = if g.is_large() {
        vec![(2000, 64, vec![50, 101])]
    } else {
        vec![
            (1, 1, vec![]),
            (g.size(), g.size(), vec![g.size()]),
            (g.size(), g.size(), vec![g.size(), g.size()]),
            (g.size(), g.size(), vec![0, 2]),
            (g.size(), 0, vec![2]),
        ]
    };
    let case = |(rows, width, shape): (usize, usize, Vec<usize>)| {
        let ids = g.ids(&shape, rows);
        let parameters = format!("ids {shape:?}");
        let i = ids.clone();
        let inputs = vec![g.any(&[rows, width])];
        Case::new(Op::Embedding, parameters, inputs, move |v| {
            v[0].embedding(&i.to_device(v[0].device())?)
        })
        .composed(move |v| {
            let flat = ids.reshape(&[ids.numel()])?;
            let shape = [ids.shape(), &[width]].concat();
            v[0].index_select(0, &flat)?.reshape(&shape)
        })
    };
    sizes.into_iter().map(case).collect()
}
