//! `--dry-run`: a few steps, to tell what a run will need.

use std::time::{Duration, Instant};

use gradus_cli::{Outcome, note, peak_rss_mib};
use gradus_models::training::{Task, Trainer};
use gradus_tensor::Device;

use crate::prepare::Run;
use crate::tasks::Job;

/// Steps that are not timed: the first ones are slower.
const WARM_UP: u64 = 2;

/// The timed steps take at least this long, where there are enough of them.
const TIMED: Duration = Duration::from_secs(5);

impl<J: Job> Run<J> {
    /// Makes a few steps, and tells how long the run will take and what memory it will need.
    /// Nothing is written.
    pub fn rehearse(mut self) -> Outcome {
        let trainer = &mut self.session.trainer;
        let (per_epoch, left) =
            (trainer.steps_per_epoch(), trainer.total_steps() - trainer.steps_done());
        let accumulate = trainer.recipe().accumulate;
        let batches =
            if accumulate > 1 { format!(" of {accumulate} batches") } else { String::new() };
        let lines = [
            format!(
                "{left} steps{batches}, {per_epoch} an epoch, {} of them warm-up",
                trainer.warmup_steps()
            ),
            evaluations(&self.session.options, trainer, self.session.dev.is_some()),
        ];
        lines.iter().for_each(|line| note(&self.shared, line));
        let idle = peak_rss_mib();
        let measured = measure(trainer)?;
        let seconds = measured.seconds_per_step;
        note(
            &self.shared,
            format!(
                "{:.2} s a step, {:.0} tokens/s: about {} of training, evaluations aside",
                seconds,
                measured.tokens as f64 / seconds,
                spelled(seconds * left as f64)
            ),
        );
        if let (Device::Cpu, Some(idle), Some(peak)) =
            (trainer.store().device(), idle, peak_rss_mib())
        {
            // What a step holds grows with its tokens.
            let most = largest(trainer) as f64 / measured.most_tokens.max(1) as f64;
            let needed = idle as f64 + (peak - idle) as f64 * most.max(1.0);
            note(
                &self.shared,
                format!("memory: {idle} MiB before the first step, about {needed:.0} MiB at most"),
            );
        }
        let out = self.session.destination.folder.display();
        note(&self.shared, format!("nothing was written; without --dry-run the run writes {out}"));
        Ok(())
    }
}

/// What a few steps took.
struct Measured {
    seconds_per_step: f64,
    /// Tokens of a timed step, in the mean.
    tokens: usize,
    /// Tokens of the largest step.
    most_tokens: usize,
}

fn measure<T: Task>(trainer: &mut Trainer<T>) -> Outcome<Measured> {
    let (mut begin, mut steps, mut tokens, mut most) = (Instant::now(), 0, 0, 0);
    for made in 1.. {
        let Some(step) = trainer.step()? else { break };
        // The numbers are read, so that a GPU has finished the step.
        step.loss.item()?;
        (steps, tokens, most) = (steps + 1, tokens + step.tokens, most.max(step.tokens));
        // Ranks stop after the same step.
        if trainer.agreed([begin.elapsed() > TIMED])? == [true] {
            break;
        }
        if made == WARM_UP && trainer.steps_done() < trainer.total_steps() {
            (begin, steps, tokens) = (Instant::now(), 0, 0);
        }
    }
    let steps = steps.max(1);
    let seconds_per_step = begin.elapsed().as_secs_f64() / steps as f64;
    Ok(Measured { seconds_per_step, tokens: tokens / steps, most_tokens: most })
}

/// The most tokens that a batch of the open window can have.
fn largest<T: Task>(trainer: &Trainer<T>) -> usize {
    let mut lengths = trainer.task().lengths().to_vec();
    lengths.sort_unstable_by(|a, b| b.cmp(a));
    lengths.iter().take(trainer.recipe().batch_size).sum()
}

fn evaluations<T: Task>(
    options: &gradus_models::training::SessionOptions,
    trainer: &Trainer<T>,
    has_dev: bool,
) -> String {
    if !has_dev {
        return "no dev set: nothing will tell which step is best".into();
    }
    let every = options.eval_every.unwrap_or(trainer.steps_per_epoch());
    let metric = trainer.metric();
    let order = if metric.lower_is_better { "lowest" } else { "highest" };
    format!("an evaluation every {every} steps; the {order} dev {} decides", metric.title)
}

/// A time in the largest units that say enough.
fn spelled(seconds: f64) -> String {
    let minutes = seconds / 60.0;
    match minutes {
        m if m < 2.0 => format!("{seconds:.0} s"),
        m if m < 120.0 => format!("{m:.0} minutes"),
        m if m < 48.0 * 60.0 => format!("{:.1} hours", m / 60.0),
        m => format!("{:.1} days", m / 60.0 / 24.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_spelled_in_fitting_units() {
        let spelled = [90.0, 600.0, 9000.0, 250_000.0].map(spelled);
        assert_eq!(spelled, ["90 s", "10 minutes", "2.5 hours", "2.9 days"]);
    }
}
