//! The last screen of a run: how good the model is, and what to do with it.

use std::path::Path;

use gradus_cli::{Outcome, SharedArgs, command, note, peak_rss_mib};
use gradus_models::training::{Evaluation, Finished};
use gradus_models::{Dataset, Example};
use serde_json::json;

use crate::args::Flags;

/// The result of a run.
pub struct Report {
    pub finished: Finished,
    /// The mean training loss of the last epoch.
    pub train_loss: Option<f64>,
    /// The loss of guessing by how often each label occurs.
    pub guessing: f64,
}

impl Report {
    /// Prints it: one line of JSON, or a screen for people.
    pub fn print(&self, shared: &SharedArgs, out: &Path, sample: &Sample) -> Outcome {
        self.warn(shared);
        if shared.json {
            println!("{}", self.json(out));
            return Ok(());
        }
        note(
            shared,
            format!(
                "{} steps in {:.0} s ({:.0} s of training: {:.0} texts/s, {:.0} tokens/s)",
                self.finished.steps,
                self.finished.seconds,
                self.finished.training_seconds,
                self.per_second(self.finished.examples),
                self.per_second(self.finished.tokens)
            ),
        );
        if let Some(loss) = self.train_loss {
            println!("training loss {loss:.4}  (mean of the last epoch)");
        }
        self.print_dev();
        if let Some(test) = self.finished.test {
            println!(
                "test accuracy {:.2}%  (macro F1 {:.2}%, {} texts)",
                test.accuracy * 100.0,
                test.macro_f1 * 100.0,
                test.examples
            );
        }
        let of = if self.finished.kept == self.finished.steps {
            String::new()
        } else {
            format!("  (of step {})", self.finished.kept)
        };
        println!("model: {}{of}", out.display());
        if shared.quiet {
            return Ok(());
        }
        println!("try it:");
        for line in sample.commands(out) {
            println!("  {line}");
        }
        Ok(())
    }

    /// Warns if the model has learnt almost nothing.
    fn warn(&self, shared: &SharedArgs) {
        if self.train_loss.is_some_and(|loss| loss > 0.9 * self.guessing) {
            note(
                shared,
                format!(
                    "warning: the training loss is about that of guessing, {:.4}: the model has \
                     learnt next to nothing; try more --epochs or a higher --lr, and check the \
                     labels",
                    self.guessing
                ),
            );
        }
    }

    fn print_dev(&self) {
        let percent = |result: &Evaluation| format!("{:.2}%", result.accuracy * 100.0);
        let Some((step, best)) = &self.finished.best else { return };
        let rest = format!("(macro F1 {:.2}%, {} texts)", best.macro_f1 * 100.0, best.examples);
        match &self.finished.last {
            Some(last) if *step != self.finished.steps => println!(
                "dev accuracy {} at step {step}, the best; {} at step {}, the last  {rest}",
                percent(best),
                percent(last),
                self.finished.steps
            ),
            _ => println!("dev accuracy {} at step {step}, the best  {rest}", percent(best)),
        }
    }

    /// The evaluation on the dev set of the model that is saved.
    fn dev(&self) -> Option<Evaluation> {
        self.finished
            .best
            .filter(|(step, _)| *step == self.finished.kept)
            .map(|(_, best)| best)
            .or(self.finished.last)
    }

    fn per_second(&self, n: usize) -> f64 {
        n as f64 / self.finished.training_seconds.max(1e-9)
    }

    fn json(&self, out: &Path) -> serde_json::Value {
        let dev = self.dev();
        json!({
            "test_accuracy": self.finished.test.map(|t| t.accuracy),
            "test_macro_f1": self.finished.test.map(|t| t.macro_f1),
            "dev_accuracy": dev.map(|d| d.accuracy),
            "dev_macro_f1": dev.map(|d| d.macro_f1),
            "last_dev_accuracy": self.finished.last.map(|d| d.accuracy),
            "best_step": self.finished.best.map(|(step, _)| step),
            "train_loss": self.train_loss,
            "steps": self.finished.steps,
            "seconds": self.finished.seconds,
            "train_seconds": self.finished.training_seconds,
            "texts_per_second": self.per_second(self.finished.examples),
            "tokens_per_second": self.per_second(self.finished.tokens),
            "peak_rss_mib": peak_rss_mib(),
            "out": out,
        })
    }
}

/// A text of the data to try the model with.
pub enum Sample {
    Text(String),
    /// For pairs: flags that name a file and its columns.
    Pairs(Vec<String>),
}

impl Sample {
    /// A text outside the training set, where there is one.
    pub fn of(dataset: &Dataset, flags: &Flags) -> Sample {
        let split = dataset.test.as_ref().or(dataset.dev.as_ref()).unwrap_or(&dataset.train);
        if let Some(pair) = &flags.pair_column {
            let (path, text) = (split.path.display().to_string(), flags.columns().text);
            let words = ["--input", &path, "--text-column", &text, "--pair-column", pair];
            return Sample::Pairs(words.map(str::to_string).to_vec());
        }
        let short = |example: &&Example| {
            let text = example.text.trim();
            !text.is_empty() && text.chars().count() <= 80 && !text.contains(char::is_control)
        };
        let example = split.examples.iter().find(short).or(split.examples.first());
        let text = example.map_or("", |example| example.text.as_str());
        let line: Vec<&str> = text.split_whitespace().collect();
        Sample::Text(line.join(" ").chars().take(80).collect())
    }

    /// Commands that use the model in `out`.
    fn commands(&self, out: &Path) -> [String; 2] {
        let out = out.display().to_string();
        let mut words = vec!["classify", "--model", &out];
        match self {
            // `--` keeps a text that begins with a dash from being read as a flag.
            Sample::Text(text) if text.starts_with('-') => words.extend(["--", text]),
            Sample::Text(text) => words.push(text),
            Sample::Pairs(flags) => words.extend(flags.iter().map(String::as_str)),
        }
        [command("infer", words), command("serve", ["--model", &out])]
    }
}
