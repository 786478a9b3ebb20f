//! Softmax, its logarithm and their derivatives: `softmax.wgsl`.

use crate::{BITS, ROW_WIDTHS, ROWS, Scalar, Shader, assemble};

const TEXT: &str = include_str!("softmax.wgsl");
const MATH: &str = include_str!("math.wgsl");

fn shader(scalar: Scalar, log: bool, backward: bool, width: u32) -> Shader {
    let definitions = [
        ("T", scalar.stored().to_string()),
        ("LOG", (log as u32).to_string()),
        ("BACKWARD", (backward as u32).to_string()),
        ("W", width.to_string()),
    ];
    let (name, entry) = (
        if log { "log_softmax" } else { "softmax" },
        if backward { "backward" } else { "forward" },
    );
    Shader {
        label: format!("{name}.{entry}.{}.{width}", scalar.name()),
        source: assemble(scalar.needs(), &[BITS, MATH, ROWS, TEXT], &definitions),
        entry,
        inputs: 1 + backward as u32,
        outputs: 1,
        needs: scalar.needs(),
    }
}

/// `y = softmax(x)` or its logarithm: buffers x, y.
pub fn forward(scalar: Scalar, log: bool, width: u32) -> Shader {
    shader(scalar, log, false, width)
}

/// The derivative of either: buffers y, g, dx.
pub fn backward(scalar: Scalar, log: bool, width: u32) -> Shader {
    shader(scalar, log, true, width)
}

pub(crate) fn variants() -> Vec<Shader> {
    let mut all = Vec::new();
    for scalar in Scalar::FLOATS {
        for width in ROW_WIDTHS {
            for log in [false, true] {
                all.extend([forward(scalar, log, width), backward(scalar, log, width)]);
            }
        }
    }
    all
}
