//! Reading and adding entries by id: `index.wgsl`.

use crate::{Scalar, Shader, WALK, assemble};

const TEXT: &str = include_str!("index.wgsl");

/// Length of the runs of additions to one element that [`add_rows`] sums before it adds them.
pub const RUN: u32 = 256;

fn shader(entry: &'static str, scalar: Scalar, base: bool, run: u32, inputs: u32) -> Shader {
    let definitions = [
        ("RUN", run.to_string()),
        ("T", scalar.stored().to_string()),
        ("KIND", entry.to_string()),
        ("BASE", (base as u32).to_string()),
    ];
    Shader {
        label: format!("index.{entry}.{}.{run}{}", scalar.name(), if base { ".base" } else { "" }),
        source: assemble(scalar.needs(), &[WALK, TEXT], &definitions),
        entry,
        inputs,
        outputs: 1,
        needs: scalar.needs(),
    }
}

/// `y = x[ids]`: buffers x, ids, y.
pub fn look_up(scalar: Scalar) -> Shader {
    shader("look_up", scalar, false, 1, 2)
}

/// `y[r] = base[r] + Σ source[j]`, in runs of `run` (1 adds one after another to the base): buffers
/// source, table, (base,) y.
pub fn add_rows(scalar: Scalar, base: bool, run: u32) -> Shader {
    shader("add_rows", scalar, base, run, 2 + base as u32)
}

/// `y[index] += source`: buffers index, source, y.
pub fn scatter_add(scalar: Scalar) -> Shader {
    shader("scatter_add", scalar, false, 1, 2)
}

pub(crate) fn variants() -> Vec<Shader> {
    let mut all: Vec<Shader> = Scalar::ALL.map(look_up).into();
    for scalar in Scalar::FLOATS {
        let adding = [(false, RUN), (true, RUN), (true, 1)];
        all.extend(adding.map(|(base, run)| add_rows(scalar, base, run)));
        all.push(scatter_add(scalar));
    }
    all
}
