//! Matrix products: `matmul.wgsl`.

use crate::{Scalar, Shader, assemble};

const TEXT: &str = include_str!("matmul.wgsl");

/// `c = a·b`, with a bias `c = a·b + bias`: buffers a, b, (bias,) c.
pub fn matmul(scalar: Scalar, bias: bool) -> Shader {
    let definitions = [("T", scalar.stored().to_string()), ("BIAS", (bias as u32).to_string())];
    Shader {
        label: format!("matmul.{}{}", scalar.name(), if bias { ".bias" } else { "" }),
        source: assemble(scalar.needs(), &[TEXT], &definitions),
        entry: "matmul",
        inputs: 2 + bias as u32,
        outputs: 1,
        needs: scalar.needs(),
    }
}

pub(crate) fn variants() -> Vec<Shader> {
    Scalar::FLOATS.iter().flat_map(|&s| [matmul(s, false), matmul(s, true)]).collect()
}
