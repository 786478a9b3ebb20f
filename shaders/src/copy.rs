//! Copies, conversions and fills: `copy.wgsl`.

use crate::{Needs, Scalar, Shader, WALK, assemble};

const TEXT: &str = include_str!("copy.wgsl");

fn shader(entry: &'static str, from: Scalar, to: Scalar, inputs: u32) -> Shader {
    let needs = Needs { f16: from == Scalar::F16 || to == Scalar::F16, ..Needs::default() };
    let integer = matches!(to, Scalar::U32 | Scalar::U8);
    let largest = if to == Scalar::U8 { "0xffu" } else { "0xffffffffu" };
    let definitions = [
        ("FROM", from.stored().to_string()),
        ("TO", to.stored().to_string()),
        ("FROM_FLOAT", flag(from.computed() == "f32")),
        ("SATURATE", flag(integer && from != to)),
        ("LARGEST", largest.to_string()),
        ("FILL", flag(inputs == 0)),
    ];
    Shader {
        label: format!("{entry}.{}.{}", from.name(), to.name()),
        source: assemble(needs, &[WALK, TEXT], &definitions),
        entry,
        inputs,
        outputs: 1,
        needs,
    }
}

fn flag(condition: bool) -> String {
    (condition as u32).to_string()
}

/// `y = x`, converted: buffers x, y.
pub fn copy(from: Scalar, to: Scalar) -> Shader {
    shader("copy", from, to, 1)
}

/// `y = value`: buffer y.
pub fn fill(to: Scalar) -> Shader {
    shader("fill", to, to, 0)
}

pub(crate) fn variants() -> Vec<Shader> {
    let mut all = Vec::new();
    for from in Scalar::ALL {
        all.extend(Scalar::ALL.map(|to| copy(from, to)));
        all.push(fill(from));
    }
    all
}
