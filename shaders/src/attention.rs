//! Attention over packed sequences: `attention.wgsl`.

use crate::{Scalar, Shader, assemble};

const TEXT: &str = include_str!("attention.wgsl");
const MATH: &str = include_str!("math.wgsl");
const RANDOM: &str = include_str!("random.wgsl");

/// Tokens of one workgroup.
pub const BLOCK: u32 = 16;

/// The test for NaN that the shared functions use. `walk.wgsl` also has it, but attention walks no
/// views.
const IS_NAN: &str = "fn is_nan(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u;
}
";

/// Columns of a head of size `d` that go through workgroup memory at a time: columns of four
/// operands backward, of two forward, at most 17 KiB.
pub fn piece(d: u32, backward: bool) -> u32 {
    d.next_multiple_of(16).min(if backward { 32 } else { 64 })
}

/// `d` is the size of a head.
fn shader(
    entry: &'static str,
    scalar: Scalar,
    d: u32,
    dropout: bool,
    inputs: u32,
    outputs: u32,
) -> Shader {
    let backward = entry != "forward";
    let piece = piece(d, backward);
    let chunks = d.div_ceil(piece);
    let [row_a, row_b, col_a, col_b] =
        if entry == "backward_k" { ["k", "v", "q", "g"] } else { ["q", "g", "k", "v"] };
    let definitions = [
        ("ENTRY", entry.to_string()),
        ("BACKWARD", (backward as u32).to_string()),
        ("T", scalar.stored().to_string()),
        ("D", d.to_string()),
        ("C", piece.to_string()),
        ("CHUNKS", chunks.to_string()),
        ("MANY", ((chunks > 1) as u32).to_string()),
        ("WIDE", (piece / 16).to_string()),
        ("DROPOUT", (dropout as u32).to_string()),
        ("ROW_A", row_a.to_string()),
        ("ROW_B", row_b.to_string()),
        ("COL_A", col_a.to_string()),
        ("COL_B", col_b.to_string()),
    ];
    let suffix = if dropout { ".dropout" } else { "" };
    Shader {
        label: format!("attention.{entry}.{}.{d}{suffix}", scalar.name()),
        source: assemble(scalar.needs(), &[IS_NAN, MATH, RANDOM, TEXT], &definitions),
        entry,
        inputs,
        outputs,
        needs: scalar.needs(),
    }
}

/// Output and denominators: buffers q, k, v, offsets, out, lse.
pub fn forward(scalar: Scalar, d: u32, dropout: bool) -> Shader {
    shader("forward", scalar, d, dropout, 4, 2)
}

/// The gradient of the queries: buffers q, k, v, offsets, lse, dO, grads, rows.
pub fn backward_q(scalar: Scalar, d: u32, dropout: bool) -> Shader {
    shader("backward_q", scalar, d, dropout, 6, 2)
}

/// The gradients of keys and values: buffers q, k, v, offsets, rows, dO, grads.
pub fn backward_k(scalar: Scalar, d: u32, dropout: bool) -> Shader {
    shader("backward_k", scalar, d, dropout, 6, 1)
}

/// Every head size makes a variant. These are the sizes of common models, and one size for each
/// form of the text.
pub(crate) fn variants() -> Vec<Shader> {
    let mut all = Vec::new();
    for scalar in Scalar::FLOATS {
        for d in [1, 24, 32, 64, 80, 128] {
            for dropout in [false, true] {
                all.push(forward(scalar, d, dropout));
                all.push(backward_q(scalar, d, dropout));
                all.push(backward_k(scalar, d, dropout));
            }
        }
    }
    all
}
