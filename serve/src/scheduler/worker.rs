//! A worker waits for work, takes a batch, runs it, and hands the answers back.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};

use super::backlog::Backlog;
use super::core::Core;
use super::failure::Failure;
use super::model::{BatchReport, Model};
use super::request::{Item, Request, lock};

impl<M: Model> Core<M> {
    /// Runs batches until there is one worker too many, or no more work will come.
    pub fn work(&self) {
        while let Some(batch) = self.next_batch() {
            self.run(batch);
        }
    }

    /// Runs a batch and answers its inputs.
    fn run(&self, batch: Vec<Item<M>>) {
        let tokens = batch.iter().map(|item| item.cost).sum();
        let start = (self.now)();
        let inputs: Vec<&M::Input> = batch.iter().map(|item| &item.input).collect();
        let results = catch_unwind(AssertUnwindSafe(|| self.model.run(&inputs)));
        let duration = (self.now)().saturating_duration_since(start);
        (self.report)(&BatchReport { inputs: batch.len(), tokens, duration });
        let mut backlog = lock(&self.backlog);
        backlog.running -= batch.len();
        backlog.running_tokens -= tokens as u64;
        if results.is_ok() {
            backlog.pace.note(tokens, duration);
        }
        drop(backlog);
        let mut results = results.unwrap_or_default().into_iter();
        for item in batch {
            match results.next() {
                Some(Ok(output)) => item.request.put(item.place, output),
                Some(Err(error)) => self.fail(&item.request, Failure::Model(error)),
                None => self.fail(&item.request, Failure::Crashed),
            }
        }
    }

    /// Waits for work; `None` when this worker is to end.
    fn next_batch(&self) -> Option<Vec<Item<M>>> {
        let mut backlog = lock(&self.backlog);
        loop {
            let idle = backlog.queue.inputs() == 0;
            if backlog.live > backlog.workers || (backlog.closed && idle) {
                backlog.live -= 1;
                return None;
            }
            if idle {
                backlog = self.changed.wait(backlog).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let due = backlog.since + self.options.max_delay;
            let left = due.saturating_duration_since((self.now)());
            let enough = backlog.queue.tokens() >= self.options.max_batch_tokens;
            if left.is_zero() || enough || backlog.closed {
                let batch = self.assemble(&mut backlog);
                if !batch.is_empty() {
                    return Some(batch);
                }
            } else {
                let waited = self.changed.wait_timeout(backlog, left);
                backlog = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }

    /// Takes the inputs whose turn it is, as many as fit a batch.
    fn assemble(&self, backlog: &mut Backlog<M>) -> Vec<Item<M>> {
        let now = (self.now)();
        for (request, failure) in backlog.shed(now) {
            request.finish(Err(failure));
        }
        let mut batch: Vec<Item<M>> = Vec::new();
        let mut room = self.options.max_batch_tokens;
        loop {
            // The first input may be larger than a batch.
            let fits = if batch.is_empty() { usize::MAX } else { room };
            let Some(item) = backlog.queue.pop(fits) else { break };
            let request = Arc::clone(&item.request);
            let mut progress = lock(&request.progress);
            progress.waiting -= 1;
            if progress.waiting == 0 {
                backlog.requests -= 1;
            }
            progress.started.get_or_insert(now);
            room = room.saturating_sub(item.cost);
            drop(progress);
            batch.push(item);
        }
        backlog.running += batch.len();
        backlog.running_tokens += batch.iter().map(|item| item.cost as u64).sum::<u64>();
        if backlog.queue.inputs() > 0 {
            backlog.since = now;
            // More waits than this batch holds: another worker may take it.
            self.changed.notify_one();
        }
        batch
    }

    fn fail(&self, request: &Request<M>, failure: Failure<M::Error>) {
        let withdrawn = lock(&self.backlog).withdraw(request);
        drop(withdrawn);
        request.finish(Err(failure));
    }
}
