//! What a task brings to the training loop: examples, a loss, and metrics.

use std::path::Path;

use gradus_autograd::Var;
use gradus_nn::{Forward, Store};

use crate::Result;
use crate::evaluation::{Evaluation, Examiner, Metric};
use crate::folder::SentenceSettings;

/// The tokens that a model reads as one sequence.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReadTokens {
    /// Their ids.
    pub ids: Vec<u32>,
    /// What the sequence should become: a label.
    pub target: Option<String>,
}

/// A task to train for.
///
/// Training examples have numbers from 0. A task whose examples do not fit in memory shows them
/// through [`windows`](Task::windows): parts of an epoch, one of which is open at a time.
pub trait Task: Send + Sync {
    /// Examples with their answers, for evaluations.
    type Set;
    /// What an evaluation finds of each example, for a report; `()` where nothing is told.
    type Findings: Send;

    /// Tokens of each training example of the open window.
    fn lengths(&self) -> &[usize];

    /// What the model reads of a batch of training examples, one sequence after another, for a
    /// [trace](mod@gradus_autograd::trace); nothing where a task does not tell. `labels` are the
    /// names of its labels.
    fn sequences(&self, _batch: &[usize], _labels: &[String]) -> Vec<ReadTokens> {
        Vec::new()
    }

    /// How many terms [`loss`](Task::loss) is the mean of: examples, tokens with a label, or the sum
    /// of their weights. A step of several batches weighs each by its terms, so that it is the mean
    /// over all of them.
    fn terms(&self, batch: &[usize]) -> f64 {
        batch.len() as f64
    }

    /// The mean loss over the examples `batch`, a scalar.
    ///
    /// # Errors
    /// When an operation fails.
    fn loss(&self, batch: &[usize], forward: &Forward) -> Result<Var>;

    /// Whether a batch may be cut into smaller ones that are weighed by their terms. Not if an
    /// example's loss depends on the others of its batch.
    fn can_split(&self) -> bool {
        true
    }

    /// Whether a parameter belongs to the head, which may have a rate of its own.
    fn is_head(&self, name: &str) -> bool;

    /// Parameters that are trained beside the model and are no part of it, such as a projection that
    /// only the loss uses. Checkpoints hold them, the model's folder does not. Their names are none
    /// of the model's.
    fn beside(&self) -> Option<&Store> {
        None
    }

    /// The numbers that an evaluation gives, the loss aside. The first decides which model is best,
    /// unless the run names another.
    fn metrics(&self) -> &'static [Metric];

    /// Evaluates the current weights on `set`, without recording a graph, and tells what it finds of
    /// each example. `examiner` hears how far it is, such as a closure with the number of examples
    /// done and the number of all; with ranks that share the evaluation each computes a part.
    ///
    /// # Errors
    /// When an operation fails.
    fn examine(
        &self,
        set: &Self::Set,
        examiner: &mut dyn Examiner,
    ) -> Result<(Evaluation, Self::Findings)>;

    /// The numbers of [`examine`](Task::examine).
    ///
    /// # Errors
    /// When an operation fails.
    fn evaluate(&self, set: &Self::Set, examiner: &mut dyn Examiner) -> Result<Evaluation> {
        Ok(self.examine(set, examiner)?.0)
    }

    /// Examples of one epoch; an estimate where there are several windows.
    fn examples(&self) -> usize {
        self.lengths().len()
    }

    /// The number of windows of an epoch.
    fn windows(&self) -> usize {
        1
    }

    /// The fewest examples of a batch that can be learnt from. The short batch of an epoch gets as
    /// many where that is possible.
    fn least_batch(&self) -> usize {
        1
    }

    /// The loss of a step over all of its batches, where that is not the mean of theirs.
    fn step_loss(&self) -> Option<&dyn StepLoss> {
        None
    }

    /// Writes the files that a model folder of this task has beside its configuration, tokenizer
    /// and weights, and removes those of an earlier model that would make it one of another task.
    ///
    /// # Errors
    /// When a file cannot be written or removed.
    fn write_files(&self, folder: &Path) -> Result<()> {
        SentenceSettings::remove(folder)
    }

    /// Opens a window of an epoch: [`lengths`](Task::lengths) is then about its examples. The same
    /// window of the same epoch always has the same examples.
    ///
    /// # Errors
    /// When the examples cannot be read.
    fn open_window(&mut self, _epoch: u64, _window: usize) -> Result<()> {
        Ok(())
    }
}

/// A loss over all batches of a step that compares them with each other.
///
/// The step does not hold the graphs of all batches at once (Gao et al., arXiv:2101.06983): it
/// represents each batch without a graph, takes the gradient of the loss with respect to the
/// representations, then represents each batch again and goes back from its gradient. Both times
/// the batch has the same dropout.
pub trait StepLoss {
    /// What the loss needs to know of a batch.
    ///
    /// # Errors
    /// When an operation fails.
    fn represent(&self, batch: &[usize], forward: &Forward) -> Result<Var>;

    /// The loss of a step, a scalar, from the representation of each of its batches.
    ///
    /// # Errors
    /// When an operation fails.
    fn loss_of(&self, batches: &[&[usize]], represented: &[Var]) -> Result<Var>;
}
