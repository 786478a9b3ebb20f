//! The modules after the encoder of a sentence-transformers model, with their weights.

use gradus_autograd::Var;
use gradus_nn::{Init, LayerNorm, Linear, Store};
use gradus_tensor::Device;

use crate::bert::{Pooled, mean_pool, normalize};
use crate::folder::{Dense, DenseActivation, Stage};
use crate::{BertInput, Checkpoint, Error, Pooling, Result};

/// The steps from the tokens' states to a vector.
pub(super) struct Stages {
    steps: Vec<Step>,
    /// Weights of the steps.
    stores: Vec<Store>,
    /// Numbers of a vector.
    pub width: usize,
}

enum Step {
    Pool { modes: Vec<Pooling>, include_prompt: bool },
    Dense { linear: Linear, activation: Option<DenseActivation>, residual: Residual },
    LayerNorm(LayerNorm),
    Normalize,
}

/// What a Dense module adds to its output.
enum Residual {
    Nothing,
    Input,
    Projected(Linear),
}

impl Stages {
    /// Reads the weights of the stages, for states of `hidden` numbers.
    ///
    /// # Errors
    /// When weights are missing, or a stage does not fit the one before it.
    pub fn open(stages: &[Stage], hidden: usize) -> Result<Stages> {
        let mut all = Stages { steps: Vec::new(), stores: Vec::new(), width: hidden };
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
                Stage::Dense(dense) => all.dense(dense)?,
                Stage::LayerNorm { folder, width } => {
                    let store = all.store(folder, *width)?;
                    // PyTorch's ε.
                    let norm = LayerNorm::new(&store.root().join("norm"), *width, 1e-5)?;
                    all.keep(store, folder)?;
                    Step::LayerNorm(norm)
                }
                Stage::Normalize => Step::Normalize,
            };
            all.steps.push(step);
        }
        Ok(all)
    }

    fn dense(&mut self, dense: &Dense) -> Result<Step> {
        let store = self.store(&dense.folder, dense.inputs)?;
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
        self.keep(store, &dense.folder)?;
        self.width = dense.outputs;
        Ok(Step::Dense { linear, activation: dense.activation, residual })
    }

    /// The weights in a module's folder, for vectors of `inputs` numbers.
    fn store(&self, folder: &std::path::Path, inputs: usize) -> Result<Store> {
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

    /// Keeps the weights of a module, of which none may be missing.
    fn keep(&mut self, store: Store, folder: &std::path::Path) -> Result<()> {
        if let Some(name) = store.missing().first() {
            return Err(Error::Checkpoint {
                path: folder.join("model.safetensors"),
                message: format!("has no `{name}`"),
            });
        }
        self.stores.push(store);
        Ok(())
    }

    /// Moves the weights.
    pub fn to_device(&self, device: Device) -> Result<()> {
        Ok(self.stores.iter().try_for_each(|store| store.to_device(device))?)
    }

    /// Whether the vectors come with length 1.
    pub fn normalizes(&self) -> bool {
        matches!(self.steps.last(), Some(Step::Normalize))
    }

    /// Leaves the vectors as long as they come before a last Normalize.
    pub fn without_normalize(&mut self) {
        if self.normalizes() {
            self.steps.pop();
        }
    }

    /// Vectors `[sequences, width]` of states `[tokens, hidden]`; `prompts` counts the tokens of
    /// each sequence's prompt.
    pub fn forward(&self, states: &Var, input: &BertInput, prompts: &[usize]) -> Result<Var> {
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

fn pool(states: &Var, input: &BertInput, modes: &[Pooling], left_out: &[usize]) -> Result<Var> {
    if modes == [Pooling::Mean] && left_out.iter().all(|&n| n == 0) {
        return mean_pool(states, input);
    }
    let pooled = Pooled::new(input, left_out)?;
    let vectors: Vec<Var> =
        modes.iter().map(|&mode| pooled.pool(states, mode)).collect::<Result<_>>()?;
    match vectors.as_slice() {
        [one] => Ok(one.clone()),
        several => Ok(Var::cat(&several.iter().collect::<Vec<_>>(), -1)?),
    }
}
