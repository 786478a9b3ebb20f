//! Softmax along the rows of x `[rows, n]`: y = e^(x − m) / Σ e^(x − m), m the largest x of the
//! row.

mod online;
mod shipped;
#[path = "gpu/shipped.rs"]
mod shipped_gpu;
mod stored;
mod threads;
mod three_passes;
pub mod vectors;

use std::sync::Arc;

use gradus_cli::Outcome;
use gradus_tensor::{Device, Result, Tensor};

use crate::check::{Expected, ROUNDOFF};
use crate::family::{self, Lab, Ready, Run, Settings, Slices, Tensors, Work};
use crate::shader::{self, Buffers, Shader};
use crate::step::{Step, step};

/// How a step computes.
enum How {
    /// From the length of rows and x to y.
    Slices(fn(usize, &[f32], &mut [f32])),
    /// The engine.
    Engine(fn(&Tensor) -> Result<Tensor>),
    /// A shader of the lab.
    Shader { subgroups: bool },
}

const CPU: &[(Step, How)] = &[
    (step!("bench/lab/src/softmax/three_passes.rs"), How::Slices(three_passes::softmax)),
    (step!("bench/lab/src/softmax/stored.rs"), How::Slices(stored::softmax)),
    (step!("bench/lab/src/softmax/online.rs"), How::Slices(online::softmax)),
    (step!("bench/lab/src/softmax/vectors.rs"), How::Slices(vectors::softmax)),
    (step!("bench/lab/src/softmax/threads.rs"), How::Slices(threads::softmax)),
    (
        step!("bench/lab/src/softmax/shipped.rs", "tensor/cpu/src/softmax.rs"),
        How::Engine(shipped::softmax),
    ),
];

const GPU: &[(Step, How)] = &[
    (step!("bench/lab/src/softmax/gpu/thread_row.wgsl"), How::Shader { subgroups: false }),
    (step!("bench/lab/src/softmax/gpu/workgroup_row.wgsl"), How::Shader { subgroups: false }),
    (step!("bench/lab/src/softmax/gpu/online.wgsl"), How::Shader { subgroups: false }),
    (step!("bench/lab/src/softmax/gpu/subgroups.wgsl"), How::Shader { subgroups: true }),
    (
        step!("bench/lab/src/softmax/gpu/shipped.rs", "shaders/src/softmax.wgsl"),
        How::Engine(shipped_gpu::softmax),
    ),
];

/// The steps, for `--show` and `list`.
pub fn steps(on_gpu: bool) -> Vec<Step> {
    if on_gpu { family::steps(GPU) } else { family::steps(CPU) }
}

/// The lab. `mine` is one's own shader.
pub fn lab(settings: &Settings, mine: Option<Step>) -> Outcome<Lab> {
    let [rows, n] = settings.sizes("ROWSxN", 512, |n| [4096, n])?;
    let device = settings.device;
    let x = (settings.normal("x", &[rows, n])? * 3.0)?;
    let numbers = Arc::new(x.to_vec::<f32>()?);
    let expected = Arc::new(vec![reference(n, &numbers)]);
    let x = x.to_device(device)?;
    let arguments = vec![rows as u32, n as u32];
    let ready = |step: &Step, how: &How| -> Ready {
        let (x, numbers) = (x.clone(), numbers.clone());
        let run: Box<dyn Run> = match *how {
            How::Slices(f) => {
                Box::new(Slices::new(&[rows * n], move |y| f(n, &numbers, &mut y[0])))
            }
            How::Engine(f) => Box::new(Tensors::new(move || Ok(vec![f(&x)?]))),
            How::Shader { subgroups: true } if !shader::has_subgroups(device) => {
                return Ok(Err("this device has no operations of subgroups".into()));
            }
            How::Shader { .. } => {
                let (inputs, outputs, arguments) = ([x], vec![rows * n], arguments.clone());
                let buffers = Buffers { device, inputs: &inputs, outputs, results: 1, arguments };
                Box::new(Shader::new(
                    shader::parse(step.source.path, step.source.text)?,
                    (rows, n),
                    buffers,
                )?)
            }
        };
        Ok(Ok((expected.clone(), run)))
    };
    let table = if device == Device::Cpu { CPU } else { GPU };
    let mine = mine.map(|mine| (mine, How::Shader { subgroups: false }));
    let (candidates, missing) = family::candidates(table, mine, ready)?;
    let title = format!("softmax of the rows of [{rows}, {n}], f32");
    let work = Work { flops: 0.0, bytes: 8.0 * (rows * n) as f64 };
    Ok(Lab { title, work, candidates, missing })
}

/// The formula in f64. A sum of n positive numbers, an exponential (whose error in WGSL grows with
/// its argument, which is not below −64 here) and a division make the bound.
fn reference(n: usize, x: &[f32]) -> Expected {
    let mut values = Vec::with_capacity(x.len());
    for row in x.chunks(n) {
        let m = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let exponentials = row.iter().map(|x| (f64::from(*x) - f64::from(m)).exp());
        let sum: f64 = exponentials.clone().sum();
        values.extend(exponentials.map(|e| e / sum));
    }
    let relative = (n + 200) as f64 * ROUNDOFF;
    let bounds = values.iter().map(|y| relative * y + 1e-37).collect();
    Expected { name: "y", shape: vec![x.len() / n, n], values, bounds }
}
