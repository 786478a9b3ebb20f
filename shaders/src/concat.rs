//! Joining and padding: `concat.wgsl`.

use crate::{Scalar, Shader, WALK, assemble};

const TEXT: &str = include_str!("concat.wgsl");

/// The most tensors of one launch of [`join`]. With the result they are the eight buffers that
/// every device can bind.
pub const MAX_JOINED: u32 = 7;

/// `y[place] = x`: buffers x, y.
pub fn put(scalar: Scalar) -> Shader {
    shader("put", scalar, 1)
}

/// `many` tensors end to end: buffers of the tensors, then y.
pub fn join(scalar: Scalar, many: u32) -> Shader {
    shader("join", scalar, many)
}

fn shader(entry: &'static str, scalar: Scalar, many: u32) -> Shader {
    let definitions = [
        ("ENTRY", entry.to_string()),
        ("T", scalar.stored().to_string()),
        ("MANY", many.to_string()),
    ];
    let walk = if entry == "put" { WALK } else { "" };
    Shader {
        label: format!("concat.{entry}.{}.{many}", scalar.name()),
        source: assemble(scalar.needs(), &[walk, TEXT], &definitions),
        entry,
        inputs: many,
        outputs: 1,
        needs: scalar.needs(),
    }
}

pub(crate) fn variants() -> Vec<Shader> {
    let mut all: Vec<Shader> = Scalar::ALL.map(put).into();
    for scalar in Scalar::ALL {
        all.extend((1..=MAX_JOINED).map(|many| join(scalar, many)));
    }
    all
}
