//! Matrix products: `matmul.wgsl`.

use crate::{BITS, Scalar, Shader, assemble};

const TEXT: &str = include_str!("matmul.wgsl");
const MATH: &str = include_str!("math.wgsl");

/// Rows and columns of a tile: the large ones read less, the small ones keep more workgroups busy.
pub const TILES: [u32; 2] = [64, 32];

/// What follows the sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Epilogue {
    /// Nothing.
    None,
    /// GELU.
    Gelu,
    /// GELU, and what it is applied to is written too.
    GeluKeep,
}

/// `c = a·b`, with a bias `c = a·b + bias`, then the epilogue, in tiles of `size` (one of [`TILES`]): buffers a, b,
/// (bias,) c(, kept).
pub fn matmul(scalar: Scalar, bias: bool, epilogue: Epilogue, size: u32) -> Shader {
    let (gelu, keep) = (epilogue != Epilogue::None, epilogue == Epilogue::GeluKeep);
    let definitions = [
        ("T", scalar.stored().to_string()),
        ("BIAS", (bias as u32).to_string()),
        ("GELU", (gelu as u32).to_string()),
        ("KEEP", (keep as u32).to_string()),
        ("SIZE", size.to_string()),
        ("ROWS", (size / 8).to_string()),
        ("VECTORS", (size / 32).to_string()),
    ];
    let parts: &[&str] = if gelu { &[BITS, MATH, TEXT] } else { &[TEXT] };
    let named = |on: bool, name: &'static str| if on { name } else { "" };
    let (biased, gelued, kept) = (named(bias, ".bias"), named(gelu, ".gelu"), named(keep, ".keep"));
    Shader {
        label: format!("matmul.{}.{size}{biased}{gelued}{kept}", scalar.name()),
        source: assemble(scalar.needs(), parts, &definitions),
        entry: "matmul",
        inputs: 2 + bias as u32,
        outputs: 1 + keep as u32,
        needs: scalar.needs(),
    }
}

pub(crate) fn variants() -> Vec<Shader> {
    let mut all = Vec::new();
    for scalar in Scalar::FLOATS {
        for size in TILES {
            for bias in [false, true] {
                for epilogue in [Epilogue::None, Epilogue::Gelu, Epilogue::GeluKeep] {
                    all.push(matmul(scalar, bias, epilogue, size));
                }
            }
        }
    }
    all
}
