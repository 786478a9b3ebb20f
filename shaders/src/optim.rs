//! Optimiser steps and the global norm: `optim.wgsl`.

use crate::{Needs, Shader, assemble};

const TEXT: &str = include_str!("optim.wgsl");

/// Elements of a tensor that one workgroup of [`squares`] sums.
pub const NORM_CHUNK: u32 = 4096;

fn shader(entry: &'static str, inputs: u32, outputs: u32, scale: bool, buffer: bool) -> Shader {
    let flag = |on: bool| (on as u32).to_string();
    let definitions = [
        ("ENTRY", entry.to_string()),
        ("SCALE", flag(scale)),
        ("BUFFER", flag(buffer)),
        ("NORM", flag(matches!(entry, "squares" | "norm"))),
    ];
    let mut label = format!("optim.{entry}");
    if scale {
        label.push_str(".scale");
    }
    if buffer {
        label.push_str(".momentum");
    }
    Shader {
        label,
        source: assemble(Needs::default(), &[TEXT], &definitions),
        entry,
        inputs,
        outputs,
        needs: Needs::default(),
    }
}

/// A step of Adam or AdamW: buffers gradient, (scale,) parameter, first moment, second moment.
pub fn adamw(scale: bool) -> Shader {
    shader("adamw", 1 + scale as u32, 3, scale, false)
}

/// A step of gradient descent: buffers gradient, (scale,) parameter, (momentum).
pub fn sgd(scale: bool, buffer: bool) -> Shader {
    shader("sgd", 1 + scale as u32, 1 + buffer as u32, scale, buffer)
}

/// The sums of squares of one tensor's chunks: buffers x, partial sums (three numbers each).
pub fn squares() -> Shader {
    shader("squares", 1, 1, false, false)
}

/// The root of all partial sums together: buffers partial sums, norm.
pub fn norm() -> Shader {
    shader("norm", 1, 1, false, false)
}

pub(crate) fn variants() -> Vec<Shader> {
    let mut all = vec![squares(), norm()];
    for scale in [false, true] {
        all.extend([adamw(scale), sgd(scale, false), sgd(scale, true)]);
    }
    all
}
