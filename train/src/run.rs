//! A run from its first step to its last screen.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use gradus_cli::{Failure, Outcome, command, note};
use gradus_models::interchange;
use gradus_models::training::{Ended, Finished, Task};

use crate::flags::TaskFlags;
use crate::folder::Record;
use crate::metrics::Metrics;
use crate::prepare::Run;
use crate::report::Report;
use crate::tasks::Job;
use crate::watch::Watch;

impl<J: Job> Run<J> {
    /// Trains, saves and reports.
    pub fn train(mut self) -> Outcome {
        let stop = stop_signal()?;
        let trainer = &self.session.trainer;
        let (done, folder) = (trainer.steps_done(), &self.session.destination.folder);
        let record = Record {
            run: self.name.clone(),
            task: J::Flags::TASK.into(),
            flags: serde_json::to_value(&self.flags)?,
            seed: self.shared.seed(),
            precision: self.shared.precision(),
        };
        record.write(folder, done)?;
        let bar = gradus_cli::progress_bar(&self.shared, trainer.total_steps(), "steps");
        let mut watch = Watch {
            shared: &self.shared,
            weights: self.weights.as_ref(),
            metrics: Metrics::open(folder, done, trainer.steps_per_epoch())?,
            bar: bar.with_position(done),
            examples: J::EXAMPLES,
            decides: *trainer.metric(),
            dev: None,
        };
        let ended = self.session.run(&stop, &mut |event| watch.see(event))?;
        watch.bar.finish_and_clear();
        let train_loss = watch.metrics.train_loss();
        match ended {
            Ended::Interrupted(checkpoint) => self.interrupted(&checkpoint),
            Ended::Finished(finished) => self.report(*finished, train_loss),
        }
    }

    /// Tells how to continue, and ends the program.
    fn interrupted(&self, checkpoint: &Path) -> Outcome {
        let steps = self.session.trainer.steps_done();
        note(&self.shared, format!("stopped at step {steps}: {}", checkpoint.display()));
        let out = self.session.destination.folder.display().to_string();
        let resume = command("train", [J::Flags::TASK, "--resume", &out]);
        note(&self.shared, format!("go on with: {resume}"));
        std::process::exit(130);
    }

    /// Tells how good the model is, and what to do next.
    fn report(&self, finished: Finished, train_loss: Option<f64>) -> Outcome {
        let (destination, trainer) = (&self.session.destination, &self.session.trainer);
        let unsaved = finished.unsaved.as_ref().map(ToString::to_string);
        let report = Report {
            finished,
            examples: J::EXAMPLES,
            evaluated: J::EVALUATED,
            metrics: trainer.task().metrics(),
            decides: *trainer.metric(),
            train_loss,
            guessing: self.guessing,
        };
        report.print(&self.shared, &destination.folder, &self.commands)?;
        if let Some(told) = interchange::note(&destination.config) {
            note(&self.shared, told);
        }
        match unsaved {
            None => Ok(()),
            Some(why) => Err(Failure::error(format!(
                "the model is saved, but the checkpoint that could prolong the run is not: {why}"
            ))),
        }
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
