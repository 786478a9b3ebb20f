//! Layer normalisation and its derivatives: `layer_norm.wgsl`.

use crate::{BITS, ROW_WIDTHS, ROWS, Scalar, Shader, assemble};

const TEXT: &str = include_str!("layer_norm.wgsl");

/// Rows that a workgroup of [`parameters`] adds.
pub const BLOCK: u32 = 64;
/// Columns of such a workgroup.
pub const COLUMNS: u32 = 64;

fn shader(entry: &'static str, scalar: Scalar, width: u32, inputs: u32, outputs: u32) -> Shader {
    let definitions =
        [("T", scalar.stored().to_string()), ("KIND", entry.to_string()), ("W", width.to_string())];
    Shader {
        label: format!("layer_norm.{entry}.{}.{width}", scalar.name()),
        source: assemble(scalar.needs(), &[BITS, ROWS, TEXT], &definitions),
        entry,
        inputs,
        outputs,
        needs: scalar.needs(),
    }
}

/// Buffers x, w, b, y, means, rstds.
pub fn forward(scalar: Scalar, width: u32) -> Shader {
    shader("forward", scalar, width, 3, 3)
}

/// The derivative by x: buffers x, w, means, rstds, g, dx.
pub fn backward(scalar: Scalar, width: u32) -> Shader {
    shader("backward", scalar, width, 5, 1)
}

/// The derivatives by w and b, in parts: buffers x, means, rstds, g, dw, db (f32).
pub fn parameters(scalar: Scalar) -> Shader {
    shader("parameters", scalar, 256, 4, 2)
}

pub(crate) fn variants() -> Vec<Shader> {
    let mut all = Vec::new();
    for scalar in Scalar::FLOATS {
        for width in ROW_WIDTHS {
            all.extend([forward(scalar, width), backward(scalar, width)]);
        }
        all.push(parameters(scalar));
    }
    all
}
