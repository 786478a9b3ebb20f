//! Training: a recipe, a task, and a loop that goes step by step.
//!
//! A [`Trainer`] makes one step at a time (`while let Some(step) = trainer.step()? { … }`). A
//! [`Session`] is the whole course of a run around it: evaluations, the best model, checkpoints,
//! early stopping, interruption. Its [`Event`]s tell a progress bar or a log what happens.
//! Everything that a step depends on is (seed, step): resuming from a saved state gives the
//! parameters that an uninterrupted run would have given, bit for bit.
//!
//! Several processes can train one model together: see [`ranks`].
//!
//! ```
//! use gradus_models::training::{Recipe, ScheduleKind};
//!
//! # fn main() -> gradus_models::Result<()> {
//! let recipe = Recipe { epochs: 5, lr: 2e-4, schedule: "cosine".parse()?, ..Recipe::default() };
//! recipe.validate()?;
//! assert_eq!(recipe.schedule, ScheduleKind::Cosine { cycles: 0.5 });
//! # Ok(())
//! # }
//! ```
//!
//! `examples/09_training_session.rs` trains a classifier on a few texts.

mod best;
mod checkpoints;
mod clock;
mod event;
mod every;
mod gradients;
mod guard;
mod inspect;
mod micro;
mod order;
pub mod ranks;
mod recipe;
mod selection;
mod session;
mod state;
mod task;
mod traced;
mod trainer;
mod tree;

pub use crate::evaluation::{Evaluation, Metric};
pub use best::Best;
pub use checkpoints::{
    has_checkpoints, latest_checkpoint, remove_foreign_checkpoints, remove_old_checkpoints,
};
pub use event::{Event, StepNumbers};
pub use every::Every;
pub use gradus_nn::{Lora, ScheduleKind};
pub use inspect::{Inspection, Norms};
pub use recipe::{OptimizerKind, Recipe};
pub use session::{Destination, Ended, Finished, Session, SessionOptions};
pub use state::{Resumed, RunMark};
pub use task::{ReadTokens, StepLoss, Task};
pub use traced::TracedStep;
pub use trainer::{Step, Trainer};
