//! Inputs for checkpointing.

use super::{Case, Gen};
use crate::checkpoint::checkpoint;
use crate::op::Op;

pub(super) fn cases(g: &Gen) -> Vec<Case> {
    let case = |shape: Vec<usize>| {
        let inputs = vec![g.any(&shape), g.any(&shape)];
        Case::new(Op::Checkpoint, "tanh(x)·y", inputs, |v| {
            let (x, y) = (v[0].clone(), v[1].clone());
            checkpoint(move || x.tanh()?.mul(&y))
        })
        .composed(|v| v[0].tanh()?.mul(&v[1]))
    };
    g.shapes(0).into_iter().map(case).collect()
}
