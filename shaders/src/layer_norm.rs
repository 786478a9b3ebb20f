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

/// A variant of [`forward`].
#[derive(Clone, Copy, Debug)]
pub struct Forward {
    /// The type of x and y.
    pub scalar: Scalar,
    /// Threads of a workgroup.
    pub width: u32,
    /// The step before.
    pub before: Before,
    /// Whether a bias is added.
    pub bias: bool,
    /// Whether the mean is not subtracted.
    pub rms: bool,
}

impl Forward {
    /// A number for each variant.
    pub fn key(self) -> u64 {
        let flags = (self.before as u64) << 2 | (self.bias as u64) << 1 | self.rms as u64;
        flags << 32 | self.scalar.code() << 16 | self.width as u64
    }
}

/// A variant of [`backward`].
#[derive(Clone, Copy, Debug)]
pub struct Backward {
    /// The type of x and the gradients.
    pub scalar: Scalar,
    /// Threads of a workgroup.
    pub width: u32,
    /// Whether there are two gradients.
    pub more: bool,
    /// Whether dx after dropout is written, too.
    pub dropout: bool,
    /// Whether the mean is not subtracted.
    pub rms: bool,
}

impl Backward {
    /// A number for each variant.
    pub fn key(self) -> u64 {
        let flags = (self.more as u64) << 2 | (self.dropout as u64) << 1 | self.rms as u64;
        flags << 32 | self.scalar.code() << 16 | self.width as u64
    }
}

fn flag(on: bool) -> String {
    (on as u32).to_string()
}

/// Buffers x, the residual if there is one, w, b if there is one, y, means, rstds, the sum if it is
/// written.
pub fn forward(variant: Forward) -> Shader {
    let Forward { scalar, width, before, bias, rms } = variant;
    let entry = "forward";
    let (dropout, add) = (before == Before::DropoutAdd, before != Before::Nothing);
    // Bindings after the residual and the bias, which are optional.
    let weight = 1 + add as u32;
    let binding = |after: u32| (weight + bias as u32 + after).to_string();
    let definitions = [
        ("T", scalar.stored().to_string()),
        ("KIND", entry.to_string()),
        ("W", width.to_string()),
        ("ADD", flag(add)),
        ("KEEP", flag(before.keeps())),
        ("DROPOUT", flag(dropout)),
        ("BIAS", flag(bias)),
        ("RMS", flag(rms)),
        ("B_W", weight.to_string()),
        ("B_B", (weight + 1).to_string()),
        ("B_Y", binding(1)),
        ("B_MEANS", binding(2)),
        ("B_RSTDS", binding(3)),
        ("B_SUMS", binding(4)),
    ];
    let random = if dropout { RANDOM } else { "" };
    let suffix = match before {
        Before::Nothing => "",
        Before::Add => ".add",
        Before::AddKeep => ".add_keep",
        Before::DropoutAdd => ".dropout_add",
    };
    let bias_name = if bias { "" } else { ".no_bias" };
    let rms_name = if rms { ".rms" } else { "" };
    Shader {
        label: format!("layer_norm.{entry}.{}.{width}{suffix}{bias_name}{rms_name}", scalar.name()),
        source: assemble(scalar.needs(), &[BITS, random, ROWS, TEXT], &definitions),
        entry,
        inputs: 2 + add as u32 + bias as u32,
        outputs: 3 + before.keeps() as u32,
        needs: scalar.needs(),
    }
}

/// The derivatives: buffers x, w, means, rstds, the gradient or the two that are added, dx, with
/// dropout also dx after dropout, and the parts of dw and db (f32).
pub fn backward(variant: Backward) -> Shader {
    let Backward { scalar, width, more, dropout, rms } = variant;
    let entry = "backward";
    let definitions = [
        ("T", scalar.stored().to_string()),
        ("KIND", entry.to_string()),
        ("W", width.to_string()),
        ("BLOCK", BLOCK.to_string()),
        ("MORE", flag(more)),
        ("DROPOUT", flag(dropout)),
        ("RMS", flag(rms)),
        ("B_DX", (5 + more as u32).to_string()),
        ("B_DA", (6 + more as u32).to_string()),
        ("B_PARTS", (6 + more as u32 + dropout as u32).to_string()),
    ];
    let random = if dropout { RANDOM } else { "" };
    let name = |on: bool, name: &'static str| if on { name } else { "" };
    let (more_name, dropout_name) = (name(more, ".more"), name(dropout, ".dropout"));
    let rms_name = name(rms, ".rms");
    Shader {
        label: format!(
            "layer_norm.{entry}.{}.{width}{more_name}{dropout_name}{rms_name}",
            scalar.name()
        ),
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
        ("DROPOUT", flag(false)),
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
    let both = [false, true];
    for scalar in Scalar::FLOATS {
        for width in ROW_WIDTHS {
            for (bias, rms) in [(true, false), (false, false), (false, true)] {
                let variant = |before| Forward { scalar, width, before, bias, rms };
                all.extend(Before::ALL.map(variant).map(forward));
            }
            for (more, rms) in both.into_iter().flat_map(|more| both.map(|rms| (more, rms))) {
                let variant = |dropout| Backward { scalar, width, more, dropout, rms };
                all.extend(both.map(variant).map(backward));
            }
        }
    }
    all
}
