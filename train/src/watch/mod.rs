//! The progress of a run on the screen and in `metrics.jsonl`.

use gradus_cli::{Failure, Outcome, SharedArgs, note};
use gradus_models::Checkpoint;
use gradus_models::training::{Evaluation, Event, LossScaling, Metric, StepNumbers};
use indicatif::ProgressBar;
use serde_json::{Value, json};

use crate::metrics::Metrics;
use crate::prepare::report_names;

/// Watches a run: the bar, the notes, and the lines of `metrics.jsonl`.
pub struct Watch<'a> {
    pub shared: &'a SharedArgs,
    /// The pretrained weights, which may be the reason for a loss that is not a number.
    pub weights: Option<&'a Checkpoint>,
    pub metrics: Metrics,
    pub bar: ProgressBar,
    /// What the examples are called.
    pub examples: &'static str,
    /// The metric that decides which model is best.
    pub decides: Metric,
    /// The last evaluation on the dev set.
    pub dev: Option<Evaluation>,
}

impl Watch<'_> {
    /// Tells an event.
    pub fn see(&mut self, event: Event) -> Outcome {
        match event {
            Event::WithoutGradient(names) => report_names(self.shared, "get no gradient", names),
            Event::Step(step) => self.step(step)?,
            Event::Evaluating { split, done, of } => {
                let doing = if split == "test" { "testing" } else { "evaluating dev" };
                self.bar.set_message(format!("{doing} {done}/{of}"));
            }
            Event::Evaluated { split: "dev", step, epoch, result } => {
                self.dev_result(step, epoch, result)?;
            }
            Event::Evaluated { split, step, result, .. } => {
                self.metrics.write(&line(json!({"step": step, "split": split}), result))?;
            }
            Event::Saved(_) => {}
            Event::StoppedEarly => {
                let title = self.decides.title;
                let what = if title == "loss" { title.into() } else { format!("{title} and loss") };
                note(self.shared, format!("stopped early: the dev set's {what} no longer improve"));
            }
        }
        Ok(())
    }

    /// Writes a step's line, and shows it.
    fn step(&mut self, step: &StepNumbers) -> Outcome {
        if step.diverged() {
            return Err(self.blame(step));
        }
        let mut line = json!({
            "step": step.step, "epoch": step.epoch, "loss": step.loss, "lr": step.lr,
            "grad_norm": step.grad_norm, "tokens_per_second": step.tokens as f64 / step.seconds,
        });
        if let Some(scaling) = &step.scaling {
            line["loss_scale"] = json!(scaling.scale);
            line["skipped_steps"] = json!(scaling.skipped_steps);
        }
        self.metrics.write(&line)?;
        self.bar.set_position(step.step);
        // The most important number comes first: a narrow terminal cuts the rest.
        self.bar.set_message(format!(
            "loss {:.3}{}  {:.0} {}/s{}",
            step.loss,
            self.dev
                .as_ref()
                .map(|dev| format!("  dev {}", self.decisive(dev)))
                .unwrap_or_default(),
            step.examples as f64 / step.training_seconds,
            self.examples,
            step.scaling.map(told).unwrap_or_default(),
        ));
        Ok(())
    }

    /// The reason for a loss that is not a number, and what to do.
    fn blame(&self, step: &StepNumbers) -> Failure {
        let damaged = self
            .weights
            .and_then(|w| Some((w.first_not_finite()?, w.path().display().to_string())));
        Failure::error(match damaged {
            Some((name, path)) => format!(
                "{path}: the tensor {name} holds NaN or infinite values; the checkpoint is damaged"
            ),
            None => format!(
                "the loss became {} (gradient norm {}) at step {}; try a lower --lr, a longer \
                 --warmup or --clip-norm 1",
                step.loss, step.grad_norm, step.step
            ),
        })
    }

    /// The metric that decides, for a screen.
    fn decisive(&self, result: &Evaluation) -> String {
        self.decides.show(result.get(self.decides.name).unwrap_or(f64::NAN))
    }

    fn dev_result(&mut self, step: u64, epoch: f64, result: &Evaluation) -> Outcome {
        self.dev = Some(result.clone());
        let line = line(json!({"step": step, "epoch": epoch, "split": "dev"}), result);
        self.metrics.write(&line)?;
        if self.shared.json {
            println!("{line}");
        }
        let mut told = format!("epoch {epoch:.1}  step {step}: dev ");
        if self.decides.title != "loss" {
            told += &format!("{} {}, ", self.decides.title, self.decisive(result));
        }
        told += &format!("loss {:.4}", result.loss);
        self.bar.suspend(|| note(self.shared, told));
        Ok(())
    }
}

/// A line of `metrics.jsonl` with the numbers of an evaluation.
fn line(mut line: Value, result: &Evaluation) -> Value {
    for (name, value) in result.values() {
        line[name] = json!(value);
    }
    line
}

/// Loss scaling on the bar.
fn told(scaling: LossScaling) -> String {
    match scaling.skipped_steps {
        0 => format!("  loss scale {}", scaling.scale),
        n => format!("  loss scale {}, {n} skipped", scaling.scale),
    }
}
