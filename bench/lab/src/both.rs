//! Operations with their backward pass: four operands to four results, in one run.

use std::sync::Arc;

use gradus_tensor::ops::shader::UserShader;
use gradus_tensor::{Device, Result, Tensor};

use crate::check::Expected;
use crate::family::{self, Candidate, Missing, Ready, Run, Slices, Tensors};
use crate::shader::{self, Buffers, Shader};
use crate::step::Step;

/// An operation at one size.
pub trait Both: Sized + Send + Sync + 'static {
    /// The operands, on the device.
    fn operands(&self) -> &[Tensor; 4];

    /// How many numbers each result has.
    fn sizes(&self) -> [usize; 4];

    /// What shaders get besides.
    fn for_shaders(&self) -> ForShaders;

    /// Why a shader cannot have this size; its text's constants may say so.
    fn too_large_for(&self, _: &UserShader) -> Option<String> {
        None
    }
}

/// What shaders get besides operands and results.
pub struct ForShaders {
    /// Their `var<immediate>`.
    pub arguments: Vec<u32>,
    /// Rows and columns, which workgroups share out.
    pub sizes: (usize, usize),
    /// Sizes of buffers for what is neither operand nor result.
    pub more: Vec<usize>,
}

/// How a step computes.
pub enum How<P: Both> {
    /// From the problem to the four results.
    Slices(fn(&P, [&mut [f32]; 4])),
    /// The engine.
    Engine(fn(&P) -> Result<Vec<Tensor>>),
    /// A shader of the lab, or one's own.
    Shader,
}

/// The steps of `table`, and one's own shader, on `device`.
pub fn candidates<P: Both>(
    (problem, expected): (P, Vec<Expected>),
    device: Device,
    table: &[(Step, How<P>)],
    mine: Option<Step>,
) -> gradus_cli::Outcome<(Vec<Candidate>, Vec<Missing>)> {
    let (problem, expected) = (Arc::new(problem), Arc::new(expected));
    let ready = |step: &Step, how: &How<P>| -> Ready {
        let problem = problem.clone();
        let run: Box<dyn Run> = match *how {
            How::Slices(f) => Box::new(Slices::new(&problem.sizes(), move |all| {
                if let [a, b, c, d] = all {
                    f(&problem, [a, b, c, d].map(|x| &mut x[..]));
                }
            })),
            How::Engine(f) => Box::new(Tensors::new(move || f(&problem))),
            How::Shader => {
                let ForShaders { arguments, sizes, more } = problem.for_shaders();
                let outputs = [&problem.sizes()[..], &more].concat();
                let inputs = problem.operands();
                let buffers = Buffers { device, inputs, outputs, results: 4, arguments };
                let text = shader::parse(step.source.path, step.source.text)?;
                if let Some(why) = problem.too_large_for(&text) {
                    return Ok(Err(why));
                }
                Box::new(Shader::new(text, sizes, buffers)?)
            }
        };
        Ok(Ok((expected.clone(), run)))
    };
    family::candidates(table, mine.map(|mine| (mine, How::Shader)), ready)
}
