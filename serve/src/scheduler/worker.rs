//! A worker: waits for work, takes a batch, runs it, hands the answers back.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};

use super::{BatchReport, Core, Failure, Item, Model, Request, State, lock};

impl<M: Model> Core<M> {
    /// Runs batches until this worker is to end.
    pub(super) fn work(&self) {
        loop {
            let batch = match self.next_batch() {
                Some(batch) => batch,
                None => return,
            };
            let tokens = batch.iter().map(|item| item.cost).sum();
            let start = (self.now)();
            let inputs: Vec<&M::Input> = batch.iter().map(|item| &item.input).collect();
            let results = catch_unwind(AssertUnwindSafe(|| self.model.run(&inputs)));
            let duration = (self.now)().saturating_duration_since(start);
            let report = BatchReport { inputs: batch.len(), tokens, duration };
            (self.report)(&report);
            {
                let mut state = lock(&self.state);
                state.running -= batch.len();
                state.running_tokens -= tokens as u64;
                if results.is_ok() {
                    state.pace.note(tokens, duration);
                }
            }
            let mut results = results.unwrap_or_default().into_iter();
            for item in batch {
                match results.next() {
                    Some(Ok(output)) => item.request.put(item.place, output),
                    Some(Err(error)) => self.fail(&item.request, Failure::Model(error)),
                    None => self.fail(&item.request, Failure::Crashed),
                }
            }
        }
    }

    /// Waits for work; `None` when this worker is to end.
    fn next_batch(&self) -> Option<Vec<Item<M>>> {
        let mut state = lock(&self.state);
        loop {
            if state.live > state.workers || (state.closed && state.queue.inputs() == 0) {
                state.live -= 1;
                return None;
            }
            let wait = match state.queue.inputs() {
                0 => None,
                _ => {
                    let due = state.since + self.options.max_delay;
                    let left = due.saturating_duration_since((self.now)());
                    let enough = state.queue.tokens() >= self.options.max_batch_tokens;
                    if left.is_zero() || enough || state.closed {
                        let batch = self.assemble(&mut state);
                        if !batch.is_empty() {
                            return Some(batch);
                        }
                        continue;
                    }
                    Some(left)
                }
            };
            state = match wait {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(left) => {
                    let waited = self.changed.wait_timeout(state, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// The inputs whose turn it is, as many as fit a batch.
    fn assemble(&self, state: &mut State<M>) -> Vec<Item<M>> {
        let now = (self.now)();
        for (request, failure) in state.shed(now) {
            request.finish(Err(failure));
        }
        let mut batch: Vec<Item<M>> = Vec::new();
        let mut room = self.options.max_batch_tokens;
        loop {
            // The first may be larger than a batch.
            let fits = if batch.is_empty() { usize::MAX } else { room };
            let Some(item) = state.queue.pop(fits) else { break };
            let request = Arc::clone(&item.request);
            let mut progress = lock(&request.progress);
            progress.waiting -= 1;
            if progress.waiting == 0 {
                state.requests -= 1;
            }
            progress.started.get_or_insert(now);
            room = room.saturating_sub(item.cost);
            drop(progress);
            batch.push(item);
        }
        state.running += batch.len();
        state.running_tokens += batch.iter().map(|item| item.cost as u64).sum::<u64>();
        if state.queue.inputs() > 0 {
            state.since = now;
            // There is more than this batch holds: another worker may take it.
            self.changed.notify_one();
        }
        batch
    }

    fn fail(&self, request: &Request<M>, failure: Failure<M::Error>) {
        let withdrawn = lock(&self.state).withdraw(request);
        drop(withdrawn);
        request.finish(Err(failure));
    }
}
