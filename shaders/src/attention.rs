//! Attention over packed sequences: `attention.wgsl`, and `attention_common.wgsl` before it.

use crate::{Scalar, Shader, assemble};

const COMMON: &str = include_str!("attention_common.wgsl");
const TEXT: &str = include_str!("attention.wgsl");
const MATH: &str = include_str!("math.wgsl");
const RANDOM: &str = include_str!("random.wgsl");

/// Threads of a workgroup along its own tokens, and along those of the walk.
pub const THREADS: u32 = 16;

/// The largest head whose sums a thread keeps for two rows. They are 4·d/16 where keys and values
/// are differentiated: 64 registers, and a thread has a few hundred at most.
const LARGEST_OF_TWO: u32 = 256;

/// The test for NaN that the shared functions use. `walk.wgsl` also has it, but attention walks no
/// views.
const IS_NAN: &str = "fn is_nan(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u;
}
";

/// Rows of a thread, and its tokens of the walk, for a head of size `d`.
fn rows(d: u32) -> u32 {
    if d <= LARGEST_OF_TWO { 2 } else { 1 }
}

/// Tokens of one workgroup.
pub fn block(d: u32) -> u32 {
    THREADS * rows(d)
}

/// Columns of a head of size `d` that go through workgroup memory at a time. They lie beside the
/// weights of a block of scores, in the 16 KiB that every device has: 32 columns for two rows of a
/// thread take 12.4 KiB, 64 for one row 9.2 KiB.
pub fn piece(d: u32) -> u32 {
    d.next_multiple_of(THREADS).min(if rows(d) == 2 { 32 } else { 64 })
}

/// A variant of the kernels.
#[derive(Clone, Copy, Debug)]
pub struct Variant {
    /// The type of the operands.
    pub scalar: Scalar,
    /// The size of a head.
    pub d: u32,
    /// Whether probabilities are dropped out.
    pub dropout: bool,
    /// Whether a bias is added to the scores.
    pub bias: bool,
    /// Whether [`backward_q`] computes the gradient of the bias.
    pub bias_gradient: bool,
}

impl Variant {
    /// A number for each variant.
    pub fn key(self) -> u64 {
        let flags = [self.dropout, self.bias, self.bias_gradient];
        let flags = flags.into_iter().fold(0, |bits, flag| bits << 1 | flag as u64);
        (self.d as u64) << 8 | self.scalar.code() << 3 | flags
    }

    /// The ends of the names of what is switched on.
    fn suffix(self) -> String {
        let parts = [
            (self.dropout, ".dropout"),
            (self.bias, ".bias"),
            (self.bias_gradient, ".bias_gradient"),
        ];
        parts.iter().filter(|(on, _)| *on).map(|(_, name)| *name).collect()
    }
}

/// `inputs` are those without the bias, which comes after them.
fn shader(entry: &'static str, variant: Variant, inputs: u32, outputs: u32) -> Shader {
    let Variant { scalar, d, .. } = variant;
    let backward = entry != "forward";
    let (rows, piece) = (rows(d), piece(d));
    // The operands of Q·K and of dO·V: those of the workgroup's own tokens, and of the walk's.
    let [row_q_k, row_g_v, walk_q_k, walk_g_v] =
        if entry == "backward_k" { ["k", "v", "q", "g"] } else { ["q", "g", "k", "v"] };
    let flag = |on: bool| (on as u32).to_string();
    let stay = !backward && d <= piece;
    let first_output = inputs + variant.bias as u32;
    let definitions = [
        ("ENTRY", entry.to_string()),
        ("BACKWARD", flag(backward)),
        ("T", scalar.stored().to_string()),
        ("D", d.to_string()),
        ("R", rows.to_string()),
        ("C", piece.to_string()),
        ("CHUNKS", d.div_ceil(piece).to_string()),
        ("STAY", flag(stay)),
        ("RELOAD", flag(!stay)),
        ("WIDE", (piece / THREADS).to_string()),
        ("LOADS", (rows * piece / THREADS).to_string()),
        ("DROPOUT", flag(variant.dropout)),
        ("BIAS", flag(variant.bias)),
        ("BIAS_GRADIENT", flag(variant.bias_gradient)),
        ("B_BIAS", inputs.to_string()),
        ("B_FIRST", first_output.to_string()),
        ("B_SECOND", (first_output + 1).to_string()),
        ("B_THIRD", (first_output + 2).to_string()),
        ("ROW_Q_K", row_q_k.to_string()),
        ("ROW_G_V", row_g_v.to_string()),
        ("WALK_Q_K", walk_q_k.to_string()),
        ("WALK_G_V", walk_g_v.to_string()),
    ];
    Shader {
        label: format!("attention.{entry}.{}.{d}{}", scalar.name(), variant.suffix()),
        source: assemble(scalar.needs(), &[IS_NAN, MATH, RANDOM, COMMON, TEXT], &definitions),
        entry,
        inputs: first_output,
        outputs,
        needs: scalar.needs(),
    }
}

/// Output and denominators: buffers q, k, v, offsets, the bias if there is one, out, lse.
pub fn forward(variant: Variant) -> Shader {
    shader("forward", Variant { bias_gradient: false, ..variant }, 4, 2)
}

/// The gradient of the queries: buffers q, k, v, offsets, lse, dO, the bias if there is one, grads,
/// rows, and the parts of the bias's gradient if it is wanted.
pub fn backward_q(variant: Variant) -> Shader {
    shader("backward_q", variant, 6, 2 + variant.bias_gradient as u32)
}

/// The gradients of keys and values: buffers q, k, v, offsets, rows, dO, the bias if there is one,
/// grads.
pub fn backward_k(variant: Variant) -> Shader {
    shader("backward_k", Variant { bias_gradient: false, ..variant }, 6, 1)
}

/// Every head size makes a variant. These are the sizes of common models, and one size for each
/// form of the text.
pub(crate) fn variants() -> Vec<Shader> {
    let mut all = Vec::new();
    for scalar in Scalar::FLOATS {
        for d in [1, 24, 32, 64, 80, 128, 272] {
            for (dropout, bias) in [(false, false), (true, false), (false, true), (true, true)] {
                let variant = Variant { scalar, d, dropout, bias, bias_gradient: false };
                all.extend([forward(variant), backward_q(variant), backward_k(variant)]);
                if bias {
                    all.push(backward_q(Variant { bias_gradient: true, ..variant }));
                }
            }
        }
    }
    all
}
