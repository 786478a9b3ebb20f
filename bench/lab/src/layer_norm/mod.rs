//! Layer norm of the rows of x `[rows, n]` and its backward pass, in one run:
//! y = (x − mean)·scale·w + b with scale = 1/√(variance + ε); and from g, the gradient of y, with
//! x̂ = (x − mean)·scale and h = g·w: dx = scale·(h − Σh/n − x̂·Σ(h·x̂)/n), dw = Σ g·x̂, db = Σ g
//! over the rows.

mod composed;
mod fused;
mod reference;
mod shipped;
mod threads;
mod vectors;

use std::sync::Arc;

use gradus_cli::Outcome;
use gradus_tensor::{Result, Tensor};

use crate::family::{self, Candidate, Lab, Run, Settings, Slices, Tensors, Work};
use crate::step::{Step, step};

/// ε, as BERT has it.
pub const EPS: f64 = 1e-12;

/// The operands as slices.
pub struct Problem {
    pub n: usize,
    pub eps: f32,
    pub x: Vec<f32>,
    pub w: Vec<f32>,
    pub b: Vec<f32>,
    /// The gradient of y.
    pub g: Vec<f32>,
}

/// Where the gradients go.
pub struct Gradients<'a> {
    pub dx: &'a mut [f32],
    pub dw: &'a mut [f32],
    pub db: &'a mut [f32],
}

/// The operands as tensors.
#[derive(Clone)]
pub struct Operands {
    pub x: Tensor,
    pub w: Tensor,
    pub b: Tensor,
    pub g: Tensor,
}

impl Operands {
    /// dx, dw and db.
    pub fn backward(&self, mean: &Tensor, rstd: &Tensor) -> Result<(Tensor, Tensor, Tensor)> {
        self.x.layer_norm_backward(&self.w, mean, rstd, &self.g, None)
    }
}

/// How a step computes.
#[derive(Clone, Copy)]
enum How {
    Slices(fn(&Problem, &mut [f32], Gradients)),
    /// y, dx, dw and db by the engine.
    Engine(fn(&Operands) -> Result<Vec<Tensor>>),
}

const CPU: &[(Step, How)] = &[
    (step!("bench/lab/src/layer_norm/composed.rs"), How::Slices(composed::both)),
    (step!("bench/lab/src/layer_norm/fused.rs"), How::Slices(fused::both)),
    (step!("bench/lab/src/layer_norm/vectors.rs"), How::Slices(vectors::both)),
    (step!("bench/lab/src/layer_norm/threads.rs"), How::Slices(threads::both)),
    (
        step!("bench/lab/src/layer_norm/shipped.rs", "tensor/cpu/src/layer_norm.rs"),
        How::Engine(shipped::both),
    ),
];

/// The steps; there are none for GPUs.
pub fn steps() -> Vec<Step> {
    family::steps(CPU)
}

/// The lab.
pub fn lab(settings: &Settings) -> Outcome<Lab> {
    let [rows, n] = settings.sizes("ROWSxN", 768, |n| [4096, n])?;
    let operands = Operands {
        x: (settings.normal("x", &[rows, n])? + 0.5)?,
        w: settings.normal("w", &[n])?,
        b: settings.normal("b", &[n])?,
        g: settings.normal("g", &[rows, n])?,
    };
    let problem = Arc::new(Problem {
        n,
        eps: EPS as f32,
        x: operands.x.to_vec()?,
        w: operands.w.to_vec()?,
        b: operands.b.to_vec()?,
        g: operands.g.to_vec()?,
    });
    let expected = Arc::new(reference::of(&problem));
    let run = |how: How| -> Box<dyn Run> {
        let (problem, operands) = (problem.clone(), operands.clone());
        match how {
            How::Slices(f) => Box::new(Slices::new(&[rows * n, rows * n, n, n], move |all| {
                if let [y, dx, dw, db] = all {
                    f(&problem, y, Gradients { dx, dw, db });
                }
            })),
            How::Engine(f) => Box::new(Tensors::new(move || f(&operands))),
        }
    };
    let candidate = |(number, &(step, how)): (usize, &(Step, How))| Candidate {
        number: Some(number),
        step,
        expected: expected.clone(),
        run: run(how),
    };
    Ok(Lab {
        title: format!("layer norm of the rows of [{rows}, {n}], forward and backward, f32"),
        // x and y forward; x, g and dx backward.
        work: Work { flops: 0.0, bytes: 20.0 * (rows * n) as f64 },
        candidates: (1..).zip(CPU).map(candidate).collect(),
        missing: Vec::new(),
    })
}
