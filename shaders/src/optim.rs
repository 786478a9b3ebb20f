//! Optimiser steps and the global norm: `optim.wgsl`.

use crate::{BITS, MANY, Needs, Shader, assemble, bindings};

const TEXT: &str = include_str!("optim.wgsl");
const MATH: &str = include_str!("math.wgsl");

/// Numbers of tensors in one launch of [`squares`], in descending order. Their element counts and
/// offsets must fit into 128 bytes of immediates.
pub const NORM_MANY: [u32; 4] = [15, 7, 3, 1];

/// Elements of a tensor that one workgroup of a step changes.
pub const STEP_CHUNK: u32 = 1024;

/// Elements of a tensor that one workgroup of [`squares`] sums.
pub const NORM_CHUNK: u32 = 4096;

/// The factor of the gradients that a step reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Factor {
    /// No factor.
    None,
    /// One number.
    Scale,
    /// The verdict of loss scaling.
    Verdict,
}

impl Factor {
    /// Every member.
    pub const ALL: [Factor; 3] = [Factor::None, Factor::Scale, Factor::Verdict];

    /// The member with this number (`factor as u64`).
    pub fn of(code: u64) -> Factor {
        Self::ALL[code as usize % Self::ALL.len()]
    }
}

/// A step over `many` tensors: `entry`, and the names of the arrays read and written for each.
fn step(
    entry: &'static str,
    factor: Factor,
    many: u32,
    inputs: &[&str],
    outputs: &[&str],
) -> Shader {
    let (scale, verdict) = (factor != Factor::None, factor == Factor::Verdict);
    let each = |names: &[&str]| -> Vec<String> {
        (0..many).flat_map(|i| names.iter().map(move |name| format!("{name}{i}"))).collect()
    };
    let mut read = each(inputs);
    if scale {
        read.push("scale".to_string());
    }
    let definitions = [
        ("ENTRY", entry.to_string()),
        ("SCALE", (scale as u32).to_string()),
        ("VERDICT", (verdict as u32).to_string()),
        ("BUFFER", ((outputs.len() > 1) as u32).to_string()),
        ("NORM", "0".to_string()),
        ("STEP", "1".to_string()),
        ("MANY", many.to_string()),
        ("BINDINGS", bindings(&read, &each(outputs))),
    ];
    let scaled = match factor {
        Factor::None => "",
        Factor::Scale => ".scale",
        Factor::Verdict => ".verdict",
    };
    let parts: &[&str] = if verdict { &[BITS, MATH, TEXT] } else { &[TEXT] };
    let momentum = if entry == "sgd" && outputs.len() > 1 { ".momentum" } else { "" };
    Shader {
        label: format!("optim.{entry}.{many}{scaled}{momentum}"),
        source: assemble(Needs::default(), parts, &definitions),
        entry,
        inputs: many * inputs.len() as u32 + scale as u32,
        outputs: many * outputs.len() as u32,
        needs: Needs::default(),
    }
}

/// A step of Adam or AdamW over `many` tensors: the gradients, (scale,) then parameter, first
/// moment and second moment of each.
pub fn adamw(factor: Factor, many: u32) -> Shader {
    step("adamw", factor, many, &["g"], &["p", "m", "v"])
}

/// A step of gradient descent over `many` tensors: the gradients, (scale,) then parameter and
/// (momentum) of each.
pub fn sgd(factor: Factor, buffer: bool, many: u32) -> Shader {
    step("sgd", factor, many, &["g"], if buffer { &["p", "b"] } else { &["p"] })
}

/// The sums of squares of the chunks of `many` tensors: the tensors, partial sums (three numbers
/// each).
pub fn squares(many: u32) -> Shader {
    let tensors: Vec<String> = (0..many).map(|i| format!("x{i}")).collect();
    let definitions = [
        ("ENTRY", "squares".to_string()),
        ("NORM", "1".to_string()),
        ("STEP", "0".to_string()),
        ("MANY", many.to_string()),
        ("BINDINGS", bindings(&tensors, &["partial".to_string()])),
    ];
    Shader {
        label: format!("optim.squares.{many}"),
        source: assemble(Needs::default(), &[TEXT], &definitions),
        entry: "squares",
        inputs: many,
        outputs: 1,
        needs: Needs::default(),
    }
}

/// The root of the sum of all partial sums: buffers partial sums, norm.
pub fn norm() -> Shader {
    let definitions = [
        ("ENTRY", "norm".to_string()),
        ("NORM", "1".to_string()),
        ("STEP", "0".to_string()),
        ("MANY", "1".to_string()),
    ];
    Shader {
        label: "optim.norm".to_string(),
        source: assemble(Needs::default(), &[TEXT], &definitions),
        entry: "norm",
        inputs: 1,
        outputs: 1,
        needs: Needs::default(),
    }
}

pub(crate) fn variants() -> Vec<Shader> {
    let mut all = vec![norm()];
    all.extend(NORM_MANY.map(squares));
    for many in MANY {
        for factor in Factor::ALL {
            all.extend([adamw(factor, many), sgd(factor, false, many), sgd(factor, true, many)]);
        }
    }
    all
}
