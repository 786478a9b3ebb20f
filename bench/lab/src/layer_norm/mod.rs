//! Layer norm of the rows of x `[rows, n]` and its backward pass, in one run:
//! y = (x − mean)·scale·w + b with scale = 1/√(variance + ε); and from g, the gradient of y, with
//! x̂ = (x − mean)·scale and h = g·w: dx = scale·(h − Σh/n − x̂·Σ(h·x̂)/n), dw = Σ g·x̂, db = Σ g
//! over the rows.

mod composed;
mod fused;
mod reference;
mod shipped;
#[path = "gpu/shipped.rs"]
mod shipped_gpu;
mod threads;
mod vectors;

use gradus_cli::Outcome;
use gradus_tensor::{Device, Tensor};

use crate::both::{self, Both, ForShaders, How};
use crate::family::{self, Lab, Settings, Work};
use crate::step::{Step, step};

/// ε, as BERT has it.
pub const EPS: f64 = 1e-12;

/// The operands, as slices and on the device.
pub struct Problem {
    pub n: usize,
    pub eps: f32,
    pub x: Vec<f32>,
    pub w: Vec<f32>,
    pub b: Vec<f32>,
    /// The gradient of y.
    pub g: Vec<f32>,
    /// x, w, b and g.
    tensors: [Tensor; 4],
}

/// Where a step writes.
pub struct Results<'a> {
    pub y: &'a mut [f32],
    pub dx: &'a mut [f32],
    pub dw: &'a mut [f32],
    pub db: &'a mut [f32],
}

impl<'a> From<[&'a mut [f32]; 4]> for Results<'a> {
    fn from([y, dx, dw, db]: [&'a mut [f32]; 4]) -> Self {
        Results { y, dx, dw, db }
    }
}

const CPU: &[(Step, How<Problem>)] = &[
    (
        step!("bench/lab/src/layer_norm/composed.rs"),
        How::Slices(|p, r| composed::both(p, r.into())),
    ),
    (step!("bench/lab/src/layer_norm/fused.rs"), How::Slices(|p, r| fused::both(p, r.into()))),
    (step!("bench/lab/src/layer_norm/vectors.rs"), How::Slices(|p, r| vectors::both(p, r.into()))),
    (step!("bench/lab/src/layer_norm/threads.rs"), How::Slices(|p, r| threads::both(p, r.into()))),
    (
        step!("bench/lab/src/layer_norm/shipped.rs", "tensor/cpu/src/layer_norm.rs"),
        How::Engine(shipped::both),
    ),
];

const GPU: &[(Step, How<Problem>)] = &[
    (step!("bench/lab/src/layer_norm/gpu/thread_row.wgsl"), How::Shader),
    (step!("bench/lab/src/layer_norm/gpu/workgroup_row.wgsl"), How::Shader),
    (step!("bench/lab/src/layer_norm/gpu/parts.wgsl"), How::Shader),
    (
        step!("bench/lab/src/layer_norm/gpu/shipped.rs", "shaders/src/layer_norm.wgsl"),
        How::Engine(shipped_gpu::both),
    ),
];

/// The steps, for `--show` and `list`.
pub fn steps(on_gpu: bool) -> Vec<Step> {
    if on_gpu { family::steps(GPU) } else { family::steps(CPU) }
}

/// The lab. `mine` is one's own shader.
pub fn lab(settings: &Settings, mine: Option<Step>) -> Outcome<Lab> {
    let [rows, n] = settings.sizes("ROWSxN", 768, |n| [4096, n])?;
    let problem = Problem::new(settings, [rows, n])?;
    let expected = reference::of(&problem);
    let table = if settings.device == Device::Cpu { CPU } else { GPU };
    let (candidates, missing) =
        both::candidates((problem, expected), settings.device, table, mine)?;
    Ok(Lab {
        title: format!("layer norm of the rows of [{rows}, {n}], forward and backward, f32"),
        // x and y forward; x, g and dx backward.
        work: Work { flops: 0.0, bytes: 20.0 * (rows * n) as f64 },
        candidates,
        missing,
    })
}

impl Problem {
    fn new(settings: &Settings, [rows, n]: [usize; 2]) -> Outcome<Problem> {
        let x = (settings.normal("x", &[rows, n])? + 0.5)?;
        let (w, b) = (settings.normal("w", &[n])?, settings.normal("b", &[n])?);
        let g = settings.normal("g", &[rows, n])?;
        let on_device = |x: &Tensor| x.to_device(settings.device);
        Ok(Problem {
            n,
            eps: EPS as f32,
            x: x.to_vec()?,
            w: w.to_vec()?,
            b: b.to_vec()?,
            g: g.to_vec()?,
            tensors: [on_device(&x)?, on_device(&w)?, on_device(&b)?, on_device(&g)?],
        })
    }
}

impl Both for Problem {
    fn operands(&self) -> &[Tensor; 4] {
        &self.tensors
    }

    fn sizes(&self) -> [usize; 4] {
        [self.x.len(), self.x.len(), self.n, self.n]
    }

    /// Shaders may keep mean and scale of each row, and the parts of dw and db of each block of
    /// eight rows or more.
    fn for_shaders(&self) -> ForShaders {
        let (rows, n) = (self.x.len() / self.n, self.n);
        ForShaders {
            arguments: vec![rows as u32, n as u32, self.eps.to_bits()],
            sizes: (rows, n),
            more: vec![2 * rows, rows.div_ceil(8) * 2 * n],
        }
    }
}
