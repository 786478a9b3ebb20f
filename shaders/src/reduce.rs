//! Reductions: `reduce.wgsl`.

use crate::{BITS, Scalar, Shader, assemble};

const TEXT: &str = include_str!("reduce.wgsl");
const MATH: &str = include_str!("math.wgsl");

/// The division of a workgroup of 256 threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Division {
    /// 256 outputs, one thread each: for outputs of few elements.
    Threads,
    /// 4 outputs along memory, 64 threads each.
    Short,
    /// One output along memory.
    Long,
    /// 64 adjacent outputs, 4 threads each.
    Columns,
}

impl Division {
    /// Every division.
    pub const ALL: [Division; 4] =
        [Division::Threads, Division::Short, Division::Long, Division::Columns];

    /// Outputs of a workgroup.
    pub fn columns(self) -> u32 {
        match self {
            Division::Threads => 256,
            Division::Short => 4,
            Division::Long => 1,
            Division::Columns => 64,
        }
    }
}

/// A reduction, by the names in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reduction {
    /// Applied to each element: `plain`, `minus` (the distance from the centre), or `square` or
    /// `exp` of that distance.
    pub map: &'static str,
    /// Joins two values: `sum`, `prod`, `max`, `min`.
    pub join: &'static str,
    /// Applied to the joined value: `none`, `divide`, `log` (which adds the centre).
    pub finish: &'static str,
}

/// Every reduction that `tensor/gpu/src/reduce.rs` launches. Those after the fourth are for floats
/// only.
pub const REDUCTIONS: [Reduction; 11] = [
    Reduction { map: "plain", join: "sum", finish: "none" },
    Reduction { map: "plain", join: "prod", finish: "none" },
    Reduction { map: "plain", join: "max", finish: "none" },
    Reduction { map: "plain", join: "min", finish: "none" },
    Reduction { map: "plain", join: "sum", finish: "divide" },
    Reduction { map: "plain", join: "sum", finish: "log" },
    Reduction { map: "minus", join: "sum", finish: "none" },
    Reduction { map: "minus", join: "sum", finish: "divide" },
    Reduction { map: "square", join: "sum", finish: "none" },
    Reduction { map: "exp", join: "sum", finish: "none" },
    Reduction { map: "exp", join: "sum", finish: "log" },
];

impl Reduction {
    /// Whether it reads a centre for each output.
    pub fn centred(self) -> bool {
        self.map != "plain" || self.finish == "log"
    }

    /// A number for each reduction, for keys of variants.
    pub fn code(self) -> u64 {
        let index = REDUCTIONS.iter().position(|&r| r == self);
        index.expect("a reduction of the list") as u64
    }
}

fn definitions(scalar: Scalar, division: Division) -> Vec<(&'static str, String)> {
    let columns = division.columns();
    let along = matches!(division, Division::Short | Division::Long);
    vec![
        ("X", scalar.stored().to_string()),
        ("T", scalar.computed().to_string()),
        ("FLOAT", ((scalar.computed() == "f32") as u32).to_string()),
        ("COLS", columns.to_string()),
        ("LANES", (256 / columns).to_string()),
        ("ALONG", (along as u32).to_string()),
    ]
}

/// A reduction of f32, of integers, or of f16 to f32: buffers x, (centre,) y.
pub fn reduce(reduction: Reduction, scalar: Scalar, division: Division) -> Shader {
    let Reduction { map, join, finish } = reduction;
    let mut definitions = definitions(scalar, division);
    definitions.extend([
        ("MAP", map.to_string()),
        ("JOIN", join.to_string()),
        ("FINISH", finish.to_string()),
        ("CENTRED", (reduction.centred() as u32).to_string()),
    ]);
    Shader {
        label: format!("reduce.{map}.{join}.{finish}.{}.{division:?}", scalar.name()),
        source: assemble(scalar.needs(), &[BITS, MATH, TEXT], &definitions),
        entry: "reduce",
        inputs: 1 + reduction.centred() as u32,
        outputs: 1,
        needs: scalar.needs(),
    }
}

/// The index of the first extremum of floats or integers: buffers x, position.
pub fn arg_extremum(largest: bool, scalar: Scalar, division: Division) -> Shader {
    let mut definitions = definitions(scalar, division);
    definitions
        .extend([("JOIN", "extremum".to_string()), ("LARGEST", (largest as u32).to_string())]);
    let name = if largest { "argmax" } else { "argmin" };
    Shader {
        label: format!("{name}.{}.{division:?}", scalar.name()),
        source: assemble(scalar.needs(), &[BITS, MATH, TEXT], &definitions),
        entry: "arg_extremum",
        inputs: 1,
        outputs: 1,
        needs: scalar.needs(),
    }
}

pub(crate) fn variants() -> Vec<Shader> {
    let mut all = Vec::new();
    for division in Division::ALL {
        for scalar in [Scalar::F32, Scalar::F16, Scalar::U32] {
            let most = if scalar == Scalar::U32 { 4 } else { REDUCTIONS.len() };
            all.extend(REDUCTIONS[..most].iter().map(|&r| reduce(r, scalar, division)));
            all.extend([true, false].map(|largest| arg_extremum(largest, scalar, division)));
        }
    }
    all
}
