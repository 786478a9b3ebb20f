//! What watches a run: the screen, `metrics.jsonl`, and TensorBoard's event files.

mod curve;
mod metrics;
mod ranks;
mod screen;
#[cfg_attr(not(feature = "tensorboard"), path = "no_tensorboard.rs")]
mod tensorboard;
mod traces;

use gradus_cli::{Failure, Outcome, SharedArgs};
use gradus_models::Checkpoint;
use gradus_models::training::{Evaluation, Event, Norms, StepNumbers};
use serde_json::{Value, json};

pub use metrics::Metrics;
pub use ranks::RanksSeen;
pub use screen::Screen;
pub use tensorboard::TensorBoard;
pub use traces::Traces;

/// Watches a run: each event goes to everyone whom it concerns.
pub struct Watch<'a> {
    pub shared: &'a SharedArgs,
    /// The pretrained weights, which may be the reason for a loss that is not a number.
    pub weights: Option<&'a Checkpoint>,
    pub metrics: Metrics,
    pub screen: Screen<'a>,
    pub board: Option<TensorBoard>,
    /// What the ranks have done.
    pub ranks: RanksSeen,
    /// The traced steps.
    pub traces: Traces,
    /// The norms that go with the next evaluation.
    pub norms: Vec<Norms>,
}

impl Watch<'_> {
    /// Tells an event.
    ///
    /// # Errors
    /// When a file cannot be written, or pretrained weights turn out to be damaged.
    pub fn see(&mut self, event: Event) -> Outcome {
        match event {
            Event::WithoutGradient(names) => self.screen.without_gradient(names),
            Event::Cut { step, tokens } => self.screen.cut(step, tokens),
            Event::Traced { traced, labels } => {
                let path = self.traces.add(traced, labels)?;
                self.screen.note(format!("step {}: {}", traced.step.step, path.display()));
            }
            Event::Step(step) => self.step(step)?,
            Event::Inspected(inspection) => {
                let norms = inspection.norms()?;
                if let Some(board) = &mut self.board {
                    board.inspected(inspection, &norms)?;
                }
                self.norms = norms;
            }
            Event::Evaluating { split, done, of } => self.screen.evaluating(split, [done, of]),
            Event::Evaluated { split, step, epoch, result, best } => {
                self.write_evaluation(split, step, epoch, result)?;
                if split == "dev" {
                    self.screen.evaluated(step, epoch, result, best);
                }
            }
            Event::Saved(_) => {}
            Event::CutElsewhere { step } => self.screen.cut_elsewhere(step),
            Event::Ranks { step, traffic } => {
                if let Some(line) = self.ranks.see(step, traffic, &self.screen) {
                    self.metrics.write(&line)?;
                }
            }
            Event::Timeline(marks) => self.ranks.timeline(marks, &self.screen)?,
            Event::StoppedEarly => self.screen.stopped_early(),
        }
        Ok(())
    }

    /// Writes a step's line, and shows it.
    fn step(&mut self, step: &StepNumbers) -> Outcome {
        if step.failed() {
            self.check_weights()?;
        }
        let mut line = json!({
            "step": step.step, "epoch": step.epoch, "loss": step.loss, "lr": step.lr,
            "grad_norm": step.grad_norm, "tokens_per_second": step.tokens as f64 / step.seconds,
        });
        if let Some(scale) = step.loss_scale {
            line["loss_scale"] = json!(scale);
        }
        if step.loss_scale.is_some() || step.skipped_steps > 0 {
            line["skipped_steps"] = json!(step.skipped_steps);
        }
        self.metrics.write(&line)?;
        self.screen.step(step);
        self.board.as_mut().map_or(Ok(()), |board| board.step(step))
    }

    /// Writes an evaluation at a step and an epoch.
    fn write_evaluation(
        &mut self,
        split: &str,
        step: u64,
        epoch: f64,
        result: &Evaluation,
    ) -> Outcome {
        let mut line = json!({"step": step, "split": split});
        result.values().for_each(|(name, value)| line[name] = json!(value));
        if split == "dev" {
            line["epoch"] = json!(epoch);
            if self.shared.json {
                println!("{line}");
            }
            let norms = std::mem::take(&mut self.norms);
            let of = |norm: fn(&Norms) -> Option<f64>| -> Value {
                norms.iter().map(|norms| (norms.part.clone(), json!(norm(norms)))).collect()
            };
            line["weight_norms"] = of(|norms| Some(norms.weights));
            line["gradient_norms"] = of(|norms| norms.gradients);
        }
        self.metrics.write(&line)?;
        self.board.as_mut().map_or(Ok(()), |board| board.evaluated(split, step, result))
    }

    /// Refuses to go on from pretrained weights that hold NaN: no step can mend them.
    fn check_weights(&self) -> Outcome {
        let damaged = self.weights.and_then(|weights| {
            Some((weights.first_not_finite()?, weights.path().display().to_string()))
        });
        damaged.map_or(Ok(()), |(name, path)| {
            Err(Failure::error(format!(
                "{path}: the tensor {name} holds NaN or infinite values; the checkpoint is damaged"
            )))
        })
    }
}
