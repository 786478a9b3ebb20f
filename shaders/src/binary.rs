//! Functions of two elements, comparisons, `where`, in-place sums: `binary.wgsl`.

use crate::{Scalar, Shader, WALK, assemble};

const TEXT: &str = include_str!("binary.wgsl");
const MATH: &str = include_str!("math.wgsl");
const POWER: &str = include_str!("power.wgsl");

/// The arithmetic, by the names of `BinaryOp::name`; `pow` for floats only.
pub const OPS: &[&str] = &["add", "sub", "mul", "div", "pow", "maximum", "minimum"];
/// The comparisons, by the names of `CompareOp::name`.
pub const COMPARISONS: &[&str] = &["eq", "ne", "lt", "le", "gt", "ge"];

fn shader(
    kind: &str,
    entry: &'static str,
    op: &str,
    scalar: Scalar,
    (inputs, outputs): (u32, u32),
) -> Shader {
    let float = scalar.computed() == "f32";
    let power = if op == "pow" { POWER } else { "" };
    let bits = if scalar == Scalar::U8 { "0xffu" } else { "0xffffffffu" };
    let definitions = [
        ("T", scalar.stored().to_string()),
        ("C", scalar.computed().to_string()),
        ("FLOAT", (float as u32).to_string()),
        ("BITS", bits.to_string()),
        ("KIND", kind.to_string()),
        ("POWER", ((op == "pow") as u32).to_string()),
        ("OP", op.to_string()),
    ];
    Shader {
        label: format!("binary.{op}.{}", scalar.name()),
        source: assemble(scalar.needs(), &[WALK, MATH, power, TEXT], &definitions),
        entry,
        inputs,
        outputs,
        needs: scalar.needs(),
    }
}

/// `y = op(a, b)`: buffers a, b, y.
pub fn binary(op: &str, scalar: Scalar) -> Shader {
    shader("binary", "binary", op, scalar, (2, 1))
}

/// `mask = op(a, b)`: buffers a, b, mask.
pub fn compare(op: &str, scalar: Scalar) -> Shader {
    shader("compare", "compare", op, scalar, (2, 1))
}

/// `chosen = condition ? a : b`: buffers a, b, condition, chosen.
pub fn where_(scalar: Scalar) -> Shader {
    shader("where", "where_", "where", scalar, (3, 1))
}

/// `sum += alpha·a`: buffers a, sum.
pub fn add_(scalar: Scalar) -> Shader {
    shader("in_place", "add_", "add_", scalar, (1, 1))
}

/// `scaled *= factor`: buffer scaled.
pub fn mul_scalar_(scalar: Scalar) -> Shader {
    shader("in_place", "mul_scalar_", "mul_scalar_", scalar, (0, 1))
}

pub(crate) fn variants() -> Vec<Shader> {
    let mut all = Vec::new();
    for scalar in Scalar::ALL {
        let float = Scalar::FLOATS.contains(&scalar);
        all.extend(OPS.iter().filter(|op| float || **op != "pow").map(|op| binary(op, scalar)));
        all.extend(COMPARISONS.iter().map(|op| compare(op, scalar)));
        all.push(where_(scalar));
        if float {
            all.extend([add_(scalar), mul_scalar_(scalar)]);
        }
    }
    all
}
