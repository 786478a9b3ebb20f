//! Gated linear units: `glu.wgsl`.

use crate::{BITS, Scalar, Shader, assemble};

const TEXT: &str = include_str!("glu.wgsl");
const MATH: &str = include_str!("math.wgsl");
const ACTIVATIONS: &str = include_str!("activations.wgsl");

/// The functions of gates, by the names of `UnaryOp::name`.
pub const GATES: [&str; 5] = ["sigmoid", "gelu", "gelu_tanh", "silu", "relu"];

fn shader(entry: &'static str, gate: &str, scalar: Scalar, inputs: u32) -> Shader {
    let definitions = [
        ("T", scalar.stored().to_string()),
        ("KIND", entry.to_string()),
        ("GATE", gate.to_string()),
    ];
    Shader {
        label: format!("{entry}.{gate}.{}", scalar.name()),
        source: assemble(scalar.needs(), &[BITS, MATH, ACTIVATIONS, TEXT], &definitions),
        entry,
        inputs,
        outputs: 1,
        needs: scalar.needs(),
    }
}

/// Buffers x, y.
pub fn glu(gate: &str, scalar: Scalar) -> Shader {
    shader("glu", gate, scalar, 1)
}

/// Buffers x, g, dx.
pub fn glu_backward(gate: &str, scalar: Scalar) -> Shader {
    shader("glu_backward", gate, scalar, 2)
}

pub(crate) fn variants() -> Vec<Shader> {
    let mut all = Vec::new();
    for scalar in Scalar::FLOATS {
        all.extend(GATES.map(|gate| glu(gate, scalar)));
        all.extend(GATES.map(|gate| glu_backward(gate, scalar)));
    }
    all
}
