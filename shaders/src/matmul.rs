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

/// Dtypes of a product: of the operands and of the result. The bias is f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Types {
    /// Of a and b.
    pub operands: Scalar,
    /// Of c: f32, or that of the operands.
    pub result: Scalar,
}

impl Types {
    /// All that there are.
    pub const ALL: [Types; 3] = [
        Types { operands: Scalar::F32, result: Scalar::F32 },
        Types { operands: Scalar::F16, result: Scalar::F16 },
        Types { operands: Scalar::F16, result: Scalar::F32 },
    ];

    /// A number that tells them apart, for keys of variants.
    pub fn code(self) -> u64 {
        self.operands.code() * 2 + self.result.code()
    }

    fn name(self) -> &'static str {
        match (self.operands, self.result) {
            (Scalar::F16, Scalar::F32) => "f16.f32",
            (operands, _) => operands.name(),
        }
    }
}

/// `c = a·b`, with a bias `c = a·b + bias`, then the epilogue, in tiles of `size` (one of [`TILES`]): buffers a, b,
/// (bias,) c(, kept).
pub fn matmul(types: Types, bias: bool, epilogue: Epilogue, size: u32) -> Shader {
    let (gelu, keep) = (epilogue != Epilogue::None, epilogue == Epilogue::GeluKeep);
    let definitions = [
        ("T", types.operands.stored().to_string()),
        ("C", types.result.stored().to_string()),
        ("BIAS", (bias as u32).to_string()),
        ("GELU", (gelu as u32).to_string()),
        ("KEEP", (keep as u32).to_string()),
        ("SIZE", size.to_string()),
        ("ROWS", (size / 8).to_string()),
        ("VECTORS", (size / 32).to_string()),
    ];
    let parts: &[&str] = if gelu { &[BITS, MATH, TEXT] } else { &[TEXT] };
    let needs = types.operands.needs();
    let named = |on: bool, name: &'static str| if on { name } else { "" };
    let (biased, gelued, kept) = (named(bias, ".bias"), named(gelu, ".gelu"), named(keep, ".keep"));
    Shader {
        label: format!("matmul.{}.{size}{biased}{gelued}{kept}", types.name()),
        source: assemble(needs, parts, &definitions),
        entry: "matmul",
        inputs: 2 + bias as u32,
        outputs: 1 + keep as u32,
        needs,
    }
}

pub(crate) fn variants() -> Vec<Shader> {
    let mut all = Vec::new();
    for types in Types::ALL {
        for size in TILES {
            for bias in [false, true] {
                for epilogue in [Epilogue::None, Epilogue::Gelu, Epilogue::GeluKeep] {
                    all.push(matmul(types, bias, epilogue, size));
                }
            }
        }
    }
    all
}
