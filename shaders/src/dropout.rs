//! Dropout and its mask: `dropout.wgsl`.

use crate::{Scalar, Shader, assemble};

const TEXT: &str = include_str!("dropout.wgsl");
const RANDOM: &str = include_str!("random.wgsl");

fn shader(entry: &'static str, scalar: Scalar, inputs: u32) -> Shader {
    let definitions = [("T", scalar.stored().to_string())];
    Shader {
        label: format!("{entry}.{}", scalar.name()),
        source: assemble(scalar.needs(), &[RANDOM, TEXT], &definitions),
        entry,
        inputs,
        outputs: 1,
        needs: scalar.needs(),
    }
}

/// `y = dropout(x)`: buffers x, y.
pub fn dropout(scalar: Scalar) -> Shader {
    shader("dropout", scalar, 1)
}

/// The mask: buffer mask.
pub fn bernoulli_mask() -> Shader {
    shader("bernoulli_mask", Scalar::U8, 0)
}

pub(crate) fn variants() -> Vec<Shader> {
    let mut all: Vec<Shader> = Scalar::FLOATS.map(dropout).into();
    all.push(bernoulli_mask());
    all
}
