//! The time of a run.

use std::time::{Duration, Instant};

/// A clock of the training alone: it stands still while the model is evaluated and saved.
pub(super) struct Clock {
    begin: Instant,
    spent: Duration,
    since: Option<Instant>,
}

impl Clock {
    pub(super) fn start() -> Self {
        let now = Instant::now();
        Clock { begin: now, spent: Duration::ZERO, since: Some(now) }
    }

    pub(super) fn pause(&mut self) {
        self.spent += self.since.take().map_or(Duration::ZERO, |since| since.elapsed());
    }

    pub(super) fn go_on(&mut self) {
        self.since.get_or_insert_with(Instant::now);
    }

    /// Seconds of training.
    pub(super) fn seconds(&self) -> f64 {
        let running = self.since.map_or(Duration::ZERO, |since| since.elapsed());
        (self.spent + running).as_secs_f64()
    }

    /// Seconds since the start.
    pub(super) fn wall_seconds(&self) -> f64 {
        self.begin.elapsed().as_secs_f64()
    }
}
