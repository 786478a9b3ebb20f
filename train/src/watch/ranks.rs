//! What the ranks of a run send, and for whom they wait.

use std::path::{Path, PathBuf};

use gradus_cli::{Outcome, SharedArgs, note};
use gradus_models::files;
use gradus_models::training::ranks::{Mark, Traffic};
use gradus_models::training::{Event, StepNumbers};
use serde_json::{Value, json};

use super::Screen;

/// Time that ranks wait, as a share of all, before the slowest is named.
const MUCH: f64 = 0.2;

/// A rank that computes longer than the mean of the others by this factor is slow.
const SLOW: f64 = 1.2;

/// The file of what each rank did in one step: a line for each [`Mark`](gradus_models::training::ranks::Mark).
pub const TIMELINE: &str = "timeline.jsonl";

/// The step at which the ranks were last looked at.
pub struct RanksSeen {
    step: u64,
    folder: PathBuf,
}

impl RanksSeen {
    /// Begins after a step of the run in a folder.
    pub fn after(step: u64, folder: &Path) -> RanksSeen {
        RanksSeen { step, folder: folder.into() }
    }

    /// The log of a rank that does not lead, which shows how far it is.
    pub fn log(shared: &SharedArgs, event: &Event) {
        match event {
            Event::Step(StepNumbers { step, loss, seconds, .. }) => {
                note(shared, format!("step {step}: loss {loss:.4}, {seconds:.2} s"));
            }
            Event::Cut { step, tokens } => {
                note(
                    shared,
                    format!("step {step}: batches are cut to {tokens} tokens from here on"),
                );
            }
            _ => {}
        }
    }

    /// Tells what the ranks have sent since the last time, and names the slowest. Returns the line
    /// for `metrics.jsonl`.
    pub fn see(&mut self, step: u64, traffic: &[Traffic], screen: &Screen) -> Option<Value> {
        let steps = step.saturating_sub(std::mem::replace(&mut self.step, step));
        (steps > 0).then(|| {
            screen.note(told(steps, traffic));
            line(step, steps, traffic)
        })
    }

    /// Writes what each rank did in the last step.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn timeline(&self, marks: &[Mark], screen: &Screen) -> Outcome {
        let path = self.folder.join(TIMELINE);
        let lines: Result<Vec<String>, _> = marks.iter().map(serde_json::to_string).collect();
        files::write_atomic(&path, (lines?.join("\n") + "\n").as_bytes())?;
        screen.note(format!("what each rank did, and when: {}", path.display()));
        Ok(())
    }
}

/// The means of some steps, a number for each rank.
fn line(step: u64, steps: u64, traffic: &[Traffic]) -> Value {
    let each = |of: fn(&Traffic) -> f64| -> Vec<f64> {
        traffic.iter().map(|rank| of(rank) / steps as f64).collect()
    };
    json!({
        "step": step,
        "ranks": {
            "steps": steps,
            "sent_bytes": each(|rank| rank.sent as f64),
            "compute_seconds": each(|rank| rank.computed),
            "exchange_seconds": each(|rank| rank.exchanged),
            "wait_seconds": each(|rank| rank.waited),
            "step_seconds": each(|rank| rank.seconds),
        }
    })
}

/// A line about some steps.
fn told(steps: u64, traffic: &[Traffic]) -> String {
    let ranks = traffic.len().max(1) as f64;
    let sent: u64 = traffic.iter().map(|rank| rank.sent).sum();
    let (computed, waited): (f64, f64) =
        traffic.iter().fold((0.0, 0.0), |(computed, waited), rank| {
            (computed + rank.computed, waited + rank.waited)
        });
    let share = waited / (computed + waited).max(1e-9);
    let mut line = format!(
        "ranks: {} sent a step by each, {:.0} % of the time waited",
        bytes(sent as f64 / ranks / steps as f64),
        100.0 * share
    );
    let slowest = traffic.iter().enumerate().max_by(|a, b| a.1.computed.total_cmp(&b.1.computed));
    if let Some((rank, slowest)) = slowest.filter(|_| traffic.len() > 1 && share > MUCH) {
        let others = (computed - slowest.computed) / (ranks - 1.0);
        let factor = slowest.computed / others.max(1e-9);
        if factor > SLOW {
            line += &format!("; rank {rank} computes {factor:.1} times as long as the others");
        }
    }
    line
}

fn bytes(n: f64) -> String {
    match n {
        n if n < 1e4 => format!("{n:.0} B"),
        n if n < 1e7 => format!("{:.0} KB", n / 1e3),
        n => format!("{:.0} MB", n / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rank(computed: f64, waited: f64) -> Traffic {
        let seconds = computed + waited + 1.0;
        Traffic { sent: 4_000_000, computed, exchanged: 0.5, waited, seconds }
    }

    #[test]
    fn the_line_for_scripts_has_means_of_a_step() {
        let line = line(40, 10, &[rank(9.0, 1.0), rank(4.0, 6.0)]);
        let expected = json!({"step": 40, "ranks": {
            "steps": 10, "sent_bytes": [400_000.0, 400_000.0], "compute_seconds": [0.9, 0.4],
            "exchange_seconds": [0.05, 0.05], "wait_seconds": [0.1, 0.6],
            "step_seconds": [1.1, 1.1],
        }});
        assert_eq!(line, expected);
    }

    #[test]
    fn the_slowest_rank_is_named_where_others_wait_much() {
        let even = told(10, &[rank(9.0, 1.0), rank(9.0, 1.0)]);
        assert_eq!(even, "ranks: 400 KB sent a step by each, 10 % of the time waited");
        let uneven = told(10, &[rank(4.0, 6.0), rank(10.0, 0.0), rank(4.0, 6.0)]);
        assert!(uneven.ends_with("; rank 1 computes 2.5 times as long as the others"), "{uneven}");
    }
}
