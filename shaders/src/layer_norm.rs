//! Layer normalisation and its derivatives: `layer_norm.wgsl`.

use crate::{BITS, MANY, Needs, ROW_WIDTHS, ROWS, Scalar, Shader, assemble, bindings};

const TEXT: &str = include_str!("layer_norm.wgsl");
const RANDOM: &str = include_str!("random.wgsl");

/// Rows in a workgroup of [`backward`].
pub const BLOCK: u32 = 8;
/// Columns in a workgroup of [`totals`].
pub const COLUMNS: u32 = 64;

/// The step before the normalisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// Nothing.
    Nothing,
    /// Adds a residual.
    Add,
    /// Adds a residual and writes the sum.
    AddKeep,
    /// Applies dropout, adds a residual, and writes the sum.
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

/// Buffers x, the residual if there is one, w, b, y, means, rstds, the sum if it is written.
pub fn forward(scalar: Scalar, width: u32, before: Before) -> Shader {
    let entry = "forward";
    let dropout = before == Before::DropoutAdd;
    let add = before != Before::Nothing;
    let flag = |on: bool| (on as u32).to_string();
    // Bindings after the residual, which is optional.
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
        inputs: 3 + add as u32,
        outputs: 3 + before.keeps() as u32,
        needs: scalar.needs(),
    }
}

/// The derivatives: buffers x, w, means, rstds, the gradient or (with `more`) the two that are
/// added, dx, with `dropout` also dx after dropout, and the parts of dw and db (f32).
pub fn backward(scalar: Scalar, width: u32, more: bool, dropout: bool) -> Shader {
    let entry = "backward";
    let flag = |on: bool| (on as u32).to_string();
    let definitions = [
        ("T", scalar.stored().to_string()),
        ("KIND", entry.to_string()),
        ("W", width.to_string()),
        ("BLOCK", BLOCK.to_string()),
        ("MORE", flag(more)),
        ("DROPOUT", flag(dropout)),
        ("B_DX", (5 + more as u32).to_string()),
        ("B_DA", (6 + more as u32).to_string()),
        ("B_PARTS", (6 + more as u32 + dropout as u32).to_string()),
    ];
    let random = if dropout { RANDOM } else { "" };
    let suffix =
        format!("{}{}", if more { ".more" } else { "" }, if dropout { ".dropout" } else { "" });
    Shader {
        label: format!("layer_norm.{entry}.{}.{width}{suffix}", scalar.name()),
        source: assemble(scalar.needs(), &[BITS, random, ROWS, TEXT], &definitions),
        entry,
        inputs: 5 + more as u32,
        outputs: 2 + dropout as u32,
        needs: scalar.needs(),
    }
}

/// The sums of the parts of `many` norms: buffers of parts, then of sums.
pub fn totals(many: u32) -> Shader {
    let entry = "totals";
    let names = |name: &str| -> Vec<String> { (0..many).map(|i| format!("{name}{i}")).collect() };
    let definitions = [
        ("KIND", entry.to_string()),
        ("DROPOUT", "0".to_string()),
        ("MANY", many.to_string()),
        ("BINDINGS", bindings(&names("parts"), &names("sums"))),
    ];
    Shader {
        label: format!("layer_norm.{entry}.{many}"),
        source: assemble(Needs::default(), &[TEXT], &definitions),
        entry,
        inputs: many,
        outputs: many,
        needs: Needs::default(),
    }
}

pub(crate) fn variants() -> Vec<Shader> {
    let mut all: Vec<Shader> = MANY.map(totals).into();
    for scalar in Scalar::FLOATS {
        for width in ROW_WIDTHS {
            all.extend(Before::ALL.map(|before| forward(scalar, width, before)));
            for more in [false, true] {
                all.extend([false, true].map(|dropout| backward(scalar, width, more, dropout)));
            }
        }
    }
    all
}
