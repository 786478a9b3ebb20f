//! The order of the examples: epochs, their windows, and the batches of a window.

use serde::{Deserialize, Serialize};

use super::{Recipe, Task};
use crate::batch::batches_of_at_least;
use crate::{Error, Result};

/// A place in the order of the examples: the next batch to be taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    pub epoch: u64,
    /// The window of the epoch.
    pub window: usize,
    /// The batch of the window.
    pub batch: usize,
}

impl Place {
    /// The place after `step` steps of a task with one window.
    pub fn after(step: u64, steps_per_epoch: u64, accumulate: usize) -> Place {
        let batch = (step % steps_per_epoch) as usize * accumulate;
        Place { epoch: step / steps_per_epoch, window: 0, batch }
    }
}

/// The batches of the open window, and the place in it.
#[derive(Default)]
pub(super) struct Order {
    pub place: Place,
    /// The batches of the window, once it is open.
    batches: Option<Vec<Vec<usize>>>,
}

impl Order {
    /// Goes to another place.
    pub fn seek(&mut self, place: Place) {
        *self = Order { place, batches: None };
    }

    /// The batches of the next step: `recipe.accumulate`, or fewer at the end of a window. Windows
    /// without examples are passed over.
    ///
    /// # Errors
    /// When a window cannot be opened, or a whole epoch has no example.
    pub fn next<T: Task>(&mut self, task: &mut T, recipe: &Recipe) -> Result<Vec<Vec<usize>>> {
        for _ in 0..=task.windows() {
            self.open(task, recipe)?;
            let taken = self.take(task.windows(), recipe.accumulate);
            if !taken.is_empty() {
                return Ok(taken);
            }
        }
        Err(Error::Input("no part of the training set holds an example".into()))
    }

    /// Opens the window of the place, unless it is open.
    fn open<T: Task>(&mut self, task: &mut T, recipe: &Recipe) -> Result<()> {
        let Place { epoch, window, .. } = self.place;
        if self.batches.is_none() {
            task.open_window(epoch, window)?;
            let stream = epoch.wrapping_mul(task.windows() as u64).wrapping_add(window as u64);
            let Recipe { batch_size, seed, .. } = *recipe;
            let (least, examples) = (task.least_batch(), task.lengths().len());
            self.batches = Some(batches_of_at_least(least, examples, batch_size, seed, stream)?);
        }
        Ok(())
    }

    /// Takes up to `count` batches of the open window, and goes on to the place after them.
    fn take(&mut self, windows: usize, count: usize) -> Vec<Vec<usize>> {
        let Place { epoch, window, batch } = self.place;
        let batches = self.batches.as_deref().unwrap_or_default();
        let end = batches.len().min(batch + count);
        let taken = batches.get(batch..end).unwrap_or_default().to_vec();
        if end < batches.len() {
            self.place.batch = end;
        } else if window + 1 < windows {
            self.seek(Place { epoch, window: window + 1, batch: 0 });
        } else {
            self.seek(Place { epoch: epoch + 1, window: 0, batch: 0 });
        }
        taken
    }

    /// Epochs done, in fractions, where an epoch has `windows` windows.
    pub fn epochs_done(&self, windows: usize) -> f64 {
        let Place { epoch, window, batch } = self.place;
        let batches = self.batches.as_ref().map_or(1, Vec::len).max(1);
        epoch as f64 + (window as f64 + batch as f64 / batches as f64) / windows as f64
    }

    /// Whether the last step was the last of its epoch.
    pub fn at_start_of_epoch(&self) -> bool {
        self.place.window == 0 && self.place.batch == 0
    }
}
