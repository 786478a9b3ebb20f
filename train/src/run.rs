//! A run from its first step to its last screen.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use gradus_cli::{Failure, Outcome, command, note};
use gradus_models::training::{Ended, Event, Finished, Task};
use gradus_models::{Error, interchange};

use crate::flags::TaskFlags;
use crate::folder::Record;
use crate::page::{self, REPORT};
use crate::prepare::Run;
use crate::report::Report;
use crate::tasks::Job;
use crate::watch::{Metrics, RanksSeen, Screen, TensorBoard, Traces, Watch};

impl<J: Job> Run<J> {
    /// Trains, saves and reports.
    pub fn train(mut self) -> Outcome {
        match self.course()? {
            (Ended::Interrupted(checkpoint), _) => self.interrupted(&checkpoint),
            (Ended::Finished(_), _) if !self.session.trainer.leads() => Ok(()),
            (Ended::Finished(finished), loss) => self.tell(*finished, loss),
        }
    }

    /// Trains and saves as a trial of a sweep, which reports. `None` where a signal has stopped it.
    pub fn trial(mut self) -> Outcome<Option<Report>> {
        match self.course()? {
            (Ended::Interrupted(_), _) => Ok(None),
            (Ended::Finished(finished), loss) => Ok(Some(self.report(*finished, loss))),
        }
    }

    /// Trains and saves. Returns how the run ended, and the mean training loss of the last epoch.
    fn course(&mut self) -> Outcome<(Ended, Option<f64>)> {
        let stop = stop_signal()?;
        if !self.session.trainer.leads() {
            // Rank 0 writes and tells; with --verbose another rank tells how far it is.
            let shared = &self.shared;
            let mut log = |event: Event| {
                RanksSeen::log(shared, &event);
                Ok::<_, Halt>(())
            };
            let ended = self.session.run(&stop, &mut log);
            return Ok((ended.map_err(Halt::told)?, None));
        }
        let trainer = &self.session.trainer;
        let (done, folder) = (trainer.steps_done(), &self.session.destination.folder);
        let record = Record {
            run: self.name.clone(),
            task: J::Flags::TASK.into(),
            flags: serde_json::to_value(self.recorded())?,
            seed: self.shared.seed(),
            precision: self.shared.precision(),
        };
        record.write(folder, done)?;
        let course = &self.flags.common().course;
        let steps = [done, trainer.total_steps()];
        let mut watch = Watch {
            shared: &self.shared,
            weights: self.weights.as_ref(),
            metrics: Metrics::open(folder, done, trainer.steps_per_epoch())?,
            screen: Screen::new(&self.shared, steps, J::EXAMPLES, *trainer.metric()),
            board: course
                .tensorboard
                .then(|| TensorBoard::open(folder, done, course.histograms))
                .transpose()?,
            ranks: RanksSeen::after(done, folder),
            traces: Traces::new(folder, J::Flags::TASK),
            norms: Vec::new(),
        };
        let ended = self.session.run(&stop, &mut |event| Ok(watch.see(event)?));
        watch.screen.clear();
        Ok((ended.map_err(Halt::told)?, watch.metrics.train_loss()))
    }

    /// The flags that a resumed run has again: how many ranks it has is another matter.
    fn recorded(&self) -> J::Flags {
        let mut flags = self.flags.clone();
        flags.common_mut().ranks = Default::default();
        flags
    }

    /// Tells how to continue.
    fn interrupted(&self, checkpoint: &Path) -> Outcome {
        let steps = self.session.trainer.steps_done();
        note(&self.shared, format!("stopped at step {steps}: {}", checkpoint.display()));
        let out = self.session.destination.folder.display().to_string();
        let resume = command("train", [J::Flags::TASK, "--resume", &out]);
        note(&self.shared, format!("go on with: {resume}"));
        Err(Failure::Told(130))
    }

    /// How good the model is. Writes the page about the run.
    fn report(&mut self, finished: Finished, train_loss: Option<f64>) -> Report {
        let details = self.details.take();
        let findings = self.session.trainer.take_findings();
        let trainer = &self.session.trainer;
        let report = Report {
            finished,
            examples: J::EXAMPLES,
            evaluated: J::EVALUATED,
            metrics: trainer.task().metrics(),
            decides: *trainer.metric(),
            train_loss,
            guessing: self.guessing,
        };
        if let Err(error) = page::of_run(self, &report, (details, findings)) {
            note(&self.shared, format!("warning: {REPORT} is not written: {error}"));
        }
        report
    }

    /// Tells how good the model is, and what to do next.
    fn tell(&mut self, finished: Finished, train_loss: Option<f64>) -> Outcome {
        let unsaved = finished.unsaved.as_ref().map(ToString::to_string);
        let report = self.report(finished, train_loss);
        let destination = &self.session.destination;
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

/// What ends a run before its time.
enum Halt {
    Training(Error),
    Watch(Failure),
}

impl From<Error> for Halt {
    fn from(error: Error) -> Self {
        Halt::Training(error)
    }
}

impl From<Failure> for Halt {
    fn from(failure: Failure) -> Self {
        Halt::Watch(failure)
    }
}

impl Halt {
    /// The message for the person, with the flags that help.
    fn told(self) -> Failure {
        match self {
            Halt::Watch(failure) => failure,
            Halt::Training(Error::Diverged { step, loss, grad_norm, in_row }) => {
                Failure::error(format!(
                    "the loss became {loss} (gradient norm {grad_norm}) at step {step}, the last of \
                     {in_row} skipped in a row (--max-skipped); try a lower --lr, a longer --warmup \
                     or --clip-norm 1"
                ))
            }
            Halt::Training(error) => error.into(),
        }
    }
}

/// Becomes true at Ctrl-C or SIGTERM. A second one ends the program at once. All runs of a process
/// share it.
fn stop_signal() -> Outcome<Arc<AtomicBool>> {
    static STOP: OnceLock<Arc<AtomicBool>> = OnceLock::new();
    if let Some(stop) = STOP.get() {
        return Ok(stop.clone());
    }
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::SeqCst) {
            std::process::exit(130);
        }
    })?;
    Ok(STOP.get_or_init(|| stop).clone())
}
