//! The progress of a run on the terminal: the bar, and notes above it.

use gradus_cli::{SharedArgs, note};
use gradus_models::training::{Evaluation, Metric, StepNumbers};
use indicatif::ProgressBar;

use super::curve::Curve;
use crate::prepare::report_names;

/// Columns of a terminal that has room for the curve.
const WIDE: u16 = 100;

/// Notes about skipped steps, before only their number is told.
const NOTES: u64 = 5;

/// What a person sees while the run goes on.
pub struct Screen<'a> {
    shared: &'a SharedArgs,
    bar: ProgressBar,
    curve: Curve,
    draws_curve: bool,
    /// What the examples are called.
    examples: &'static str,
    /// The metric that decides which model is best.
    decides: Metric,
    /// The last evaluation on the dev set, for the bar.
    dev: Option<String>,
}

impl<'a> Screen<'a> {
    /// A screen for a run of `total` steps of which `done` are done.
    pub fn new(
        shared: &'a SharedArgs,
        [done, total]: [u64; 2],
        examples: &'static str,
        decides: Metric,
    ) -> Self {
        let bar = gradus_cli::progress_bar(shared, total, "steps").with_position(done);
        // The time left is reckoned from the steps of this session alone.
        bar.reset_eta();
        let draws_curve = gradus_cli::columns().is_some_and(|columns| columns >= WIDE);
        Screen { shared, bar, curve: Curve::default(), draws_curve, examples, decides, dev: None }
    }

    /// Shows the numbers of a step.
    pub fn step(&mut self, step: &StepNumbers) {
        self.curve.push(step.loss);
        if step.skipped && step.loss_scale.is_none() {
            self.skipped(step);
        }
        self.bar.set_position(step.step);
        self.bar.set_message(self.message(step));
    }

    /// The numbers beside the bar. The most important ones come first: a narrow terminal cuts the
    /// rest.
    fn message(&self, step: &StepNumbers) -> String {
        let mut told = format!("loss {:.3}", self.curve.smoothed().unwrap_or(step.loss));
        if self.draws_curve {
            told += &format!(" {}", self.curve.draw());
        }
        told += self.dev.as_deref().unwrap_or_default();
        let per_second = |n: usize| n as f64 / step.training_seconds;
        told += &format!("  {:.0} {}/s", per_second(step.examples), self.examples);
        if let Some(scale) = step.loss_scale {
            told += &format!("  loss scale {scale}");
        }
        if step.skipped_steps > 0 {
            told += &format!("  {} skipped", step.skipped_steps);
        }
        let tokens = step.tokens as f64 / step.seconds.max(1e-9);
        told + &format!("  {tokens:.0} tokens/s  lr {:.1e}", step.lr)
    }

    /// Tells why a step was skipped.
    fn skipped(&self, step: &StepNumbers) {
        let StepNumbers { loss, grad_norm, skipped_steps, .. } = step;
        let what = if loss.is_finite() && grad_norm.is_finite() {
            format!("the norm of the gradients is a spike, {grad_norm:.1}")
        } else {
            format!("the loss is {loss:.3}, the norm of the gradients {grad_norm:.1}")
        };
        let more = match *skipped_steps {
            NOTES => "; later ones are only counted",
            n if n > NOTES => return,
            _ => "",
        };
        self.note(format!(
            "warning: step {} is skipped: {what} ({skipped_steps} skipped so far{more})",
            step.step
        ));
    }

    /// Shows how far an evaluation is.
    pub fn evaluating(&self, split: &str, [done, of]: [usize; 2]) {
        let doing = if split == "test" { "testing" } else { "evaluating dev" };
        self.bar.set_message(format!("{doing} {done}/{of}"));
    }

    /// Tells an evaluation on the dev set.
    pub fn evaluated(
        &mut self,
        step: u64,
        epoch: f64,
        result: &Evaluation,
        best: Option<&Evaluation>,
    ) {
        let mut told = format!("epoch {epoch:.1}  step {step}: dev ");
        if self.decides.title != "loss" {
            told += &format!("{} {}, ", self.decides.title, self.decisive(result));
        }
        told += &format!("loss {:.4}", result.loss);
        self.note(told);
        let best = best.filter(|best| *best != result);
        let best = best.map(|best| format!(" (best {})", self.decisive(best)));
        self.dev = Some(format!("  dev {}{}", self.decisive(result), best.unwrap_or_default()));
    }

    /// Tells parameters that got no gradient.
    pub fn without_gradient(&self, names: &[String]) {
        self.bar.suspend(|| report_names(self.shared, "get no gradient", names));
    }

    /// Tells that the batches are cut.
    pub fn cut(&self, step: u64, tokens: usize) {
        self.note(format!(
            "step {step}: the memory does not suffice for its batches; from here on batches of \
             more than {tokens} tokens are cut (a step still has the same texts; a smaller \
             --batch-size with --accumulate does the same from the start)"
        ));
    }

    /// Tells that another rank cuts its batches.
    pub fn cut_elsewhere(&self, step: u64) {
        self.note(format!(
            "step {step}: the memory of another rank does not suffice for its batches, and it cuts \
             them from here on: the run is no longer that of one process to the bit (a smaller \
             --batch-size with a larger --accumulate avoids it)"
        ));
    }

    /// Tells that the dev set's evaluations no longer improve.
    pub fn stopped_early(&self) {
        let title = self.decides.title;
        let what = if title == "loss" { title.into() } else { format!("{title} and loss") };
        self.note(format!("stopped early: the dev set's {what} no longer improve"));
    }

    /// Removes the bar.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }

    pub fn note(&self, told: String) {
        self.bar.suspend(|| note(self.shared, told));
    }

    /// The metric that decides, as text.
    fn decisive(&self, result: &Evaluation) -> String {
        self.decides.show(result.get(self.decides.name).unwrap_or(f64::NAN))
    }
}
