//! Inputs for dropout.

use gradus_tensor::Tensor;

use super::{Case, Gen};
use crate::op::Op;
use crate::var::Var;

pub(super) fn cases(g: &Gen) -> Vec<Case> {
    let mut cases = Vec::new();
    for shape in g.shapes(0) {
        for p in [0.3, 0.0, 1.0] {
            let key = g.key();
            let case =
                Case::new(Op::Dropout, p, vec![g.any(&shape)], move |v| v[0].dropout(p, key));
            cases.push(case.composed(move |v| {
                let mask = Tensor::bernoulli_mask(v[0].shape(), p, key)?.to_dtype(v[0].dtype())?;
                let scale = if p < 1.0 { 1.0 / (1.0 - p) } else { 0.0 };
                v[0].mul(&Var::constant(mask.mul_scalar(scale)?))
            }));
        }
    }
    cases
}
