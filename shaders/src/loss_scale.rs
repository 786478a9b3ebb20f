//! Dynamic loss scaling: `loss_scale.wgsl`.

use crate::{Needs, Shader, assemble};

const TEXT: &str = include_str!("loss_scale.wgsl");

/// The verdict on a step and the next scale: buffers norm, state, verdict.
pub fn loss_scale() -> Shader {
    Shader {
        label: "loss_scale".to_string(),
        source: assemble(Needs::default(), &[TEXT], &[]),
        entry: "loss_scale",
        inputs: 1,
        outputs: 2,
        needs: Needs::default(),
    }
}

pub(crate) fn variants() -> Vec<Shader> {
    vec![loss_scale()]
}
