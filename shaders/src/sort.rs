//! Sorting and the k best: `sort.wgsl`.

use crate::{Scalar, Shader, assemble};

const TEXT: &str = include_str!("sort.wgsl");

/// Sorted values and their indices: buffers x, values, indices.
pub fn sorted(scalar: Scalar) -> Shader {
    // 32-bit floats are moved as bits, so that a driver that flushes subnormals changes none.
    let stored = if scalar == Scalar::F32 { "u32" } else { scalar.stored() };
    let float = scalar.computed() == "f32";
    let definitions = [("T", stored.to_string()), ("FLOAT", (float as u32).to_string())];
    Shader {
        label: format!("sort.{}", scalar.name()),
        source: assemble(scalar.needs(), &[TEXT], &definitions),
        entry: "place",
        inputs: 1,
        outputs: 2,
        needs: scalar.needs(),
    }
}

pub(crate) fn variants() -> Vec<Shader> {
    Scalar::ALL.map(sorted).into()
}
