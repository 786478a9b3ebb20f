//! The last screen of a run: how good the model is, and what to do with it.

use std::path::Path;

use gradus_cli::{Outcome, SharedArgs, note, peak_rss_mib};
use gradus_models::evaluation::LOSS;
use gradus_models::training::{Evaluation, Finished, Metric};
use serde_json::{Value, json};

use crate::page::REPORT;
use crate::table::Table;

/// The result of a run.
pub struct Report {
    pub finished: Finished,
    /// What the examples are called.
    pub examples: &'static str,
    /// What an evaluation counts.
    pub evaluated: &'static str,
    /// The metrics of the task.
    pub metrics: &'static [Metric],
    /// The metric that decides which model is best.
    pub decides: Metric,
    /// The mean training loss of the last epoch.
    pub train_loss: Option<f64>,
    /// The loss of a model that guesses, where that has a meaning.
    pub guessing: Option<f64>,
}

impl Report {
    /// Prints it: one line of JSON, or a screen for people.
    pub fn print(&self, shared: &SharedArgs, out: &Path, commands: &[String]) -> Outcome {
        self.warn(shared);
        if shared.json {
            println!("{}", self.json(out));
            return Ok(());
        }
        note(
            shared,
            format!(
                "{} steps in {:.0} s ({:.0} s of training: {:.0} {}/s, {:.0} tokens/s)",
                self.finished.steps,
                self.finished.seconds,
                self.finished.training_seconds,
                self.per_second(self.finished.examples),
                self.examples,
                self.per_second(self.finished.tokens)
            ),
        );
        if let Some(loss) = self.train_loss {
            println!("training loss {loss:.4}  (mean of the last epoch)");
        }
        self.print_numbers();
        let of = if self.finished.kept == self.finished.steps {
            String::new()
        } else {
            format!("  (of step {})", self.finished.kept)
        };
        println!("model: {}{of}", out.display());
        let report = out.join(REPORT);
        if report.is_file() {
            println!("report: {}", report.display());
        }
        if shared.quiet {
            return Ok(());
        }
        println!("try it:");
        for line in commands {
            println!("  {line}");
        }
        Ok(())
    }

    /// Warns if the model has learnt almost nothing.
    fn warn(&self, shared: &SharedArgs) {
        let Some(guessing) = self.guessing else { return };
        if self.train_loss.is_some_and(|loss| loss > 0.9 * guessing) {
            note(
                shared,
                format!(
                    "warning: the training loss is about that of guessing, {guessing:.4}: the \
                     model has learnt next to nothing; try more --epochs or a higher --lr, and \
                     check the labels"
                ),
            );
        }
    }

    /// The number that matters most, and a table of all.
    fn print_numbers(&self) {
        let Finished { best, last, test, steps, kept, .. } = &self.finished;
        let of_best = best.as_ref().map(|(step, result)| ("dev, best", *step, result));
        let of_last = last.as_ref().map(|result| ("dev, last", *steps, result));
        // Where the last model is the best, one column tells both.
        let of_last = of_last.filter(|(_, step, _)| of_best.is_none_or(|best| best.1 != *step));
        let of_test = test.as_ref().map(|result| ("test", *kept, result));
        let columns: Vec<_> = [of_best, of_last, of_test].into_iter().flatten().collect();
        let headline = of_test.or(of_best).or(of_last);
        let Some((name, step, result)) = headline else { return };
        let value = result.get(self.decides.name).unwrap_or(f64::NAN);
        let set = name.split(',').next().unwrap_or(name);
        println!(
            "{set} {} {}  (the model of step {step})",
            self.decides.title,
            self.decides.show(value)
        );
        let table = Table::new(columns, self.metrics, &self.decides, self.evaluated);
        println!();
        table.lines(gradus_cli::output_columns()).iter().for_each(|line| println!("{line}"));
        println!();
    }

    /// The evaluation on the dev set of the model that is saved.
    fn dev(&self) -> Option<&Evaluation> {
        let best = self.finished.best.as_ref();
        let best = best.filter(|(step, _)| *step == self.finished.kept).map(|(_, best)| best);
        best.or(self.finished.last.as_ref())
    }

    fn per_second(&self, n: usize) -> f64 {
        n as f64 / self.finished.training_seconds.max(1e-9)
    }

    fn json(&self, out: &Path) -> Value {
        let Finished { best, last, test, .. } = &self.finished;
        let mut line = json!({
            "best_step": best.as_ref().map(|(step, _)| step),
            "train_loss": self.train_loss,
            "steps": self.finished.steps,
            "seconds": self.finished.seconds,
            "train_seconds": self.finished.training_seconds,
            "texts_per_second": self.per_second(self.finished.examples),
            "tokens_per_second": self.per_second(self.finished.tokens),
            "peak_rss_mib": peak_rss_mib(),
            "out": out,
        });
        for (split, result) in [("test", test.as_ref()), ("dev", self.dev())] {
            for name in self.metrics.iter().map(|metric| metric.name).chain([LOSS]) {
                line[format!("{split}_{name}")] = json!(result.and_then(|result| result.get(name)));
            }
        }
        let decides = self.decides.name;
        line[format!("last_dev_{decides}")] = json!(last.as_ref().and_then(|l| l.get(decides)));
        line
    }
}
