//! What each rank does, and when, in one step: to see what happens while messages travel.

use std::fmt::Display;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// What a rank does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Doing {
    /// The forward pass of a micro-batch.
    Forward,
    /// The backward pass of a micro-batch.
    Backward,
    /// The gradient of a parameter is complete, in the rank's last backward of the step.
    Gradient,
    /// Packs a bucket of gradients; at the end the message leaves.
    Pack,
    /// The gradients of another rank arrive.
    Arrive,
    /// Adds the gradients of all ranks in a bucket; at the end the sum leaves.
    Add,
    /// The sum of a bucket arrives from its owner.
    Sum,
    /// Waits for another rank.
    Wait,
    /// Makes tensors of the sums.
    Unpack,
    /// The step of the optimiser, and what goes with it.
    Update,
}

/// One thing that a rank did in a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mark {
    /// The rank.
    pub rank: usize,
    /// What it did.
    pub what: Doing,
    /// To what: the number of a micro-batch or a bucket, the name of a parameter.
    pub of: String,
    /// The other rank, of a message.
    pub with: Option<usize>,
    /// When it began, in seconds from the beginning of the step.
    pub begin: f64,
    /// When it ended; for an event the same as `begin`.
    pub end: f64,
}

/// The marks of one rank in the step that is recorded, if one is.
#[derive(Default)]
pub(super) struct Timeline(Mutex<Option<Recording>>);

/// Times are those of the system's clock, which the ranks of a host share.
struct Recording {
    zero: Instant,
    zero_seconds: f64,
    marks: Vec<Mark>,
}

impl Timeline {
    pub fn begin(&self) {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let zero_seconds = since.as_secs_f64();
        *self.get() = Some(Recording { zero: Instant::now(), zero_seconds, marks: Vec::new() });
    }

    /// Notes something that began at `times[0]` and ended at `times[1]`, if the step is recorded.
    pub fn note(
        &self,
        rank: usize,
        what: Doing,
        of: impl Display,
        with: Option<usize>,
        times: [Instant; 2],
    ) {
        let mut recording = self.get();
        let Some(Recording { zero, zero_seconds, marks }) = recording.as_mut() else { return };
        // A message may have arrived before this rank began its step.
        let seconds = |time: Instant| match time.checked_duration_since(*zero) {
            Some(after) => *zero_seconds + after.as_secs_f64(),
            None => *zero_seconds - (*zero - time).as_secs_f64(),
        };
        let [begin, end] = times.map(seconds);
        marks.push(Mark { rank, what, of: of.to_string(), with, begin, end });
    }

    /// Ends the recording; `None` if there is none.
    pub fn take(&self) -> Option<Vec<Mark>> {
        self.get().take().map(|recording| recording.marks)
    }

    fn get(&self) -> MutexGuard<'_, Option<Recording>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The marks of all ranks, from the first on: the step begins at 0.
pub(super) fn together(ranks: Vec<Vec<Mark>>) -> Vec<Mark> {
    let mut all = ranks.concat();
    let first = all.iter().map(|mark| mark.begin).fold(f64::INFINITY, f64::min);
    for mark in &mut all {
        mark.begin -= first;
        mark.end -= first;
    }
    all.sort_by(|a, b| a.begin.total_cmp(&b.begin));
    all
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn marks_have_the_times_of_the_step() {
        let timeline = Timeline::default();
        let now = Instant::now();
        timeline.note(0, Doing::Add, 7, None, [now, now]);
        assert_eq!(timeline.take(), None, "nothing is recorded unless it is asked for");
        timeline.begin();
        let begin = Instant::now();
        let end = begin + Duration::from_millis(250);
        timeline.note(1, Doing::Add, 7, Some(0), [end, end]);
        timeline.note(1, Doing::Pack, 6, None, [begin, end]);
        let marks = together(vec![Vec::new(), timeline.take().unwrap()]);
        let near = |a: f64, b: f64| (a - b).abs() < 1e-4;
        assert_eq!((marks[0].what, marks[0].of.as_str()), (Doing::Pack, "6"));
        assert!(near(marks[0].begin, 0.0) && near(marks[0].end, 0.25), "{marks:?}");
        assert!(near(marks[1].begin, 0.25) && marks[1].with == Some(0), "{marks:?}");
    }
}
