//! What waits and what runs, and how long that takes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::failure::Failure;
use super::fair::FairQueue;
use super::model::{Model, Terms};
use super::pace::Pace;
use super::request::{Item, Request, lock};

/// How much longer than expected the requests ahead of a newcomer may take: the pace changes while
/// it waits.
const SPARE_AT_THE_DOOR: f64 = 1.4;
/// How much longer than expected a request that is about to begin may take, where others wait too.
/// A request that is done too late has cost the others their time; one that leaves costs nothing.
const SPARE_AT_THE_START: f64 = 1.15;

/// What waits and what runs.
pub struct Backlog<M: Model> {
    pub queue: FairQueue<Item<M>>,
    /// Requests with at least one input in the queue.
    pub requests: usize,
    /// Inputs that the model is working on.
    pub running: usize,
    /// Tokens that the model is working on.
    pub running_tokens: u64,
    /// When the first of the waiting requests came, or the last batch was taken.
    pub since: Instant,
    /// Workers that there should be.
    pub workers: usize,
    /// Workers that there are.
    pub live: usize,
    /// Whether newcomers are refused.
    pub closed: bool,
    pub pace: Pace,
    max_batch_tokens: usize,
}

/// A request that will not be computed, and what to tell its sender.
type Refused<M> = (Arc<Request<M>>, Failure<<M as Model>::Error>);

impl<M: Model> Backlog<M> {
    /// Nothing waits, and there are no workers.
    pub fn new(max_batch_tokens: usize, now: Instant) -> Self {
        Backlog {
            queue: FairQueue::default(),
            requests: 0,
            running: 0,
            running_tokens: 0,
            since: now,
            workers: 0,
            live: 0,
            closed: false,
            pace: Pace::default(),
            max_batch_tokens,
        }
    }

    /// Refuses a request of `cost` tokens that cannot be done in time, and any request where
    /// `max_queue` others wait.
    pub fn admit(
        &self,
        cost: u64,
        terms: Terms,
        max_queue: usize,
        now: Instant,
    ) -> Result<(), Failure<M::Error>> {
        if self.closed {
            return Err(Failure::Closed);
        }
        if let Some(deadline) = terms.deadline {
            self.in_time(cost, terms.client, deadline.saturating_duration_since(now))?;
        }
        if self.requests >= max_queue {
            let seconds = self.seconds(self.queue.tokens() as u64).unwrap_or(1.0);
            return Err(Failure::Full { retry_after: whole_seconds(seconds) });
        }
        Ok(())
    }

    /// Refuses a request of `cost` tokens that takes longer than `left`.
    fn in_time(&self, cost: u64, client: u64, left: Duration) -> Result<(), Failure<M::Error>> {
        let left = left.as_secs_f64();
        if left == 0.0 {
            return Err(Failure::Expired);
        }
        let own = self.seconds(cost).unwrap_or(0.0);
        if own > left {
            return Err(Failure::TooSlow { takes: Duration::from_secs_f64(own) });
        }
        let ahead = self.queue.ahead(client, cost) + self.running_tokens;
        let all = self.seconds(ahead).unwrap_or(0.0);
        let expected = all + (SPARE_AT_THE_DOOR - 1.0) * (all - own);
        match expected > left {
            true => Err(Failure::Busy {
                wait: Duration::from_secs_f64(expected),
                retry_after: whole_seconds(expected - left),
            }),
            false => Ok(()),
        }
    }

    /// Seconds that this many tokens take when all workers work; `None` while the pace is unknown.
    fn seconds(&self, tokens: u64) -> Option<f64> {
        let batches = tokens.div_ceil(self.max_batch_tokens.max(1) as u64);
        let at_once = batches.clamp(1, self.workers.max(1) as u64);
        Some(self.pace.seconds(tokens, self.max_batch_tokens)? / at_once as f64)
    }

    /// Takes out the requests that would miss their deadlines. A request that has not begun counts
    /// what is ahead of it; one that has begun counts its own inputs only.
    pub fn shed(&mut self, now: Instant) -> Vec<Refused<M>> {
        let left = |item: &Item<M>| {
            let deadline = item.request.deadline?;
            Some(deadline.saturating_duration_since(now).as_secs_f64())
        };
        let all = self.seconds(self.queue.tokens() as u64 + self.running_tokens);
        let least = self.queue.requests().filter_map(left).fold(f64::INFINITY, f64::min);
        // Mostly there is time for all.
        if SPARE_AT_THE_START * all.unwrap_or(0.0) <= least && least > 0.0 {
            return Vec::new();
        }
        let spare = if self.requests > 1 { SPARE_AT_THE_START } else { 1.0 };
        let mut queue = std::mem::take(&mut self.queue);
        let mut failures: HashMap<u64, Failure<M::Error>> = HashMap::new();
        let gone = queue.shed(|item, own, until| {
            let Some(left) = left(item) else { return false };
            let begun = lock(&item.request.progress).started.is_some();
            let tokens = if begun { own } else { until + self.running_tokens };
            let takes = self.seconds(tokens).unwrap_or(0.0) * if begun { 1.0 } else { spare };
            let failure = match () {
                _ if left == 0.0 => Failure::Expired,
                _ if takes <= left => return false,
                _ if begun => Failure::Expired,
                _ => Failure::Busy {
                    wait: Duration::from_secs_f64(takes),
                    retry_after: whole_seconds(takes - left),
                },
            };
            failures.insert(item.request.id, failure);
            true
        });
        self.queue = queue;
        let refused = gone.into_iter().filter_map(|item| {
            let failure = failures.remove(&item.request.id)?;
            Some((item.request, failure))
        });
        let refused: Vec<_> = refused.collect();
        self.requests -= refused.len();
        refused
    }

    /// Takes a request's inputs out of the queue.
    pub fn withdraw(&mut self, request: &Request<M>) -> Vec<Item<M>> {
        let items = self.queue.remove(request.client, request.id);
        if !items.is_empty() {
            self.requests -= 1;
        }
        items
    }
}

/// From 1 second to a minute.
fn whole_seconds(seconds: f64) -> Duration {
    Duration::from_secs(seconds.ceil().clamp(1.0, 60.0) as u64)
}
