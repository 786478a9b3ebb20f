//! What watches a run: the screen, `metrics.jsonl`, and TensorBoard's event files.

mod curve;
mod metrics;
mod screen;

use gradus_cli::{Failure, Outcome, SharedArgs};
use gradus_models::Checkpoint;
use gradus_models::training::{Evaluation, Event, StepNumbers};
use serde_json::{Value, json};

pub use metrics::Metrics;
pub use screen::Screen;

/// Watches a run: each event goes to everyone whom it concerns.
pub struct Watch<'a> {
    pub shared: &'a SharedArgs,
    /// The pretrained weights, which may be the reason for a loss that is not a number.
    pub weights: Option<&'a Checkpoint>,
    pub metrics: Metrics,
    pub screen: Screen<'a>,
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
            Event::Step(step) => self.step(step)?,
            Event::Evaluating { split, done, of } => self.screen.evaluating(split, [done, of]),
            Event::Evaluated { split: "dev", step, epoch, result } => {
                let line = line(json!({"step": step, "epoch": epoch, "split": "dev"}), result);
                self.metrics.write(&line)?;
                if self.shared.json {
                    println!("{line}");
                }
                self.screen.evaluated(step, epoch, result);
            }
            Event::Evaluated { split, step, result, .. } => {
                self.metrics.write(&line(json!({"step": step, "split": split}), result))?;
            }
            Event::Saved(_) => {}
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
        Ok(())
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

/// A line of `metrics.jsonl` with the numbers of an evaluation.
fn line(mut line: Value, result: &Evaluation) -> Value {
    for (name, value) in result.values() {
        line[name] = json!(value);
    }
    line
}
