//! Stands in the place of `tensorboard.rs` in a build without the feature `tensorboard`.

use std::convert::Infallible;
use std::path::Path;

use gradus_cli::{Failure, Outcome};
use gradus_models::training::{Evaluation, Inspection, Norms, StepNumbers};

/// The event files: there are none.
pub struct TensorBoard(Infallible);

impl TensorBoard {
    pub fn open(_: &Path, _: u64, _: bool) -> Outcome<TensorBoard> {
        Err(Failure::usage(
            "--tensorboard: this build of train writes no event files, because it lacks the feature \
             `tensorboard`; build it with the feature",
        ))
    }

    pub fn step(&mut self, _: &StepNumbers) -> Outcome {
        match self.0 {}
    }

    pub fn inspected(&mut self, _: &Inspection, _: &[Norms]) -> Outcome {
        match self.0 {}
    }

    pub fn evaluated(&mut self, _: &str, _: u64, _: &Evaluation) -> Outcome {
        match self.0 {}
    }
}
