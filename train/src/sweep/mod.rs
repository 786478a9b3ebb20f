//! `train sweep`: many runs with flags drawn from ranges.
//!
//! A trial is a run like any other, in a folder of its own, and `sweep.jsonl` beside them has a line
//! for each that has ended. What a trial draws follows from the seed and its number. So a sweep that
//! was stopped goes on where it was: the trials that have ended are there, the one that was under way
//! goes on from its checkpoint, and the later ones draw what they would have drawn.

mod args;
mod log;
mod page;
mod plan;
mod range;
mod table;

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::path::PathBuf;

use gradus_cli::{Failure, Outcome, SharedArgs, command, layered, note};
use gradus_models::training::latest_checkpoint;
use gradus_tensor::Device;

use crate::flags::TaskFlags;
use crate::folder::Record;
use crate::prepare::Run;
use crate::report::Report;
use crate::resume;
use crate::tasks::Job;
use crate::tasks::answer::Answer;
use crate::tasks::classify::Classify;
use crate::tasks::distill::Distill;
use crate::tasks::embed::Embed;
use crate::tasks::lm::Lm;
use crate::tasks::mlm::Mlm;
use crate::tasks::tokens::Tokens;
pub use args::SweepArgs;
use log::{Best, Ended, How, LOG, Log, folder};
use plan::{Drawn, Plan};
use range::Range;
use table::Table;

/// Runs the command.
///
/// # Errors
/// When the file is wrong, the first trial cannot begin, or a result cannot be written.
pub fn run(shared: &SharedArgs, args: &SweepArgs) -> Outcome {
    let (shared, flags) = layered(shared, &args.flags)?;
    let mut plan = Plan::read(&args.file)?;
    plan.trials = flags.trials.unwrap_or(plan.trials);
    let name = args.file.file_stem().unwrap_or_default();
    let out = flags.out.or_else(|| plan.out.clone()).unwrap_or(PathBuf::from("runs").join(name));
    let again = args.file.display().to_string();
    let start = Start { shared, plan, out, again, retry_failed: flags.retry_failed };
    match start.plan.task.as_str() {
        "answer" => Sweep::<Answer>::run(start),
        "classify" => Sweep::<Classify>::run(start),
        "distill" => Sweep::<Distill>::run(start),
        "embed" => Sweep::<Embed>::run(start),
        "lm" => Sweep::<Lm>::run(start),
        "mlm" => Sweep::<Mlm>::run(start),
        "tokens" => Sweep::<Tokens>::run(start),
        other => Err(Failure::usage(format!(
            "{}: task = \"{other}\" is none; the tasks are answer, classify, distill, embed, mlm \
             and tokens",
            args.file.display()
        ))),
    }
}

/// What a sweep begins with.
struct Start {
    shared: SharedArgs,
    plan: Plan,
    out: PathBuf,
    /// The file, for the command that goes on.
    again: String,
    /// Whether trials that failed are made again.
    retry_failed: bool,
}

/// A sweep of a task.
struct Sweep<J> {
    start: Start,
    ranges: BTreeMap<String, Range>,
    device: Device,
    job: PhantomData<J>,
}

/// What becomes of a trial.
enum Trial {
    Ended(How),
    /// A signal has stopped it.
    Stopped,
    /// It could not begin.
    NotBegun(Failure),
}

impl<J: Job> Sweep<J> {
    fn run(start: Start) -> Outcome {
        let ranges = start.plan.check::<J::Flags>(&start.shared)?;
        let device = start.shared.start()?;
        let mut log = Log::open(&start.out, &start.plan)?;
        if start.retry_failed {
            log.forget_failed()?;
        }
        let sweep = Sweep::<J> { start, ranges, device, job: PhantomData };
        sweep.tell_begin(&log);
        for trial in 0..sweep.start.plan.trials {
            if !log.has(trial) && !sweep.trial(trial, &mut log)? {
                sweep.stopped(trial);
            }
        }
        sweep.report(&log)
    }

    fn tell_begin(&self, log: &Log) {
        let Start { shared, plan, out, .. } = &self.start;
        let done = match log.ended.len() {
            0 => String::new(),
            n => format!(", of which {n} are done"),
        };
        note(shared, format!("{} trials in {}{done}", plan.trials, out.display()));
    }

    /// Makes a trial, and notes how it ended. `false` where a signal has stopped it.
    fn trial(&self, trial: u64, log: &mut Log) -> Outcome<bool> {
        let Start { shared, plan, .. } = &self.start;
        let drawn = plan.draw(&self.ranges, trial);
        let name = format!("trial {} of {}", trial + 1, plan.trials);
        note(shared, format!("{name}: {}", table::spelled(&drawn)));
        let how = match self.attempt(trial, &drawn)? {
            Trial::Stopped => return Ok(false),
            // What stops the first one would stop the others too.
            Trial::NotBegun(failure) if log.ended.is_empty() => return Err(failure),
            Trial::NotBegun(failure) => How::Failed { error: failure.to_string() },
            Trial::Ended(how) => how,
        };
        match &how {
            How::Finished(Best { metric, shown, step, .. }) => {
                note(shared, format!("{name}: dev {metric} {shown} at step {step}"));
            }
            How::Failed { error } => note(shared, format!("{name} failed: {error}")),
        }
        log.push(Ended { trial, flags: drawn, folder: folder(trial).into(), how })?;
        Ok(true)
    }

    fn attempt(&self, trial: u64, drawn: &Drawn) -> Outcome<Trial> {
        let run = match self.prepare(trial, drawn) {
            Ok(run) => run,
            Err(failure) => return Ok(Trial::NotBegun(failure)),
        };
        if run.session.dev.is_none() {
            return Ok(Trial::NotBegun(Failure::usage(
                "a sweep compares its trials on a dev set, and there is none: add one to the data, \
                 or set texts aside with dev-fraction = 0.1 under [flags]",
            )));
        }
        Ok(match run.trial() {
            Ok(None) => Trial::Stopped,
            Ok(Some(report)) => Trial::Ended(best(&report)),
            Err(failure) => Trial::Ended(How::Failed { error: failure.to_string() }),
        })
    }

    /// The run of a trial, from its checkpoint where it has one.
    fn prepare(&self, trial: u64, drawn: &Drawn) -> Outcome<Run<J>> {
        let Start { shared, plan, out, .. } = &self.start;
        let (mut shared, mut flags) = plan.flags::<J::Flags>(shared, drawn)?;
        // The sweep tells what there is to tell, unless all of it is wanted.
        shared.quiet |= !shared.verbose;
        shared.json = false;
        shared.check_precision(self.device)?;
        let folder = out.join(folder(trial));
        let common = flags.common_mut();
        common.out = Some(folder.clone());
        let begun = Record::read(&folder)
            .is_ok_and(|(_, record)| latest_checkpoint(&folder, record.run.as_deref()).is_ok());
        if !begun {
            common.overwrite = true;
            return Run::prepare(shared, flags, self.device, (None, None));
        }
        common.course.resume = Some(folder.clone());
        let (flags, resumed) = resume::resumed(&mut shared, &flags, &folder)?;
        Run::prepare(shared, flags, self.device, (Some(resumed), None))
    }

    /// Tells how to go on, and ends the program.
    fn stopped(&self, trial: u64) {
        let shared = &self.start.shared;
        note(shared, format!("stopped in trial {}, whose state is saved", trial + 1));
        note(shared, format!("go on with: {}", self.command(&[])));
        std::process::exit(130);
    }

    /// The command of this sweep, with more flags.
    fn command(&self, more: &[&str]) -> String {
        let Start { again, out, .. } = &self.start;
        let out = out.display().to_string();
        let own = ["sweep", again.as_str(), "--out", &out];
        command("train", own.into_iter().chain(more.iter().copied()))
    }

    /// Prints the trials, the best first, and writes the page.
    fn report(&self, log: &Log) -> Outcome {
        let Start { shared, out, .. } = &self.start;
        let ranked = log.ranked();
        let table = Table::of(&ranked, &self.ranges, out);
        if shared.json {
            ranked.iter().for_each(|ended| println!("{}", table::json(ended, out)));
        } else {
            print!("{}", table.text(gradus_cli::columns().map(usize::from)));
        }
        let page = page::write(out, &ranked, &table, &self.ranges)?;
        note(shared, format!("wrote {} and {}", out.join(LOG).display(), page.display()));
        if log.failed() > 0 {
            let (failed, all) = (log.failed(), log.ended.len());
            let again = self.command(&["--retry-failed"]);
            note(shared, format!("{failed} of {all} trials failed; try them again with: {again}"));
        }
        match ranked.first().and_then(|best| best.best()) {
            Some(_) => Ok(()),
            None => Err(Failure::error("no trial has finished; the table tells why")),
        }
    }
}

/// The best model of a trial.
fn best(report: &Report) -> How {
    let decides = &report.decides;
    let best = report.finished.best.as_ref();
    let value = best.and_then(|(step, best)| Some((*step, best.get(decides.name)?)));
    match value.filter(|(_, value)| value.is_finite()) {
        Some((step, value)) => How::Finished(Best {
            metric: decides.name.into(),
            lower_is_better: decides.lower_is_better,
            value,
            shown: decides.show(value),
            step,
        }),
        None => How::Failed { error: format!("no evaluation has a dev {}", decides.name) },
    }
}
