//! Attention of `heads` heads of n tokens and d numbers, and its backward pass, in one run:
//! S = Q·Kᵀ/√d, P = softmax(S) by rows, O = P·V; and from dO the gradients dQ, dK and dV.
//! All of these are `[heads, n, d]`.

mod online;
mod reference;
mod rows;
mod scores;
mod shipped;
mod threads;
mod vectors;

use std::sync::Arc;

use gradus_cli::Outcome;
use gradus_tensor::ops::attention::Attention as Options;
use gradus_tensor::{Result, Tensor};

use crate::family::{self, Candidate, Lab, Run, Settings, Slices, Tensors, Work};
use crate::step::{Step, step};

/// The operands as slices.
pub struct Attention {
    pub heads: usize,
    pub n: usize,
    pub d: usize,
    /// 1/√d.
    pub scale: f32,
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    /// The gradient of O.
    g: Vec<f32>,
}

impl Attention {
    /// Q, K, V and dO of a head.
    pub fn head(&self, number: usize) -> (&[f32], &[f32], &[f32], &[f32]) {
        let range = number * self.n * self.d..(number + 1) * self.n * self.d;
        let [q, k, v, g] = [&self.q, &self.k, &self.v, &self.g].map(|all| &all[range.clone()]);
        (q, k, v, g)
    }
}

/// Where a step writes.
pub struct Results<'a> {
    pub o: &'a mut [f32],
    pub dq: &'a mut [f32],
    pub dk: &'a mut [f32],
    pub dv: &'a mut [f32],
}

impl Results<'_> {
    pub fn all_zero(&mut self) {
        for x in [&mut *self.o, &mut *self.dq, &mut *self.dk, &mut *self.dv] {
            x.fill(0.0);
        }
    }

    /// The heads, each of `size` numbers.
    pub fn heads(&mut self, size: usize) -> impl Iterator<Item = vectors::Head<'_>> {
        let forward = self.o.chunks_mut(size).zip(self.dq.chunks_mut(size));
        let backward = self.dk.chunks_mut(size).zip(self.dv.chunks_mut(size));
        forward.zip(backward).map(|((o, dq), (dk, dv))| vectors::Head { o, dq, dk, dv })
    }
}

/// The operands as tensors, `[heads·n, d]`: the heads are packed sequences.
#[derive(Clone)]
pub struct Operands {
    pub q: Tensor,
    pub k: Tensor,
    pub v: Tensor,
    pub g: Tensor,
    pub offsets: Tensor,
    pub options: Options,
}

/// How a step computes.
#[derive(Clone, Copy)]
enum How {
    Slices(fn(&Attention, &mut Results)),
    /// O, dQ, dK and dV by the engine.
    Engine(fn(&Operands) -> Result<Vec<Tensor>>),
}

const CPU: &[(Step, How)] = &[
    (step!("bench/lab/src/attention/scores.rs"), How::Slices(scores::both)),
    (step!("bench/lab/src/attention/rows.rs"), How::Slices(rows::both)),
    (step!("bench/lab/src/attention/online.rs"), How::Slices(online::both)),
    (step!("bench/lab/src/attention/vectors.rs"), How::Slices(vectors::both)),
    (step!("bench/lab/src/attention/threads.rs"), How::Slices(threads::both)),
    (
        step!(
            "bench/lab/src/attention/shipped.rs",
            "tensor/cpu/src/attention.rs",
            "tensor/cpu/src/attention/forward.rs",
            "tensor/cpu/src/attention/backward.rs"
        ),
        How::Engine(shipped::both),
    ),
];

/// The steps; there are none for GPUs.
pub fn steps() -> Vec<Step> {
    family::steps(CPU)
}

/// The lab.
pub fn lab(settings: &Settings) -> Outcome<Lab> {
    let [heads, n, d] = settings.sizes("HEADSxNxD", 512, |n| [4, n, 64])?;
    let normal = |name: &str| settings.normal(name, &[heads * n, d]);
    let bounds: Vec<u32> = (0..=heads).map(|head| (head * n) as u32).collect();
    let scale = 1.0 / (d as f64).sqrt();
    let operands = Operands {
        q: normal("q")?,
        k: normal("k")?,
        v: normal("v")?,
        g: normal("g")?,
        offsets: Tensor::from_slice(&bounds, &[heads + 1])?,
        options: Options { scale, ..Options::default() },
    };
    let numbers = |x: &Tensor| x.to_vec::<f32>();
    let problem = Arc::new(Attention {
        heads,
        n,
        d,
        scale: scale as f32,
        q: numbers(&operands.q)?,
        k: numbers(&operands.k)?,
        v: numbers(&operands.v)?,
        g: numbers(&operands.g)?,
    });
    let expected = Arc::new(reference::of(&problem));
    let run = |how: How| -> Box<dyn Run> {
        let (problem, operands) = (problem.clone(), operands.clone());
        match how {
            How::Slices(f) => Box::new(Slices::new(&[heads * n * d; 4], move |all| {
                if let [o, dq, dk, dv] = all {
                    f(&problem, &mut Results { o, dq, dk, dv });
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
    let tensor = 4.0 * (heads * n * d) as f64;
    Ok(Lab {
        title: format!(
            "attention of {heads} heads, {n} tokens, {d} numbers, forward and backward, f32"
        ),
        // Six products: S, O; dV, dP, dQ, dK. Reads Q, K, V and dO, writes O and three gradients.
        work: Work { flops: 12.0 * (heads * n * n * d) as f64, bytes: 8.0 * tensor },
        candidates: (1..).zip(CPU).map(candidate).collect(),
        missing: Vec::new(),
    })
}
