//! What a task brings to the training loop: examples, a loss, and metrics.

use gradus_autograd::Var;
use gradus_nn::Forward;

use crate::Result;
use crate::evaluation::{Evaluation, Metric};

/// A task to train for.
///
/// Training examples have numbers from 0. A task whose examples do not fit in memory shows them
/// through [`windows`](Task::windows): parts of an epoch, one of which is open at a time.
pub trait Task: Send + Sync {
    /// Examples with their answers, for evaluations.
    type Set;

    /// Tokens of each training example of the open window. Batches hold examples of similar length.
    fn lengths(&self) -> &[usize];

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

    /// The numbers that an evaluation gives, the loss aside. The first decides which model is best,
    /// unless the run names another.
    fn metrics(&self) -> &'static [Metric];

    /// Evaluates the current weights on `set`, without recording a graph. `progress` is called with
    /// the number of examples done and the number of all.
    ///
    /// # Errors
    /// When an operation fails.
    fn evaluate(
        &self,
        set: &Self::Set,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Evaluation>;

    /// Examples of one epoch; an estimate where there are several windows.
    fn examples(&self) -> usize {
        self.lengths().len()
    }

    /// The number of windows of an epoch.
    fn windows(&self) -> usize {
        1
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
