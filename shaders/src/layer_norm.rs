//! Layer normalisation and its derivatives: `layer_norm.wgsl`.

use crate::{BITS, ROW_WIDTHS, ROWS, Scalar, Shader, assemble};

const TEXT: &str = include_str!("layer_norm.wgsl");
const RANDOM: &str = include_str!("random.wgsl");

/// Rows that a workgroup of [`parameters`] adds.
pub const BLOCK: u32 = 64;
/// Columns of such a workgroup.
pub const COLUMNS: u32 = 64;

/// What becomes of the input before it is normalised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// Nothing.
    Nothing,
    /// A residual is added.
    Add,
    /// The same, and the sum is written.
    AddKeep,
    /// It is dropped out, a residual is added, and the sum is written.
    DropoutAdd,
}

impl Before {
    /// Every member.
    pub const ALL: [Before; 4] =
        [Before::Nothing, Before::Add, Before::AddKeep, Before::DropoutAdd];

    /// Whether the sum is written.
    pub fn keeps(self) -> bool {
        matches!(self, Before::AddKeep | Before::DropoutAdd)
    }
}

fn shader(
    entry: &'static str,
    scalar: Scalar,
    width: u32,
    before: Before,
    inputs: u32,
    outputs: u32,
) -> Shader {
    let dropout = before == Before::DropoutAdd;
    let add = before != Before::Nothing;
    let flag = |on: bool| (on as u32).to_string();
    // What is bound behind the residual.
    let binding = |without: u32| (without + add as u32).to_string();
    let definitions = [
        ("T", scalar.stored().to_string()),
        ("KIND", entry.to_string()),
        ("W", width.to_string()),
        ("ADD", flag(add)),
        ("KEEP", flag(before.keeps())),
        ("DROPOUT", flag(dropout)),
        ("B_W", binding(1)),
        ("B_B", binding(2)),
        ("B_Y", binding(3)),
        ("B_MEANS", binding(4)),
        ("B_RSTDS", binding(5)),
    ];
    let random = if dropout { RANDOM } else { "" };
    let suffix = match before {
        Before::Nothing => "",
        Before::Add => ".add",
        Before::AddKeep => ".add_keep",
        Before::DropoutAdd => ".dropout_add",
    };
    Shader {
        label: format!("layer_norm.{entry}.{}.{width}{suffix}", scalar.name()),
        source: assemble(scalar.needs(), &[BITS, random, ROWS, TEXT], &definitions),
        entry,
        inputs,
        outputs,
        needs: scalar.needs(),
    }
}

/// Buffers x, the residual if there is one, w, b, y, means, rstds, the sum if it is written.
pub fn forward(scalar: Scalar, width: u32, before: Before) -> Shader {
    let inputs = 3 + (before != Before::Nothing) as u32;
    shader("forward", scalar, width, before, inputs, 3 + before.keeps() as u32)
}

/// The derivative by x: buffers x, w, means, rstds, g, dx; with `dropout` the same dropped out.
pub fn backward(scalar: Scalar, width: u32, dropout: bool) -> Shader {
    let before = if dropout { Before::DropoutAdd } else { Before::Nothing };
    shader("backward", scalar, width, before, 5, 1 + dropout as u32)
}

/// The derivatives by w and b, in parts: buffers x, means, rstds, g, parts (f32).
pub fn parameters(scalar: Scalar) -> Shader {
    shader("parameters", scalar, 256, Before::Nothing, 4, 1)
}

pub(crate) fn variants() -> Vec<Shader> {
    let mut all = Vec::new();
    for scalar in Scalar::FLOATS {
        for width in ROW_WIDTHS {
            all.extend(Before::ALL.map(|before| forward(scalar, width, before)));
            all.extend([false, true].map(|dropout| backward(scalar, width, dropout)));
        }
        all.push(parameters(scalar));
    }
    all
}
