//! A step that tells everything: what its operations computed, and what the optimiser made of it.

use gradus_autograd::Gradients;
use gradus_autograd::trace::{Sequence, Trace, Update, UpdatedParameter, UpdatedWeight, trace};
use gradus_nn::Parameter;
use gradus_tensor::Tensor;

use super::trainer::{BETAS, EPS, MOMENTUM};
use super::{OptimizerKind, ReadTokens, Step, Task, Trainer};
use crate::{Result, Tokenizer};

/// How many weights are shown with their update.
const SHOWN_WEIGHTS: usize = 3;

/// A step and what is known of it.
pub struct TracedStep {
    /// The step.
    pub step: Step,
    /// Its operations.
    pub trace: Trace,
    /// What the optimiser did with the gradients.
    pub update: Update,
    /// The texts of the step, in the order in which the model read them, as far as the task tells.
    pub texts: Vec<Sequence>,
}

/// A parameter before a step.
struct Before {
    parameter: Parameter,
    value: Tensor,
    lr: f64,
    weight_decay: f64,
    betas: Option<(f64, f64)>,
}

impl<T: Task> Trainer<T> {
    /// One optimiser step as [`step`](Trainer::step), traced: the weights after it are the same to
    /// the last bit. It takes longer, and the memory of a second copy of the trained weights. `labels`
    /// are the names of the task's labels, and `tokenizer` spells its tokens.
    ///
    /// # Errors
    /// As [`step`](Trainer::step); when this thread is making a trace already.
    pub fn traced_step(
        &mut self,
        labels: &[String],
        tokenizer: &Tokenizer,
    ) -> Result<Option<TracedStep>> {
        let before = self.before();
        let factor = self.schedule.factor(self.step);
        let kept = std::mem::replace(&mut self.keeps_gradients, true);
        // A trace belongs to a thread: all of the step runs on this one of the pool.
        let traced = rayon::scope(|_| trace(|| Ok(self.step())));
        self.keeps_gradients = kept;
        let (step, trace) = traced?;
        let Some(step) = step? else { return Ok(None) };
        let gradients = match kept {
            true => self.kept.clone(),
            false => self.kept.take(),
        };
        let update = self.update(&before, gradients.as_ref(), &step, factor)?;
        let read = step.read.iter().flat_map(|batch| self.task.sequences(batch, labels));
        let texts = read.map(|read| spelt(read, tokenizer)).collect();
        Ok(Some(TracedStep { step, trace, update, texts }))
    }

    /// The trained parameters with their values, which the step leaves as they are: it copies what
    /// somebody else holds.
    fn before(&self) -> Vec<Before> {
        let groups = self.optimizer.groups().iter();
        let all = groups.flat_map(|group| group.params.iter().map(move |p| (group, p)));
        all.filter(|(_, parameter)| parameter.trainable())
            .map(|(group, parameter)| Before {
                parameter: parameter.clone(),
                value: parameter.tensor(),
                lr: group.lr,
                weight_decay: group.weight_decay,
                betas: group.betas,
            })
            .collect()
    }

    fn update(
        &self,
        before: &[Before],
        gradients: Option<&Gradients>,
        step: &Step,
        factor: f64,
    ) -> Result<Update> {
        let mut update = Update {
            optimizer: match self.recipe.optimizer {
                OptimizerKind::AdamW => "AdamW".into(),
                OptimizerKind::Adam => "Adam".into(),
                OptimizerKind::Sgd => "SGD".into(),
            },
            // The first number of a verdict.
            scale: step.verdict.to_f64_vec().first().copied().unwrap_or(1.0),
            ..Update::default()
        };
        let state = self.optimizer.state()?;
        let state = |buffer: &str, name: &str| {
            let key = format!("{buffer}.{name}");
            state.iter().find(|(name, _)| *name == key).map(|(_, tensor)| tensor)
        };
        for parameter in before {
            let (name, after) = (parameter.parameter.name(), parameter.parameter.tensor());
            let norm = |x: &Tensor| x.to_f64_vec().iter().map(|x| x * x).sum::<f64>().sqrt();
            update.parameters.push(UpdatedParameter {
                name: name.to_string(),
                norm: norm(&parameter.value),
                change: norm(&after.sub(&parameter.value)?),
                lr: parameter.lr * factor,
                weight_decay: parameter.weight_decay,
            });
        }
        // Of the last layers first: their gradients are the easiest to follow.
        for parameter in before.iter().rev().filter(|parameter| parameter.value.rank() == 2) {
            if update.weights.len() == SHOWN_WEIGHTS {
                break;
            }
            let gradient = gradients.and_then(|all| parameter.parameter.grad(all));
            let Some(gradient) = gradient else { continue };
            let (name, after) = (parameter.parameter.name(), parameter.parameter.tensor());
            let count = state("step", name).map_or(1.0, |count| count.to_f64_vec()[0]);
            let weight = parameter.weight(gradient, &after, factor, count);
            update.weights.push(with_state(weight, &self.recipe.optimizer, state));
        }
        Ok(update)
    }
}

impl Before {
    /// What happened to the number with the largest gradient.
    fn weight(&self, gradient: &Tensor, after: &Tensor, factor: f64, step: f64) -> UpdatedWeight {
        let gradients = gradient.to_f64_vec();
        let larger = |best: usize, i: usize| match gradients[i].abs() > gradients[best].abs() {
            true => i,
            false => best,
        };
        let index = (0..gradients.len()).fold(0, larger);
        let at = |tensor: &Tensor| tensor.to_f64_vec()[index];
        let mut settings = vec![
            ("lr".to_string(), self.lr * factor),
            ("weight_decay".into(), self.weight_decay),
            ("step".into(), step),
        ];
        if let Some((beta1, beta2)) = self.betas {
            settings.extend([("beta1".into(), beta1), ("beta2".into(), beta2)]);
        }
        UpdatedWeight {
            name: self.parameter.name().to_string(),
            index,
            before: at(&self.value),
            gradient: gradients[index],
            state: Vec::new(),
            settings,
            after: at(after),
        }
    }
}

/// What was read, in the tokens of the vocabulary.
fn spelt(read: ReadTokens, tokenizer: &Tokenizer) -> Sequence {
    let token = |&id: &u32| tokenizer.token(id).unwrap_or_else(|| id.to_string());
    let tokens = read.ids.iter().map(token).collect();
    Sequence { text: String::new(), tokens, target: read.target }
}

/// Adds what the optimiser keeps of a number, and its settings.
fn with_state<'t>(
    mut weight: UpdatedWeight,
    optimizer: &OptimizerKind,
    state: impl Fn(&str, &str) -> Option<&'t Tensor>,
) -> UpdatedWeight {
    let given: &[(&str, f64)] = match optimizer {
        OptimizerKind::Sgd => &[("momentum", MOMENTUM)],
        OptimizerKind::AdamW | OptimizerKind::Adam => {
            &[("beta1", BETAS.0), ("beta2", BETAS.1), ("eps", EPS)]
        }
    };
    for (name, value) in given {
        if weight.settings.iter().all(|(own, _)| own != name) {
            weight.settings.push((name.to_string(), *value));
        }
    }
    for buffer in ["exp_avg", "exp_avg_sq", "momentum_buffer"] {
        if let Some(tensor) = state(buffer, &weight.name) {
            weight.state.push((buffer.to_string(), tensor.to_f64_vec()[weight.index]));
        }
    }
    weight
}
