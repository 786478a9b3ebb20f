//! The course of a run: steps, evaluations, checkpoints, and what stops it.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use gradus_cli::{Failure, Outcome, command, note};
use gradus_models::training::{Evaluation, Step, remove_old_checkpoints};
use gradus_models::{interchange, save_folder};
use gradus_tensor::{Device, Reading, Tensor};
use indicatif::ProgressBar;
use serde_json::json;

use crate::folder::Record;
use crate::metrics::{Metrics, Scaling};
use crate::prepare::{Encoded, Run, report_names};
use crate::report::Report;

/// What changes from step to step.
struct Course {
    metrics: Metrics,
    bar: ProgressBar,
    clock: Clock,
    /// Steps whose loss and norm are not read yet.
    waiting: VecDeque<(Step, Reading)>,
    /// Training seconds when the last step's numbers were read.
    last: f64,
    texts: usize,
    tokens: usize,
    /// The last evaluation on the dev set.
    dev: Option<Evaluation>,
}

impl Run {
    /// Trains, saves and reports.
    pub fn train(mut self) -> Outcome {
        let stop = stop_signal()?;
        let done = self.trainer.steps_done();
        let record = Record {
            run: self.name.clone(),
            flags: self.flags.clone(),
            seed: self.shared.seed(),
            precision: self.shared.precision(),
        };
        record.write(&self.out, done)?;
        let total = self.trainer.total_steps();
        let mut course = Course {
            metrics: Metrics::open(&self.out, done, self.trainer.steps_per_epoch())?,
            bar: gradus_cli::progress_bar(&self.shared, total, "steps").with_position(done),
            clock: Clock::start(),
            waiting: VecDeque::new(),
            last: 0.0,
            texts: 0,
            tokens: 0,
            dev: None,
        };
        while !self.stops_early()
            && let Some(step) = self.trainer.step()?
        {
            self.after(&mut course, step, &stop)?;
        }
        if self.stops_early() {
            note(&self.shared, "stopped early: the dev set's accuracy and loss no longer improve");
        }
        self.finish(course)
    }

    /// What follows a step: its numbers, and where it is time an evaluation and a checkpoint.
    fn after(&mut self, course: &mut Course, step: Step, stop: &AtomicBool) -> Outcome {
        course.tokens += step.tokens;
        course.texts += step.examples;
        if step.step == 1 {
            let without = self.trainer.without_gradient().unwrap_or_default();
            report_names(&self.shared, "get no gradient", without);
        }
        let every = self.flags.eval_every.unwrap_or(self.trainer.steps_per_epoch());
        let over = step.step == self.trainer.total_steps();
        let evaluates = self.dev.is_some() && (step.step.is_multiple_of(every) || over);
        let saves = !over && self.flags.save_every.is_some_and(|n| step.step.is_multiple_of(n));
        let stops = stop.load(Ordering::SeqCst);
        let mut numbers = Tensor::stack(&[&step.loss, &step.grad_norm], 0)?;
        if let Some(verdict) = &step.verdict {
            numbers = Tensor::cat(&[&numbers, verdict], 0)?;
        }
        // A GPU computes a step while the numbers of the one before are read, unless the model is
        // about to be used.
        let waits = numbers.device() != Device::Cpu && !(over || evaluates || saves || stops);
        course.waiting.push_back((step.clone(), numbers.read_later()?));
        while course.waiting.len() > waits as usize
            && let Some((step, reading)) = course.waiting.pop_front()
        {
            self.note_step(course, &step, &reading.wait()?.to_f64_vec())?;
        }
        course.clock.pause();
        if let Some(set) = self.dev.as_ref().filter(|_| evaluates) {
            let result = self.evaluate(course, set, "dev", &step)?;
            course.dev = Some(result);
            self.trainer.evaluated(result);
        }
        if stops {
            return self.interrupted(&course.bar);
        }
        if saves {
            self.checkpoint()?;
        }
        course.clock.go_on();
        Ok(())
    }

    fn stops_early(&self) -> bool {
        let stale = self.trainer.best().map_or(0, |best| best.stale);
        self.flags.early_stop.is_some_and(|patience| stale >= patience)
    }

    /// Writes a step's line, and shows it.
    fn note_step(&self, course: &mut Course, step: &Step, numbers: &[f64]) -> Outcome {
        let (loss, norm) = (numbers[0], numbers[1]);
        let scaling = numbers.get(2..).and_then(Scaling::of);
        self.check_finite(loss, norm, scaling.as_ref(), step)?;
        let seconds = course.clock.seconds();
        let mut line = json!({
            "step": step.step, "epoch": step.epoch, "loss": loss, "lr": step.lr,
            "grad_norm": norm, "tokens_per_second": step.tokens as f64 / (seconds - course.last),
        });
        course.last = seconds;
        if let Some(scaling) = &scaling {
            line["loss_scale"] = json!(scaling.scale);
            line["skipped_steps"] = json!(scaling.skipped_steps);
        }
        course.metrics.write(&line)?;
        course.bar.set_position(step.step);
        // What matters most comes first: a narrow terminal cuts the rest.
        course.bar.set_message(format!(
            "loss {loss:.3}{}  {:.0} texts/s{}",
            course.dev.map(|d| format!("  dev {:.1}%", d.accuracy * 100.0)).unwrap_or_default(),
            course.texts as f64 / seconds,
            scaling.map(|s| s.to_string()).unwrap_or_default(),
        ));
        Ok(())
    }

    /// A loss that is no number ends the run; what is to blame is named.
    ///
    /// In f16 gradients may overflow: the step was skipped, and the scale is lower in the next. Only if they do so
    /// at a scale below 1 it is not the scale that is to blame.
    fn check_finite(
        &self,
        loss: f64,
        norm: f64,
        scaling: Option<&Scaling>,
        step: &Step,
    ) -> Outcome {
        if loss.is_finite() && (norm.is_finite() || scaling.is_some_and(|s| s.scale >= 1.0)) {
            return Ok(());
        }
        let cause = self
            .weights
            .as_ref()
            .and_then(|w| Some((w.first_not_finite()?, w.path().display().to_string())));
        Err(Failure::error(match cause {
            Some((name, path)) => {
                format!(
                    "{path}: the tensor {name} holds NaN or infinite values; the checkpoint is damaged"
                )
            }
            None => format!(
                "the loss became {loss} (gradient norm {norm}) at step {}; try a lower --lr, a \
                 longer --warmup or --clip-norm 1",
                step.step
            ),
        }))
    }

    /// Evaluates, writes the line, and tells.
    fn evaluate(
        &self,
        course: &mut Course,
        (encodings, labels): &Encoded,
        split: &str,
        step: &Step,
    ) -> Outcome<Evaluation> {
        let all = encodings.len();
        let progress = |done| course.bar.set_message(format!("evaluating {split} {done}/{all}"));
        let result = self.trainer.task().evaluate(encodings, labels, progress)?;
        let line = json!({
            "step": step.step, "epoch": step.epoch, "split": split, "accuracy": result.accuracy,
            "loss": result.loss, "macro_f1": result.macro_f1,
        });
        course.metrics.write(&line)?;
        if self.shared.json {
            println!("{line}");
        }
        course.bar.suspend(|| {
            note(
                &self.shared,
                format!(
                    "epoch {:.1}  step {}: {split} accuracy {:.2}%, loss {:.4}",
                    step.epoch,
                    step.step,
                    result.accuracy * 100.0,
                    result.loss
                ),
            );
        });
        Ok(result)
    }

    fn checkpoint(&self) -> Outcome<PathBuf> {
        let path = self.trainer.save_checkpoint(&self.out, &self.config, &self.tokenizer)?;
        remove_old_checkpoints(&self.out, self.name.as_deref(), self.flags.keep.unwrap_or(2))?;
        Ok(path)
    }

    fn interrupted(&self, bar: &ProgressBar) -> Outcome {
        bar.finish_and_clear();
        let path = self.checkpoint()?;
        note(
            &self.shared,
            format!("stopped at step {}: {}", self.trainer.steps_done(), path.display()),
        );
        let out = self.out.display().to_string();
        let resume = command("train", ["classify", "--resume", &out]);
        note(&self.shared, format!("go on with: {resume}"));
        std::process::exit(130);
    }

    /// Saves the model, tests it, and says what to do next.
    fn finish(mut self, mut course: Course) -> Outcome {
        course.clock.pause();
        let steps = self.trainer.steps_done();
        let best = self.trainer.best().filter(|best| best.step != steps && !self.flags.keep_last);
        let swaps = best.is_some();
        self.swap(swaps)?;
        self.config.extra.remove("_name_or_path");
        save_folder(&self.out, &self.config, &self.tokenizer, self.trainer.store())?;
        // The checkpoint is of the last weights: so the run can be prolonged.
        self.swap(swaps)?;
        let saved = self.checkpoint();
        self.swap(swaps)?;
        let test = match &self.test {
            Some((encodings, labels)) => {
                let all = encodings.len();
                let progress = |done| course.bar.set_message(format!("testing {done}/{all}"));
                Some(self.trainer.task().evaluate(encodings, labels, progress)?)
            }
            None => None,
        };
        if let Some(test) = &test {
            course.metrics.write(&json!({
                "step": steps, "split": "test", "accuracy": test.accuracy, "loss": test.loss,
                "macro_f1": test.macro_f1,
            }))?;
        }
        course.bar.finish_and_clear();
        let best = self.trainer.best().map(|best| (best.step, best.result));
        let report = Report {
            steps,
            seconds: course.clock.seconds(),
            wall_seconds: course.clock.wall_seconds(),
            texts: course.texts,
            tokens: course.tokens,
            train_loss: course.metrics.train_loss(),
            guessing: self.guessing,
            best,
            last: course.dev,
            kept: if swaps { best.map_or(steps, |best| best.0) } else { steps },
            test,
        };
        report.print(&self.shared, &self.out, &self.sample)?;
        if let Some(told) = interchange::note(&self.config) {
            note(&self.shared, told);
        }
        // Last, so that a full disk costs the checkpoint alone.
        saved.map(drop).map_err(|e| {
            Failure::error(format!(
                "the model is saved, but no checkpoint to prolong the run from: {e}"
            ))
        })
    }

    fn swap(&mut self, swaps: bool) -> Outcome {
        if swaps {
            self.trainer.swap_best()?;
        }
        Ok(())
    }
}

/// Becomes true at Ctrl-C or SIGTERM. A second one ends the program at once.
fn stop_signal() -> Outcome<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::SeqCst) {
            std::process::exit(130);
        }
    })?;
    Ok(stop)
}

/// Measures the training alone: it stands still while the model is evaluated and saved.
struct Clock {
    begin: Instant,
    spent: Duration,
    since: Option<Instant>,
}

impl Clock {
    fn start() -> Self {
        let now = Instant::now();
        Clock { begin: now, spent: Duration::ZERO, since: Some(now) }
    }

    fn pause(&mut self) {
        self.spent += self.since.take().map_or(Duration::ZERO, |since| since.elapsed());
    }

    fn go_on(&mut self) {
        self.since.get_or_insert_with(Instant::now);
    }

    /// Seconds of training.
    fn seconds(&self) -> f64 {
        let running = self.since.map_or(Duration::ZERO, |since| since.elapsed());
        (self.spent + running).as_secs_f64()
    }

    /// Seconds since the start, whatever was done.
    fn wall_seconds(&self) -> f64 {
        self.begin.elapsed().as_secs_f64()
    }
}
