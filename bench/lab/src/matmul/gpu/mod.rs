//! The steps on GPUs.

mod checked;
mod cooperative;
mod shipped;

use std::sync::Arc;

use gradus_cli::Outcome;
use gradus_tensor::ops::shader::UserShader;
use gradus_tensor::{DType, Device, Result, Tensor};

use super::reference::{Reference, Rounding};
use super::{Problem, Sizes};
use crate::family::{self, Lab, Ready, Run, Settings, Tensors};
use crate::machine;
use crate::shader::{self, Buffers, Shader};
use crate::step::{Step, step};

/// How a step computes.
#[derive(Clone, Copy)]
enum How {
    /// A shader of the lab, whose fours need an n that is a multiple of 4.
    Shader { fours: bool },
    /// The engine's shader, launched as one's own.
    Checked,
    /// The engine.
    Product(fn(&Tensor, &Tensor) -> Result<Tensor>),
    /// The engine, on operands of f16, by cooperative matrices.
    Half(fn(&Tensor, &Tensor) -> Result<Tensor>),
}

/// The engine's kernel, whose expanded text is the step before the shipped one.
const SHIPPED: &str = "shaders/src/matmul.wgsl";

const STEPS: &[(Step, How)] = &[
    (step!("bench/lab/src/matmul/gpu/element.wgsl"), How::Shader { fours: false }),
    (step!("bench/lab/src/matmul/gpu/coalesced.wgsl"), How::Shader { fours: false }),
    (step!("bench/lab/src/matmul/gpu/workgroup_tile.wgsl"), How::Shader { fours: false }),
    (step!("bench/lab/src/matmul/gpu/register_tile.wgsl"), How::Shader { fours: false }),
    (step!("bench/lab/src/matmul/gpu/vec4.wgsl"), How::Shader { fours: true }),
    (step!("bench/lab/src/matmul/gpu/padded_rows.wgsl"), How::Shader { fours: true }),
    (step!("bench/lab/src/matmul/gpu/checked.rs", "shaders/src/matmul.wgsl"), How::Checked),
    (
        step!("bench/lab/src/matmul/gpu/shipped.rs", "shaders/src/matmul.wgsl"),
        How::Product(shipped::product),
    ),
    (
        step!("bench/lab/src/matmul/gpu/cooperative.rs", "shaders/src/matmul_cooperative.wgsl"),
        How::Half(cooperative::product),
    ),
];

/// The steps on GPUs, for `--show` and `list`.
pub fn steps() -> Vec<Step> {
    family::steps(STEPS)
}

/// The operands on the GPU, and what a product of them must be.
struct OnGpu {
    s: Sizes,
    device: Device,
    operands: [Tensor; 2],
    reference: Reference,
}

/// The lab on a GPU. `mine` is one's own shader.
pub fn lab(settings: &Settings, mine: Option<Step>) -> Outcome<Lab> {
    let problem = Problem::new(settings)?;
    let device = settings.device;
    let on = OnGpu {
        s: problem.s,
        device,
        operands: [problem.a.to_device(device)?, problem.b.to_device(device)?],
        reference: Reference::new(&problem.a, &problem.b)?,
    };
    let product = Arc::new(vec![on.reference.product()?]);
    let ready = |step: &Step, how: &How| -> Ready {
        if let Some(why) = on.cannot(*how) {
            return Ok(Err(why));
        }
        let expected = match how {
            How::Half(_) => Arc::new(vec![on.reference.rounded(Rounding::F16)?]),
            _ => product.clone(),
        };
        Ok(Ok((expected, on.run(step, *how)?)))
    };
    let mine = mine.map(|mine| (mine, How::Shader { fours: false }));
    let (candidates, missing) = family::candidates(STEPS, mine, ready)?;
    Ok(Lab { title: problem.title(), work: problem.work(), candidates, missing })
}

impl OnGpu {
    /// Why a step does not run here.
    fn cannot(&self, how: How) -> Option<String> {
        let Sizes { k, n, .. } = self.s;
        match how {
            How::Shader { fours: true } if n % 4 != 0 => {
                Some(format!("reads fours, and n, {n}, is no multiple of 4"))
            }
            How::Checked if n % 4 != 0 || k % 4 != 0 => {
                Some(format!("reads fours, and k, {k}, or n, {n}, is no multiple of 4"))
            }
            How::Half(_) => {
                let has = machine::gpu(self.device).is_some_and(|gpu| {
                    gpu.features.f16 && !gpu.features.cooperative_matrix.is_empty()
                });
                (!has).then(|| "this device lists no cooperative matrices of f16".into())
            }
            _ => None,
        }
    }

    fn run(&self, step: &Step, how: How) -> Outcome<Box<dyn Run>> {
        let [a, b] = self.operands.clone();
        Ok(match how {
            How::Shader { .. } => {
                self.shader(shader::parse(step.source.path, step.source.text)?)?
            }
            How::Checked => {
                let (tiles, arguments) = checked::arguments(self.s);
                let passes = vec![("matmul".to_string(), [tiles, 1, 1])];
                let text = shader::parse(SHIPPED, &checked::text())?;
                Box::new(Shader::with_passes(text, passes, self.buffers(arguments))?)
            }
            How::Product(f) => Box::new(Tensors::new(move || Ok(vec![f(&a, &b)?]))),
            How::Half(f) => {
                let (a, b) = (a.to_dtype(DType::F16)?, b.to_dtype(DType::F16)?);
                Box::new(Tensors::new(move || Ok(vec![f(&a, &b)?])))
            }
        })
    }

    /// A shader with the buffers a, b and c, and the arguments m, k and n.
    fn shader(&self, text: Arc<UserShader>) -> Outcome<Box<dyn Run>> {
        let Sizes { m, k, n } = self.s;
        let arguments = [m, k, n].map(|size| size as u32).to_vec();
        Ok(Box::new(Shader::new(text, (m, n), self.buffers(arguments))?))
    }

    fn buffers(&self, arguments: Vec<u32>) -> Buffers<'_> {
        let outputs = vec![self.s.m * self.s.n];
        Buffers { device: self.device, inputs: &self.operands, outputs, results: 1, arguments }
    }
}
