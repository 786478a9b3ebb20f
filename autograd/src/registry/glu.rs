//! Inputs for gated linear units.

use gradus_tensor::ops::glu::{Gate, Glu};

use super::{Case, Gen};
use crate::op::Op;
use crate::ops::glu::glu_composed;

pub(super) fn cases(g: &Gen) -> Vec<Case> {
    let mut cases = Vec::new();
    for (n, mut shape) in g.shapes(1).into_iter().enumerate() {
        shape.iter_mut().last().into_iter().for_each(|size| *size *= 2);
        for (i, gate) in Gate::ALL.into_iter().enumerate() {
            // Both halves over the shapes.
            let options = Glu { gate, gate_first: (n + i) % 2 == 0 };
            let x = if gate == Gate::Relu { g.away_from(&shape, &[0.0]) } else { g.any(&shape) };
            let case =
                Case::new(Op::Glu, format!("{options:?}"), vec![x], move |v| v[0].glu(options));
            cases.push(case.composed(move |v| glu_composed(&v[0], options)));
        }
    }
    cases
}
