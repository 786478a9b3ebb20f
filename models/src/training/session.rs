//! The course of a run: steps, evaluations, checkpoints, the best model, and the end.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use gradus_nn::Precision;
use gradus_tensor::{Device, Reading, Tensor};

use super::clock::Clock;
use super::ranks::Communicator;
use super::recipe::at_least_one;
use super::{
    Evaluation, Event, Every, Inspection, Step, StepNumbers, Task, Trainer, remove_old_checkpoints,
};
use crate::evaluation::Examiner;
use crate::{EncoderConfig, Error, Tokenizer};

/// When a run evaluates, saves and ends.
#[derive(Clone, Debug)]
pub struct SessionOptions {
    /// Steps from one evaluation on the dev set to the next; `None` for one epoch. There is always
    /// an evaluation after the last step.
    pub eval_every: Option<u64>,
    /// Steps or time from one checkpoint to the next; `None` for a checkpoint only at the end.
    pub save_every: Option<Every>,
    /// How many checkpoints are kept, the newest ones. Each holds the weights of the best model so
    /// far.
    pub keep: usize,
    /// The run ends after so many skipped steps in a row; see [`StepNumbers::skipped`]. In f16 the
    /// steps that set the loss scale do not count.
    pub max_skipped: u64,
    /// The run ends after so many evaluations in a row without a better one.
    pub early_stop: Option<usize>,
    /// Whether the run writes the last weights even if others did better on the dev set.
    pub keep_last: bool,
    /// The steps that are traced; see [`Event::Traced`].
    pub trace_steps: Vec<u64>,
}

impl SessionOptions {
    /// Checks every number.
    ///
    /// # Errors
    /// [`Error::Recipe`] for the first that is 0.
    pub fn validate(&self) -> Result<(), Error> {
        at_least_one("eval_every", self.eval_every)?;
        if let Some(Every::Steps(steps)) = self.save_every {
            at_least_one("save_every", Some(steps))?;
        }
        at_least_one("max_skipped", Some(self.max_skipped))?;
        at_least_one("keep", Some(self.keep as u64))?;
        at_least_one("trace_step", self.trace_steps.iter().min().copied())?;
        at_least_one("early_stop", self.early_stop.map(|n| n as u64))
    }
}

impl Default for SessionOptions {
    fn default() -> Self {
        SessionOptions {
            eval_every: None,
            save_every: None,
            keep: 2,
            max_skipped: 10,
            early_stop: None,
            keep_last: false,
            trace_steps: Vec::new(),
        }
    }
}

/// Where a run writes its model and its checkpoints, and the files that go with the weights.
pub struct Destination {
    /// The folder.
    pub folder: PathBuf,
    /// The configuration to be saved.
    pub config: EncoderConfig,
    /// The tokenizer to be saved.
    pub tokenizer: Tokenizer,
}

/// How a run ended.
pub enum Ended {
    /// It was asked to stop, and can go on from this checkpoint.
    Interrupted(PathBuf),
    /// The model is written.
    Finished(Box<Finished>),
}

/// The result of a run.
#[derive(Debug)]
pub struct Finished {
    /// Optimiser steps, those before a resumed checkpoint included.
    pub steps: u64,
    /// The step of the model that is written.
    pub kept: u64,
    /// The step and the evaluation of the best model on the dev set.
    pub best: Option<(u64, Evaluation)>,
    /// The last evaluation on the dev set.
    pub last: Option<Evaluation>,
    /// The evaluation of the written model on the test set.
    pub test: Option<Evaluation>,
    /// Examples seen in this session.
    pub examples: usize,
    /// Tokens seen in this session.
    pub tokens: usize,
    /// Seconds of training, without evaluations and checkpoints.
    pub training_seconds: f64,
    /// Seconds of the whole session.
    pub seconds: f64,
    /// The error that prevented the last checkpoint, without which the run cannot be prolonged.
    pub unsaved: Option<Error>,
}

/// A run: a trainer, the sets on which it is evaluated, and where it writes.
///
/// The program `train` runs a session. A progress bar, a file of metrics or a plot gets its
/// [`Event`]s.
pub struct Session<T: Task> {
    /// The steps.
    pub trainer: Trainer<T>,
    /// The set that decides which model is best.
    pub dev: Option<T::Set>,
    /// The set on which the written model is evaluated.
    pub test: Option<T::Set>,
    /// Where the model goes.
    pub destination: Destination,
    /// When the run evaluates, saves and ends.
    pub options: SessionOptions,
}

/// The numbers of a session that change from step to step.
struct Course<'w, E> {
    watch: &'w mut dyn FnMut(Event) -> Result<(), E>,
    clock: Clock,
    /// Steps whose loss and norm are not read yet.
    waiting: VecDeque<(Step, Reading)>,
    /// Training seconds when the last step's numbers were read.
    read_at: f64,
    examples: usize,
    tokens: usize,
    last: Option<Evaluation>,
    /// Failed steps in a row; see [`StepNumbers::failed`].
    failed: u64,
    max_skipped: u64,
    /// The loss scale of the last step; 1 without loss scaling.
    loss_scale: f64,
    /// When the last checkpoint was written.
    saved: Instant,
}

/// What is due after a step.
struct Due {
    evaluation: bool,
    checkpoint: bool,
    end: bool,
    stop: bool,
    /// Whether any rank has begun to cut its batches.
    cut: bool,
}

impl<T: Task> Session<T> {
    /// Trains to the end, or until `stop` is true. `watch` is called with every event; its error
    /// ends the run.
    ///
    /// # Errors
    /// An option that is 0 ([`Error::Recipe`]); a loss that is not a number ([`Error::Diverged`]);
    /// a file that cannot be written; an error of `watch`.
    pub fn run<E: From<Error>>(
        &mut self,
        stop: &AtomicBool,
        watch: &mut dyn FnMut(Event) -> Result<(), E>,
    ) -> Result<Ended, E> {
        self.options.validate()?;
        let mut course = Course {
            watch,
            clock: Clock::start(),
            waiting: VecDeque::new(),
            read_at: 0.0,
            examples: 0,
            tokens: 0,
            last: None,
            failed: 0,
            max_skipped: self.options.max_skipped,
            loss_scale: 1.0,
            saved: Instant::now(),
        };
        while !self.is_stale()
            && let Some(step) = self.step(&mut course)?
        {
            if let Some(checkpoint) = self.after(&mut course, step, stop)? {
                return Ok(Ended::Interrupted(checkpoint));
            }
        }
        if self.is_stale() {
            (course.watch)(Event::StoppedEarly)?;
        }
        self.finish(course).map(|finished| Ended::Finished(Box::new(finished)))
    }

    fn step<E: From<Error>>(&mut self, course: &mut Course<E>) -> Result<Option<Step>, E> {
        let next = self.trainer.steps_done() + 1;
        self.trainer.keeps_gradients = self.dev.is_some() && self.evaluates_after(next);
        if !self.options.trace_steps.contains(&next) {
            return Ok(self.trainer.step()?);
        }
        let labels = self.destination.config.id2label.clone();
        let traced = self.trainer.traced_step(&labels, &self.destination.tokenizer)?;
        let Some(traced) = traced else { return Ok(None) };
        (course.watch)(Event::Traced { traced: &traced, labels: &labels })?;
        Ok(Some(traced.step))
    }

    /// Whether an evaluation follows a step, where there is a dev set.
    fn evaluates_after(&self, step: u64) -> bool {
        let every = self.options.eval_every.unwrap_or(self.trainer.steps_per_epoch());
        step.is_multiple_of(every) || step == self.trainer.total_steps()
    }

    /// Tells a step's numbers, and evaluates and saves when that is due. Returns the checkpoint if
    /// the run is to stop.
    fn after<E: From<Error>>(
        &mut self,
        course: &mut Course<E>,
        step: Step,
        stop: &AtomicBool,
    ) -> Result<Option<PathBuf>, E> {
        if step.step == 1 {
            let names = self.trainer.without_gradient().unwrap_or_default();
            (course.watch)(Event::WithoutGradient(names))?;
        }
        if let Some(tokens) = step.cut_to {
            (course.watch)(Event::Cut { step: step.step, tokens })?;
        }
        let due = self.due(&step, course.saved, stop)?;
        if due.cut && step.cut_to.is_none() {
            (course.watch)(Event::CutElsewhere { step: step.step })?;
        }
        let (at, epoch) = (step.step, step.epoch);
        self.read(course, step, &due)?;
        course.clock.pause();
        if let Some(marks) = self.trainer.take_timeline()?
            && self.trainer.leads()
        {
            (course.watch)(Event::Timeline(&marks))?;
        }
        self.inspect(course)?;
        if let Some(set) = self.dev.as_ref().filter(|_| due.evaluation) {
            self.trainer.swap_averages()?;
            let (result, _) = examine(&self.trainer, set, "dev", course)?;
            course.last = Some(result.clone());
            self.trainer.evaluated(result.clone());
            self.trainer.swap_averages()?;
            let best = self.trainer.best().map(|best| &best.result);
            let (split, result) = ("dev", &result);
            (course.watch)(Event::Evaluated { split, step: at, epoch, result, best })?;
            self.tell_ranks(course, at)?;
        }
        if due.stop {
            return self.checkpoint(course).map(Some);
        }
        if due.checkpoint {
            self.checkpoint(course)?;
        }
        course.clock.go_on();
        Ok(None)
    }

    /// What is due after a step. Ranks decide together: one that is asked to stop stops all, and
    /// the clock of rank 0 says when to save.
    fn due(&self, step: &Step, saved: Instant, stop: &AtomicBool) -> Result<Due, Error> {
        let end = step.step == self.trainer.total_steps();
        let checkpoint = !end
            && self.options.save_every.is_some_and(|every| match every {
                Every::Steps(steps) => step.step.is_multiple_of(steps),
                Every::Time(time) => saved.elapsed() >= time,
            });
        let checkpoint = checkpoint && self.trainer.leads();
        let own = [checkpoint, stop.load(Ordering::SeqCst), step.cut_to.is_some()];
        let [checkpoint, stop, cut] = self.trainer.agreed(own)?;
        let evaluation = self.dev.is_some() && self.evaluates_after(step.step);
        Ok(Due { end, evaluation, checkpoint, stop, cut })
    }

    /// Tells the numbers of this step and of earlier ones that are not read yet. A GPU computes a
    /// step while the numbers of the one before are read, unless the model is about to be used.
    fn read<E: From<Error>>(&self, course: &mut Course<E>, step: Step, due: &Due) -> Result<(), E> {
        let used = due.end || due.evaluation || due.checkpoint || due.stop;
        let numbers = Tensor::stack(&[&step.loss, &step.grad_norm], 0).map_err(Error::from)?;
        let numbers = Tensor::cat(&[&numbers, &step.verdict], 0).map_err(Error::from)?;
        let waits = numbers.device() != Device::Cpu && !used;
        course.waiting.push_back((step, numbers.read_later().map_err(Error::from)?));
        while course.waiting.len() > waits as usize
            && let Some((step, reading)) = course.waiting.pop_front()
        {
            let numbers = reading.wait().map_err(Error::from)?.to_f64_vec();
            course.tell(&step, &numbers, self.trainer.recipe().precision)?;
        }
        Ok(())
    }

    /// Shows the weights and the gradients of the last step.
    fn inspect<E: From<Error>>(&mut self, course: &mut Course<E>) -> Result<(), E> {
        let Some(gradients) = self.trainer.kept.take() else { return Ok(()) };
        let guard = &self.trainer.guard;
        let scale = if guard.scales { course.loss_scale } else { 1.0 };
        let (step, parameters) = (self.trainer.steps_done(), self.trainer.store().parameters());
        let inspection =
            Inspection { step, parameters: &parameters, gradients: &gradients, loss_scale: scale };
        (course.watch)(Event::Inspected(&inspection))
    }

    /// Tells what the ranks have done since the last time.
    fn tell_ranks<E: From<Error>>(&self, course: &mut Course<E>, step: u64) -> Result<(), E> {
        let traffic = self.trainer.take_traffic()?;
        match traffic.is_empty() || !self.trainer.leads() {
            true => Ok(()),
            false => (course.watch)(Event::Ranks { step, traffic: &traffic }),
        }
    }

    fn is_stale(&self) -> bool {
        let stale = self.trainer.best().map_or(0, |best| best.stale);
        self.options.early_stop.is_some_and(|patience| stale >= patience)
    }

    fn checkpoint<E: From<Error>>(&self, course: &mut Course<E>) -> Result<PathBuf, E> {
        let path = self.save_checkpoint()?;
        course.saved = Instant::now();
        if self.trainer.leads() {
            (course.watch)(Event::Saved(&path))?;
        }
        Ok(path)
    }

    fn save_checkpoint(&self) -> Result<PathBuf, Error> {
        let Destination { folder, config, tokenizer } = &self.destination;
        let path = self.trainer.save_checkpoint(folder, config, tokenizer)?;
        if !self.trainer.leads() {
            return Ok(path);
        }
        remove_old_checkpoints(folder, self.trainer.run_id(), self.options.keep)?;
        Ok(path)
    }

    /// Writes the model, and evaluates it on the test set.
    fn finish<E: From<Error>>(&mut self, mut course: Course<E>) -> Result<Finished, E> {
        course.clock.pause();
        let steps = self.trainer.steps_done();
        self.tell_ranks(&mut course, steps)?;
        let best = self.trainer.best().map(|best| (best.step, best.result.clone()));
        let better = best.as_ref().map(|(step, _)| *step);
        let better = better.filter(|step| *step != steps && !self.options.keep_last);
        let swaps = better.is_some();
        self.swap(swaps)?;
        self.destination.config.extra.remove("_name_or_path");
        let Destination { folder, config, tokenizer } = &self.destination;
        if self.trainer.leads() {
            self.trainer.save_model(folder, config, tokenizer)?;
        }
        // The checkpoint has the last weights, so that the run can be prolonged. It comes last: a
        // full disk then costs only the checkpoint.
        self.swap(swaps)?;
        let unsaved = self.save_checkpoint().err();
        self.swap(swaps)?;
        let test = match &self.test {
            Some(set) => {
                let (result, findings) = examine(&self.trainer, set, "test", &mut course)?;
                self.trainer.findings = Some(findings);
                Some(result)
            }
            None => None,
        };
        if let Some(result) = &test {
            let epoch = self.trainer.epochs_done();
            let (split, step) = ("test", steps);
            (course.watch)(Event::Evaluated { split, step, epoch, result, best: None })?;
        }
        Ok(Finished {
            steps,
            kept: better.unwrap_or(steps),
            best,
            last: course.last,
            test,
            examples: course.examples,
            tokens: course.tokens,
            training_seconds: course.clock.seconds(),
            seconds: course.clock.wall_seconds(),
            unsaved,
        })
    }

    /// Exchanges the weights with those to be written: the best, or the averages of the last.
    fn swap(&mut self, best: bool) -> Result<(), Error> {
        if best { self.trainer.swap_best() } else { self.trainer.swap_averages() }
    }
}

/// Evaluates the current weights, and tells the progress.
fn examine<T: Task, E: From<Error>>(
    trainer: &Trainer<T>,
    set: &T::Set,
    split: &'static str,
    course: &mut Course<E>,
) -> Result<(Evaluation, T::Findings), E> {
    let mut asked = Asked { trainer, split, course, failed: None };
    let result = trainer.task().examine(set, &mut asked)?;
    asked.failed.map_or(Ok(result), Err)
}

/// Tells how far an evaluation is.
struct Asked<'a, 'w, T: Task, E> {
    trainer: &'a Trainer<T>,
    split: &'static str,
    course: &'a mut Course<'w, E>,
    /// The first error of somebody who was told.
    failed: Option<E>,
}

impl<T: Task, E> Examiner for Asked<'_, '_, T, E> {
    fn progress(&mut self, done: usize, of: usize) {
        let told = (self.course.watch)(Event::Evaluating { split: self.split, done, of });
        self.failed = self.failed.take().or(told.err());
    }

    fn ranks(&self) -> Option<&dyn Communicator> {
        self.trainer.communicator()
    }
}

impl<E: From<Error>> Course<'_, E> {
    /// Tells the numbers of a step, and ends the run if too many in a row were skipped.
    fn tell(&mut self, step: &Step, numbers: &[f64], precision: Precision) -> Result<(), E> {
        let &[loss, grad_norm, _, skipped, before, _, scale] = numbers else {
            return Err(Error::Input(format!("a step has {} numbers, not 7", numbers.len())).into());
        };
        self.tokens += step.tokens;
        self.examples += step.examples;
        let seconds = self.clock.seconds();
        let numbers = StepNumbers {
            step: step.step,
            epoch: step.epoch,
            lr: step.lr,
            loss,
            grad_norm,
            skipped: skipped != 0.0,
            skipped_steps: (before + skipped) as u64,
            loss_scale: (precision == Precision::F16).then_some(scale),
            tokens: step.tokens,
            examples: self.examples,
            seconds: seconds - self.read_at,
            training_seconds: seconds,
        };
        self.read_at = seconds;
        self.loss_scale = scale;
        (self.watch)(Event::Step(&numbers))?;
        self.failed = if numbers.failed() { self.failed + 1 } else { 0 };
        if self.failed >= self.max_skipped {
            let (step, in_row) = (step.step, self.failed);
            return Err(Error::Diverged { step, loss, grad_norm, in_row }.into());
        }
        Ok(())
    }
}
