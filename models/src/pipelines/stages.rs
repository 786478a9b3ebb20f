//! The modules after the encoder of a sentence-transformers model, with their weights.

use std::path::Path;

use gradus_autograd::Var;
use gradus_nn::{Init, LayerNorm, Linear, Store};

use crate::encoder::{normalize, pool};
use crate::folder::{Dense, DenseActivation, Stage};
use crate::{Checkpoint, EncoderInput, Error, Pooling, Result};

/// The steps from the tokens' states to a vector.
pub(super) struct Stages {
    steps: Vec<Step>,
    /// Numbers of a vector.
    pub width: usize,
}

enum Step {
    Pool { modes: Vec<Pooling>, include_prompt: bool },
    Dense { linear: Linear, activation: Option<DenseActivation>, residual: Residual },
    LayerNorm(LayerNorm),
    Normalize,
}

/// The vector that a Dense module adds to its output.
enum Residual {
    Nothing,
    Input,
    Projected(Linear),
}

impl Stages {
    /// Reads the weights of the stages, for states of `hidden` numbers; the stores hold them.
    ///
    /// # Errors
    /// When weights are missing, or a stage does not fit the one before it.
    pub fn open(stages: &[Stage], hidden: usize) -> Result<(Stages, Vec<Store>)> {
        let (mut all, mut stores) = (Stages { steps: Vec::new(), width: hidden }, Vec::new());
        for (i, stage) in stages.iter().enumerate() {
            let step = match stage {
                Stage::Pool { .. } if i > 0 => {
                    return Err(Error::Input(
                        "modules.json lists a Pooling after another module".into(),
                    ));
                }
                Stage::Pool { modes, include_prompt } => {
                    all.width = hidden * modes.len();
                    Step::Pool { modes: modes.clone(), include_prompt: *include_prompt }
                }
                _ if i == 0 => {
                    return Err(Error::Input(
                        "modules.json lists no Pooling after the Transformer".into(),
                    ));
                }
                Stage::Dense(dense) => {
                    let store = all.store(&dense.folder, dense.inputs)?;
                    let step = all.dense(dense, &store)?;
                    stores.push(complete(store, &dense.folder)?);
                    step
                }
                Stage::LayerNorm { folder, width } => {
                    let store = all.store(folder, *width)?;
                    // PyTorch's ε.
                    let norm = LayerNorm::new(&store.root().join("norm"), *width, 1e-5)?;
                    stores.push(complete(store, folder)?);
                    Step::LayerNorm(norm)
                }
                Stage::Normalize => Step::Normalize,
            };
            all.steps.push(step);
        }
        Ok((all, stores))
    }

    fn dense(&mut self, dense: &Dense, store: &Store) -> Result<Step> {
        let layer = |name: &str, bias: bool| {
            let path = store.root().join(name);
            match bias {
                true => Linear::new(&path, dense.inputs, dense.outputs, Init::Zeros),
                false => Linear::no_bias(&path, dense.inputs, dense.outputs, Init::Zeros),
            }
        };
        let linear = layer("linear", dense.bias)?;
        let residual = match (dense.residual, dense.inputs == dense.outputs) {
            (false, _) => Residual::Nothing,
            (true, true) => Residual::Input,
            (true, false) => Residual::Projected(layer("residual", false)?),
        };
        self.width = dense.outputs;
        Ok(Step::Dense { linear, activation: dense.activation, residual })
    }

    /// The weights in a module's folder, for vectors of `inputs` numbers.
    fn store(&self, folder: &Path, inputs: usize) -> Result<Store> {
        if inputs != self.width {
            return Err(Error::config(
                folder.join("config.json"),
                format!("takes {inputs} numbers, but the module before it gives {}", self.width),
            ));
        }
        if !folder.join("model.safetensors").is_file() {
            return Err(Error::Checkpoint {
                path: folder.to_path_buf(),
                message: "has no model.safetensors; save the model again with a current sentence-transformers"
                    .into(),
            });
        }
        Ok(Store::with_source(0, Checkpoint::open(folder)?))
    }

    /// Removes a last Normalize. Returns whether there was one.
    pub fn take_normalize(&mut self) -> bool {
        self.steps.pop_if(|step| matches!(step, Step::Normalize)).is_some()
    }

    /// Vectors `[sequences, width]` of states `[tokens, hidden]`; `prompts` counts the tokens of
    /// each sequence's prompt.
    pub fn forward(&self, states: &Var, input: &EncoderInput, prompts: &[usize]) -> Result<Var> {
        self.steps.iter().try_fold(states.clone(), |x, step| match step {
            Step::Pool { modes, include_prompt } => {
                let left_out: &[usize] = if *include_prompt { &[] } else { prompts };
                pool(&x, input, modes, left_out)
            }
            Step::Dense { linear, activation, residual } => {
                let y = linear.forward(&x)?;
                let y = match activation {
                    None => y,
                    Some(DenseActivation::Sigmoid) => y.sigmoid()?,
                    Some(DenseActivation::Of(activation)) => activation.forward(&y)?,
                };
                Ok(match residual {
                    Residual::Nothing => y,
                    Residual::Input => y.add(&x)?,
                    Residual::Projected(projection) => y.add(&projection.forward(&x)?)?,
                })
            }
            Step::LayerNorm(norm) => Ok(norm.forward(&x)?),
            Step::Normalize => normalize(&x),
        })
    }
}

/// Checks that no weight of a module is missing.
fn complete(store: Store, folder: &Path) -> Result<Store> {
    match store.missing().first() {
        None => Ok(store),
        Some(name) => Err(Error::Checkpoint {
            path: folder.join("model.safetensors"),
            message: format!("has no `{name}`"),
        }),
    }
}
