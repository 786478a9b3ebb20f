//! Rotary position embedding: `rotary.wgsl`.

use crate::{Scalar, Shader, assemble};

const TEXT: &str = include_str!("rotary.wgsl");

/// Buffers x, the table (f32), the positions, y.
pub fn rotary_embedding(scalar: Scalar) -> Shader {
    let entry = "rotary_embedding";
    Shader {
        label: format!("{entry}.{}", scalar.name()),
        source: assemble(scalar.needs(), &[TEXT], &[("T", scalar.stored().to_string())]),
        entry,
        inputs: 3,
        outputs: 1,
        needs: scalar.needs(),
    }
}

pub(crate) fn variants() -> Vec<Shader> {
    Scalar::FLOATS.map(rotary_embedding).into()
}
