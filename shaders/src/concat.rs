//! Joining and padding: `concat.wgsl`.

use crate::{Scalar, Shader, WALK, assemble};

const TEXT: &str = include_str!("concat.wgsl");

/// `y[place] = x`: buffers x, y.
pub fn put(scalar: Scalar) -> Shader {
    let definitions = [("T", scalar.stored().to_string())];
    Shader {
        label: format!("concat.put.{}", scalar.name()),
        source: assemble(scalar.needs(), &[WALK, TEXT], &definitions),
        entry: "put",
        inputs: 1,
        outputs: 1,
        needs: scalar.needs(),
    }
}

pub(crate) fn variants() -> Vec<Shader> {
    Scalar::ALL.map(put).into()
}
