//! What a family of steps is: a problem with its reference, and candidates that solve it.

use std::sync::Arc;

use gradus_cli::{Failure, Outcome};
use gradus_tensor::{DType, Device, RngKey, Tensor};

use crate::check::Expected;
use crate::step::Step;

/// An operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    Matmul,
    Softmax,
    LayerNorm,
    Attention,
}

/// The steps of a table, without how they compute.
pub fn steps<H>(table: &[(Step, H)]) -> Vec<Step> {
    table.iter().map(|(step, _)| *step).collect()
}

/// What a step must give, and what runs it; or why it does not run here.
pub type Ready = Outcome<Result<(Arc<Vec<Expected>>, Box<dyn Run>), String>>;

/// The steps of `table` that run here and those that do not, then one's own shader. `ready` makes a
/// step ready.
pub fn candidates<H>(
    table: &[(Step, H)],
    mine: Option<(Step, H)>,
    ready: impl Fn(&Step, &H) -> Ready,
) -> Outcome<(Vec<Candidate>, Vec<Missing>)> {
    let numbered = (1..).map(Some).zip(table);
    let (mut candidates, mut missing) = (Vec::new(), Vec::new());
    for (number, (step, how)) in numbered.chain(mine.iter().map(|mine| (None, mine))) {
        match (ready(step, how)?, number) {
            (Ok((expected, run)), _) => {
                candidates.push(Candidate { number, step: *step, expected, run });
            }
            (Err(why), Some(number)) => missing.push((number, *step, why)),
            (Err(why), None) => return Err(Failure::error(why)),
        }
    }
    Ok((candidates, missing))
}

impl Family {
    pub const ALL: [Family; 4] =
        [Family::Matmul, Family::Softmax, Family::LayerNorm, Family::Attention];

    /// Its subcommand.
    pub fn name(self) -> &'static str {
        match self {
            Family::Matmul => "matmul",
            Family::Softmax => "softmax",
            Family::LayerNorm => "layer-norm",
            Family::Attention => "attention",
        }
    }

    /// The operation, and what `--size` is.
    pub fn about(self) -> &'static str {
        match self {
            Family::Matmul => "C = A·B; --size N or MxKxN [768]",
            Family::Softmax => "softmax of rows; --size N or ROWSxN [4096x512]",
            Family::LayerNorm => "layer norm and its backward; --size N or ROWSxN [4096x768]",
            Family::Attention => {
                "attention and its backward; --size N or HEADSxNxD [4x512x64; 4x256x64 on software GPUs]"
            }
        }
    }

    /// Its steps, for `--show` and `list`.
    pub fn steps(self, on_gpu: bool) -> Vec<Step> {
        match self {
            Family::Matmul => crate::matmul::steps(on_gpu),
            Family::Softmax => crate::softmax::steps(on_gpu),
            Family::LayerNorm => crate::layer_norm::steps(on_gpu),
            Family::Attention => crate::attention::steps(on_gpu),
        }
    }

    /// The lab. `mine` is one's own shader.
    pub fn lab(self, settings: &Settings, mine: Option<Step>) -> Outcome<Lab> {
        match self {
            Family::Matmul => crate::matmul::lab(settings, mine),
            Family::Softmax => crate::softmax::lab(settings, mine),
            Family::LayerNorm => crate::layer_norm::lab(settings, mine),
            Family::Attention => crate::attention::lab(settings, mine),
        }
    }
}

/// The work of a problem, which no step can avoid.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    /// Floating-point operations; 0 where memory is the limit of the operation.
    pub flops: f64,
    /// Bytes of all inputs and outputs, each once.
    pub bytes: f64,
}

/// Solves a problem, again and again.
pub trait Run: Send {
    /// Solves it once. On a GPU this only records the work.
    fn run(&mut self) -> Outcome;

    /// What the last run gave.
    fn outputs(&mut self) -> Outcome<Vec<Vec<f32>>>;

    /// Makes an output that is not written show itself: fills them with NaN.
    fn spoil(&mut self) -> Outcome;
}

/// A step that can be checked and timed.
pub struct Candidate {
    /// Its number in the family; `None` for one's own kernel.
    pub number: Option<usize>,
    pub step: Step,
    pub expected: Arc<Vec<Expected>>,
    pub run: Box<dyn Run>,
}

/// A family on one device, at one size.
pub struct Lab {
    /// The operation and the sizes.
    pub title: String,
    pub work: Work,
    pub candidates: Vec<Candidate>,
    /// Steps that do not run here, with the reason.
    pub missing: Vec<Missing>,
}

/// A step that does not run here: its number, and why.
pub type Missing = (usize, Step, String);

/// A step of the CPU over slices: it writes the outputs, which it keeps.
pub struct Slices<F> {
    outputs: Vec<Vec<f32>>,
    f: F,
}

impl<F: FnMut(&mut [Vec<f32>]) + Send> Slices<F> {
    /// `sizes` are those of the outputs.
    pub fn new(sizes: &[usize], f: F) -> Self {
        Slices { outputs: sizes.iter().map(|&size| vec![0.0; size]).collect(), f }
    }
}

impl<F: FnMut(&mut [Vec<f32>]) + Send> Run for Slices<F> {
    fn run(&mut self) -> Outcome {
        (self.f)(&mut self.outputs);
        Ok(())
    }

    fn outputs(&mut self) -> Outcome<Vec<Vec<f32>>> {
        Ok(self.outputs.clone())
    }

    fn spoil(&mut self) -> Outcome {
        self.outputs.iter_mut().for_each(|output| output.fill(f32::NAN));
        Ok(())
    }
}

/// A step that calls the engine.
pub struct Tensors<F> {
    last: Vec<Tensor>,
    f: F,
}

impl<F: FnMut() -> gradus_tensor::Result<Vec<Tensor>> + Send> Tensors<F> {
    pub fn new(f: F) -> Self {
        Tensors { last: Vec::new(), f }
    }
}

impl<F: FnMut() -> gradus_tensor::Result<Vec<Tensor>> + Send> Run for Tensors<F> {
    fn run(&mut self) -> Outcome {
        // Dropped first, so that its memory serves again.
        self.last.clear();
        self.last = (self.f)()?;
        Ok(())
    }

    fn outputs(&mut self) -> Outcome<Vec<Vec<f32>>> {
        let read = |x: &Tensor| Ok(x.to_dtype(DType::F32)?.to_vec::<f32>()?);
        self.last.iter().map(read).collect()
    }

    fn spoil(&mut self) -> Outcome {
        self.last.clear();
        Ok(())
    }
}

/// Where and how large: what every family gets.
pub struct Settings {
    pub device: Device,
    /// The numbers of `--size`; empty for the family's own.
    pub size: Vec<usize>,
    pub seed: u64,
}

impl Settings {
    /// Normal random numbers of the place `name`, on the CPU.
    pub fn normal(&self, name: &str, shape: &[usize]) -> Outcome<Tensor> {
        Ok(Tensor::randn(shape, DType::F32, RngKey::new(self.seed).place(name))?)
    }

    /// The sizes: those given, or those that `one` makes of a single number (`default` without
    /// one). `what` names them.
    pub fn sizes<const N: usize>(
        &self,
        what: &str,
        default: usize,
        one: impl Fn(usize) -> [usize; N],
    ) -> Outcome<[usize; N]> {
        let sizes = match self.size[..] {
            [] => one(default),
            [number] => one(number),
            _ => self.size[..].try_into().map_err(|_| {
                let count = self.size.len();
                Failure::usage(format!("--size has {count} numbers; it is N or {what}"))
            })?,
        };
        match sizes.contains(&0) {
            true => Err(Failure::usage("--size must be above 0")),
            false => Ok(sizes),
        }
    }
}
