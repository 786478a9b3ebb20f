//! Reading and adding entries by id: `index.wgsl`.

use crate::{Scalar, Shader, WALK, assemble};

const TEXT: &str = include_str!("index.wgsl");

fn shader(entry: &'static str, scalar: Scalar, base: bool, inputs: u32) -> Shader {
    let definitions = [
        ("T", scalar.stored().to_string()),
        ("KIND", entry.to_string()),
        ("BASE", (base as u32).to_string()),
    ];
    Shader {
        label: format!("index.{entry}.{}{}", scalar.name(), if base { ".base" } else { "" }),
        source: assemble(scalar.needs(), &[WALK, TEXT], &definitions),
        entry,
        inputs,
        outputs: 1,
        needs: scalar.needs(),
    }
}

/// `y = x[ids]`: buffers x, ids, y.
pub fn look_up(scalar: Scalar) -> Shader {
    shader("look_up", scalar, false, 2)
}

/// `y[r] = base[r] + Σ source[j]`: buffers source, table, (base,) y.
pub fn add_rows(scalar: Scalar, base: bool) -> Shader {
    shader("add_rows", scalar, base, 2 + base as u32)
}

/// `y[index] += source`: buffers index, source, y.
pub fn scatter_add(scalar: Scalar) -> Shader {
    shader("scatter_add", scalar, false, 2)
}

pub(crate) fn variants() -> Vec<Shader> {
    let mut all: Vec<Shader> = Scalar::ALL.map(look_up).into();
    for scalar in Scalar::FLOATS {
        all.extend([add_rows(scalar, false), add_rows(scalar, true), scatter_add(scalar)]);
    }
    all
}
