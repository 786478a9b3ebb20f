//! The scheduler. Requests wait in a bounded, fair queue. A worker that is free takes as many
//! inputs as fit a batch, runs the model on them, and hands the answers back. There is no HTTP
//! here.
//!
//! - **Continuous batching**: a batch starts as soon as a worker is free, with all that waits by
//!   then, up to `max_batch_tokens`. No request waits for a batch to fill, unless `max_delay` says
//!   so. Under load the batches grow by themselves.
//! - **Split and joined**: the inputs of one request go into as many batches as they need. The
//!   request is answered when the last batch is done.
//! - **Bounded**: when `max_queue` requests wait, a newcomer is refused at once. A request counts
//!   once, however many inputs it has, until its last input has begun.
//! - **In time, or refused**: the scheduler predicts when a request will be done, from the pace of
//!   the last batches and from what is ahead of the request. A request that would miss its deadline
//!   is refused when it comes. If the prediction changes for the worse later, the request leaves
//!   the queue before it costs anything. As long as the pace is unknown, nobody is refused for it.
//! - **Dropped before they cost**: a request leaves the queue when its [`Ticket`] is dropped, or
//!   when its deadline passes.
//! - **Fair**: see [`fair`].

mod backlog;
mod core;
mod failure;
pub mod fair;
mod model;
mod pace;
mod request;
mod ticket;
mod worker;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Instant;

use tokio::sync::oneshot;

use self::backlog::Backlog;
use self::core::{Clock, Core};
pub use self::failure::Failure;
pub use self::model::{Answers, BatchReport, Load, Model, Options, Terms};
use self::request::{Item, Request, lock};
pub use self::ticket::Ticket;

/// A queue and the workers that empty it. After it is dropped, queued requests are still answered.
pub struct Scheduler<M: Model> {
    core: Arc<Core<M>>,
}

impl<M: Model> Scheduler<M> {
    /// Starts the workers. They call `report` after each batch.
    pub fn new(
        model: M,
        options: Options,
        report: impl Fn(&BatchReport) + Send + Sync + 'static,
    ) -> Self {
        Scheduler::with_clock(model, options, report, Arc::new(Instant::now))
    }

    /// The same with another clock, for tests.
    fn with_clock(
        model: M,
        options: Options,
        report: impl Fn(&BatchReport) + Send + Sync + 'static,
        now: Clock,
    ) -> Self {
        let workers = options.workers.max(1);
        let core = Arc::new(Core {
            backlog: Mutex::new(Backlog::new(options.max_batch_tokens, now())),
            model,
            options,
            changed: Condvar::new(),
            ids: AtomicU64::new(0),
            report: Box::new(report),
            now,
        });
        let scheduler = Scheduler { core };
        scheduler.set_workers(workers);
        scheduler
    }

    /// The model.
    pub fn model(&self) -> &M {
        &self.core.model
    }

    /// Sets how many batches run at the same time (at least 1). Surplus workers finish the batch
    /// that they run.
    pub fn set_workers(&self, workers: usize) {
        let mut backlog = lock(&self.core.backlog);
        backlog.workers = workers.max(1);
        while backlog.live < backlog.workers {
            backlog.live += 1;
            let core = Arc::clone(&self.core);
            let worker = thread::Builder::new().name("gradus-worker".into());
            if worker.spawn(move || core.work()).is_err() {
                // The system has no more threads; the workers that there are do the work.
                backlog.live -= 1;
                backlog.workers = backlog.live.max(1);
                break;
            }
        }
        drop(backlog);
        self.core.changed.notify_all();
    }

    /// What waits and runs now.
    pub fn load(&self) -> Load {
        let backlog = lock(&self.core.backlog);
        Load {
            requests: backlog.requests,
            inputs: backlog.queue.inputs(),
            tokens: backlog.queue.tokens(),
            running: backlog.running,
            workers: backlog.workers,
        }
    }

    /// Whether a request of at least `cost` tokens would be refused now. Ask this before the work
    /// of encoding a request; [`Scheduler::submit`] decides.
    ///
    /// # Errors
    /// As [`Scheduler::submit`].
    pub fn admits(&self, cost: usize, terms: Terms) -> Result<(), Failure<M::Error>> {
        let now = (self.core.now)();
        lock(&self.core.backlog).admit(cost as u64, terms, self.core.options.max_queue, now)
    }

    /// Queues a request.
    ///
    /// # Errors
    /// When the queue is full, the deadline has passed or cannot be met, or the scheduler is
    /// closed.
    pub fn submit(
        &self,
        inputs: Vec<M::Input>,
        terms: Terms,
    ) -> Result<Ticket<M>, Failure<M::Error>> {
        let core = &self.core;
        let (sender, receiver) = oneshot::channel();
        let arrived = (core.now)();
        let costs: Vec<usize> = inputs.iter().map(|i| core.model.cost(i)).collect();
        let id = core.ids.fetch_add(1, Ordering::Relaxed);
        let request = Arc::new(Request::new(id, terms, arrived, inputs.len(), sender));
        let ticket = Ticket::new(Arc::clone(core), Arc::clone(&request), receiver);
        if inputs.is_empty() {
            request.finish(Ok(()));
            return Ok(ticket);
        }
        let cost = costs.iter().sum::<usize>() as u64;
        let mut backlog = lock(&core.backlog);
        backlog.admit(cost, terms, core.options.max_queue, (core.now)())?;
        if backlog.requests == 0 {
            backlog.since = arrived;
        }
        backlog.requests += 1;
        for (place, (input, cost)) in inputs.into_iter().zip(costs).enumerate() {
            let item = Item { input, cost, place, request: Arc::clone(&request) };
            backlog.queue.push(request.client, request.id, cost, item);
        }
        drop(backlog);
        core.changed.notify_one();
        Ok(ticket)
    }
}

impl<M: Model> Drop for Scheduler<M> {
    fn drop(&mut self) {
        lock(&self.core.backlog).closed = true;
        self.core.changed.notify_all();
    }
}

#[cfg(test)]
mod tests;
