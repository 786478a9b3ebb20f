//! Functions of one element: `unary.wgsl`.

use crate::{Scalar, Shader, WALK, assemble};

const TEXT: &str = include_str!("unary.wgsl");
const MATH: &str = include_str!("math.wgsl");
const ACTIVATIONS: &str = include_str!("activations.wgsl");
const POWER: &str = include_str!("power.wgsl");
const ANGLE: &str = include_str!("angle.wgsl");

/// The functions of the table, by the names of `UnaryOp::name`.
pub const OPS: &[&str] = &[
    "neg",
    "abs",
    "sign",
    "exp",
    "log",
    "log1p",
    "sqrt",
    "rsqrt",
    "reciprocal",
    "square",
    "sin",
    "cos",
    "tanh",
    "sigmoid",
    "softplus",
    "erf",
    "gelu",
    "gelu_tanh",
    "relu",
    "silu",
    "floor",
    "ceil",
    "round",
    "affine",
    "powf",
    "clamp",
];

/// The functions with a fused derivative.
pub const DERIVATIVES: &[&str] = &["gelu", "gelu_tanh", "silu", "sigmoid", "tanh"];

fn shader(entry: &'static str, op: &str, scalar: Scalar, inputs: u32) -> Shader {
    let (power, angle) = (op == "powf", matches!(op, "sin" | "cos"));
    let mut definitions = vec![
        ("T", scalar.stored().to_string()),
        ("OP", op.to_string()),
        ("POWER", (power as u32).to_string()),
        ("ANGLE", (angle as u32).to_string()),
    ];
    let more = if power { POWER } else { "" };
    let more = if angle { ANGLE } else { more };
    if DERIVATIVES.contains(&op) {
        definitions.push(("DERIVATIVE", "1".to_string()));
    }
    Shader {
        label: format!("unary.{op}.{entry}.{}", scalar.name()),
        source: assemble(scalar.needs(), &[WALK, MATH, ACTIVATIONS, more, TEXT], &definitions),
        entry,
        inputs,
        outputs: 1,
        needs: scalar.needs(),
    }
}

/// `y = op(x)`: buffers x, y.
pub fn forward(op: &str, scalar: Scalar) -> Shader {
    shader("forward", op, scalar, 1)
}

/// `dx = g·op'(x)`: buffers x, g, dx.
pub fn backward(op: &str, scalar: Scalar) -> Shader {
    shader("backward", op, scalar, 2)
}

/// 1 where an element is NaN or infinite: buffers x, mask.
pub fn is_not_finite(scalar: Scalar) -> Shader {
    shader("is_not_finite", "neg", scalar, 1)
}

pub(crate) fn variants() -> Vec<Shader> {
    let mut all = Vec::new();
    for scalar in Scalar::FLOATS {
        all.extend(OPS.iter().map(|op| forward(op, scalar)));
        all.extend(DERIVATIVES.iter().map(|op| backward(op, scalar)));
        all.push(is_not_finite(scalar));
    }
    all
}
