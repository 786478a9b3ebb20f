//! Cross-entropy: `cross_entropy.wgsl`.

use crate::{Needs, Shader, WALK, assemble};

const TEXT: &str = include_str!("cross_entropy.wgsl");
const MATH: &str = include_str!("math.wgsl");

fn shader(
    kind: &str,
    entry: &'static str,
    weighted: bool,
    threads: u32,
    (inputs, outputs): (u32, u32),
) -> Shader {
    let inputs = inputs + weighted as u32;
    let definitions = [
        ("KIND", kind.to_string()),
        ("WEIGHT", (weighted as u32).to_string()),
        ("THREADS", format!("{threads}u")),
        ("FIRST", inputs.to_string()),
        ("SECOND", (inputs + 1).to_string()),
    ];
    let weight = if weighted { ".weighted" } else { "" };
    Shader {
        label: format!("cross_entropy.{kind}.{threads}{weight}"),
        source: assemble(Needs::default(), &[WALK, MATH, TEXT], &definitions),
        entry,
        inputs,
        outputs,
        needs: Needs::default(),
    }
}

/// Threads that share a row of this many classes.
pub fn threads(classes: usize) -> u32 {
    if classes <= 256 { 32 } else { 256 }
}

/// The loss and lse of each row: buffers x, y, (weight,) losses, lse. `threads` comes from
/// [`threads`].
pub fn rows(weighted: bool, threads: u32) -> Shader {
    shader("rows", "rows", weighted, threads, (2, 2))
}

/// The sum or the mean: buffers losses, y, (weight,) loss.
pub fn total(weighted: bool) -> Shader {
    shader("total", "total", weighted, 256, (2, 1))
}

/// The gradient's sums over all rows and classes: buffers y, (weight,) terms.
pub fn terms(weighted: bool) -> Shader {
    shader("terms", "compute_terms", weighted, 256, (1, 1))
}

/// The gradient: buffers x, y, lse, grad, terms, (weight,) dx.
pub fn backward(weighted: bool) -> Shader {
    shader("backward", "backward", weighted, 256, (5, 1))
}

pub(crate) fn variants() -> Vec<Shader> {
    [false, true]
        .into_iter()
        .flat_map(|w| [rows(w, 32), rows(w, 256), total(w), terms(w), backward(w)])
        .collect()
}
