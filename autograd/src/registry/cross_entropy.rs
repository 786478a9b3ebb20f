//! Inputs for cross-entropy.

use gradus_tensor::ops::cross_entropy::{CrossEntropy, Reduction};
use gradus_tensor::{Result, Tensor};

use super::{Case, Gen};
use crate::op::Op;
use crate::ops::cross_entropy::cross_entropy_composed;
use crate::var::Var;

/// The ignored target.
const IGNORED: u32 = 1000;

pub(super) fn cases(g: &Gen) -> Vec<Case> {
    let sizes = if g.is_large() {
        vec![(501, 1000)]
    } else {
        vec![(1, 1), (1 + g.size(), 1 + g.size()), (g.size(), 2 + g.size()), (0, 3)]
    };
    let mut cases = Vec::new();
    for (rows, classes) in sizes {
        for reduction in [Reduction::Mean, Reduction::Sum, Reduction::None] {
            if rows == 0 && reduction == Reduction::Mean {
                continue; // no rows have no mean
            }
            let targets = targets(g, rows, classes);
            for (smoothing, weighted) in [(0.0, false), (0.1, true)] {
                let weight = weighted.then(|| g.uniform(&[classes], 0.2, 1.5));
                let logits = g.any(&[rows, classes]);
                cases.push(case(logits, &targets, Settings { reduction, smoothing, weight }));
            }
        }
    }
    cases
}

/// Random classes; where there are several, one is ignored.
fn targets(g: &Gen, rows: usize, classes: usize) -> Tensor {
    let mut targets = g.ids(&[rows], classes).to_vec::<u32>().expect("ids are u32");
    if rows > 1 {
        targets[g.below(rows)] = IGNORED;
    }
    Tensor::from_slice(&targets, &[rows]).expect("as many targets as rows")
}

#[derive(Clone)]
struct Settings {
    reduction: Reduction,
    smoothing: f64,
    weight: Option<Tensor>,
}

impl Settings {
    /// For logits of `x`'s dtype and device.
    fn options(&self, x: &Var) -> Result<CrossEntropy> {
        let here = |w: &Tensor| w.to_dtype(x.dtype())?.to_device(x.device());
        Ok(CrossEntropy {
            ignore_index: Some(i64::from(IGNORED)),
            label_smoothing: self.smoothing,
            weight: self.weight.as_ref().map(here).transpose()?,
            reduction: self.reduction,
        })
    }
}

fn case(logits: Tensor, targets: &Tensor, settings: Settings) -> Case {
    let Settings { reduction, smoothing, weight } = &settings;
    let weighted = weight.is_some();
    let parameters = format!("{reduction:?}, smoothing {smoothing}, weights {weighted}");
    let (t, s) = (targets.clone(), settings.clone());
    let case = Case::new(Op::CrossEntropy, parameters, vec![logits], move |v| {
        v[0].cross_entropy(&t.to_device(v[0].device())?, &s.options(&v[0])?)
    });
    let t = targets.clone();
    case.composed(move |v| cross_entropy_composed(&v[0], &t, &settings.options(&v[0])?))
}
