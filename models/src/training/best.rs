//! The best model of a run, by its evaluations on the dev set, and early stopping.

use gradus_nn::Parameter;
use gradus_tensor::Tensor;

use super::{Task, Trainer};
use crate::Result;
use crate::evaluation::Evaluation;

/// The best model of a run so far.
pub struct Best {
    /// Its evaluation.
    pub result: Evaluation,
    /// The step after which it was the model.
    pub step: u64,
    /// Evaluations since then; those during warm-up do not count.
    pub stale: usize,
    /// Its trained parameters; the others never change.
    pub(super) values: Vec<(Parameter, Tensor)>,
}

impl<T: Task> Trainer<T> {
    /// Records an evaluation of the current weights on the dev set, and keeps the weights if they
    /// are the best so far (see [`Evaluation::better_than`]). [`best`](Trainer::best) is saved and
    /// resumed with the run.
    pub fn evaluated(&mut self, result: Evaluation) {
        if result.better_than(self.best.as_ref().map(|best| &best.result), &self.metric) {
            let values = self.trained().map(|p| (p.clone(), p.tensor())).collect();
            self.best = Some(Best { result, step: self.step, stale: 0, values });
        } else if let Some(best) = &mut self.best
            && self.step > self.warmup
        {
            best.stale += 1;
        }
    }

    /// The best model so far; `None` before the first evaluation.
    pub fn best(&self) -> Option<&Best> {
        self.best.as_ref()
    }

    /// Exchanges the weights of the model and of the best one: called twice, everything is as
    /// before.
    ///
    /// # Errors
    /// When a device cannot take the weights.
    pub fn swap_best(&mut self) -> Result<()> {
        if let Some(best) = &mut self.best {
            for (parameter, value) in &mut best.values {
                let present = parameter.tensor();
                parameter.set(std::mem::replace(value, present))?;
            }
        }
        Ok(())
    }
}
