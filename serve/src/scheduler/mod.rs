//! The scheduler: requests wait in a bounded, fair queue; whenever a worker is free, it takes as many inputs as fit a
//! batch, runs the model on them, and hands the answers back. There is no HTTP here.
//!
//! - **Continuous batching**: a batch starts as soon as a worker is free, with whatever waits by then, up to
//!   `max_batch_tokens`; nobody waits for a batch to fill (unless `max_delay` says so). Under load the batches grow by
//!   themselves.
//! - **Split and joined**: the inputs of one request go into as many batches as they need; the request is answered when
//!   the last is done.
//! - **Bounded**: beyond `max_queue` requests a newcomer is refused at once. A request counts once, however many inputs
//!   it has, until its last input has begun.
//! - **Dropped before they cost**: a request whose [`Ticket`] is dropped, or whose deadline passes, leaves the queue.
//! - **Fair**: see [`fair`].

pub mod fair;
mod worker;

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use fair::FairQueue;

/// What the scheduler runs.
pub trait Model: Send + Sync + 'static {
    /// One input: a sequence.
    type Input: Send + Sync + 'static;
    /// The answer to one input.
    type Output: Send + 'static;
    /// Why an input has no answer.
    type Error: Clone + Send + 'static;

    /// What an input costs, in tokens.
    fn cost(&self, input: &Self::Input) -> usize;

    /// Runs a batch: one result an input, in order.
    fn run(&self, batch: &[&Self::Input]) -> Vec<Result<Self::Output, Self::Error>>;
}

/// How a scheduler works.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Tokens of a batch at most; an input that has more is a batch of its own.
    pub max_batch_tokens: usize,
    /// Requests that wait at most.
    pub max_queue: usize,
    /// How long the first in the queue may wait for a batch to fill.
    pub max_delay: Duration,
    /// Batches that run at the same time.
    pub workers: usize,
}

/// Why a request has no answers.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Failure<E> {
    /// The queue is full.
    #[error("the queue is full; try again in {} s", retry_after.as_secs())]
    Full {
        /// When there may be room again.
        retry_after: Duration,
    },
    /// The deadline passed before the request was computed.
    #[error("the deadline passed before the request was computed")]
    Expired,
    /// The scheduler takes no requests any more.
    #[error("the model is being unloaded")]
    Closed,
    /// The model panicked, which is a bug.
    #[error("the model crashed, which is a bug in Gradus")]
    Crashed,
    /// The model refused an input.
    #[error("{0}")]
    Model(E),
}

/// The answers to a request, in the order of its inputs, and where its time went.
#[derive(Debug)]
pub struct Answers<T> {
    /// One answer an input.
    pub outputs: Vec<T>,
    /// From submission to the start of the first batch with an input of this request.
    pub queued: Duration,
    /// From there to the end of the last.
    pub computed: Duration,
}

/// What ran in one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchReport {
    /// Inputs.
    pub inputs: usize,
    /// Tokens.
    pub tokens: usize,
    /// Time that the model took.
    pub duration: Duration,
}

/// What waits and runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    /// Requests in the queue.
    pub requests: usize,
    /// Inputs in the queue.
    pub inputs: usize,
    /// Tokens in the queue.
    pub tokens: usize,
    /// Inputs that the model is working on.
    pub running: usize,
    /// Workers.
    pub workers: usize,
}

/// What a request asks besides its inputs.
#[derive(Debug, Clone, Copy, Default)]
pub struct Terms {
    /// Who asks; requests of different clients take turns.
    pub client: u64,
    /// When the answer is of no more use.
    pub deadline: Option<Instant>,
}

type Reply<M> = Result<Answers<<M as Model>::Output>, Failure<<M as Model>::Error>>;

/// What a request has so far.
struct Progress<M: Model> {
    outputs: Vec<Option<M::Output>>,
    left: usize,
    waiting: usize,
    started: Option<Instant>,
    sender: Option<oneshot::Sender<Reply<M>>>,
}

struct Request<M: Model> {
    id: u64,
    client: u64,
    arrived: Instant,
    deadline: Option<Instant>,
    progress: Mutex<Progress<M>>,
}

struct Item<M: Model> {
    input: M::Input,
    cost: usize,
    place: usize,
    request: Arc<Request<M>>,
}

struct State<M: Model> {
    queue: FairQueue<Item<M>>,
    /// Requests of which an input waits.
    requests: usize,
    running: usize,
    /// Since when the queue has something.
    since: Instant,
    workers: usize,
    live: usize,
    closed: bool,
    /// Tokens a second, smoothed over batches.
    rate: f64,
}

struct Core<M: Model> {
    model: M,
    options: Options,
    state: Mutex<State<M>>,
    changed: Condvar,
    ids: AtomicU64,
    report: Box<dyn Fn(&BatchReport) + Send + Sync>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that holds a lock here can panic half-way through a change.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A queue and the workers that empty it. When it is dropped, what is queued is still answered.
pub struct Scheduler<M: Model> {
    core: Arc<Core<M>>,
}

impl<M: Model> Scheduler<M> {
    /// Starts the workers. `report` is called after each batch.
    pub fn new(
        model: M,
        options: Options,
        report: impl Fn(&BatchReport) + Send + Sync + 'static,
    ) -> Self {
        let workers = options.workers.max(1);
        let core = Arc::new(Core {
            model,
            options,
            state: Mutex::new(State {
                queue: FairQueue::default(),
                requests: 0,
                running: 0,
                since: Instant::now(),
                workers: 0,
                live: 0,
                closed: false,
                rate: 0.0,
            }),
            changed: Condvar::new(),
            ids: AtomicU64::new(0),
            report: Box::new(report),
        });
        let scheduler = Scheduler { core };
        scheduler.set_workers(workers);
        scheduler
    }

    /// The model.
    pub fn model(&self) -> &M {
        &self.core.model
    }

    /// Sets how many batches run at the same time (at least 1). Workers that are too many finish what they run.
    pub fn set_workers(&self, workers: usize) {
        let mut state = lock(&self.core.state);
        state.workers = workers.max(1);
        while state.live < state.workers {
            state.live += 1;
            let core = Arc::clone(&self.core);
            let worker = thread::Builder::new().name("gradus-worker".into());
            if worker.spawn(move || core.work()).is_err() {
                // The system has no more threads; those that are there do the work.
                state.live -= 1;
                state.workers = state.live.max(1);
                break;
            }
        }
        drop(state);
        self.core.changed.notify_all();
    }

    /// What waits and runs now.
    pub fn load(&self) -> Load {
        let state = lock(&self.core.state);
        Load {
            requests: state.requests,
            inputs: state.queue.inputs(),
            tokens: state.queue.tokens(),
            running: state.running,
            workers: state.workers,
        }
    }

    /// Whether a request would be refused now, and when there may be room again. Worth asking before the work of
    /// encoding one; [`Scheduler::submit`] decides.
    pub fn full(&self) -> Option<Duration> {
        let state = lock(&self.core.state);
        (state.requests >= self.core.options.max_queue).then(|| state.retry_after())
    }

    /// Queues a request.
    ///
    /// # Errors
    /// When the queue is full, the deadline has passed, or the scheduler is closed.
    pub fn submit(
        &self,
        inputs: Vec<M::Input>,
        terms: Terms,
    ) -> Result<Ticket<M>, Failure<M::Error>> {
        let (sender, receiver) = oneshot::channel();
        let arrived = Instant::now();
        let costs: Vec<usize> = inputs.iter().map(|i| self.core.model.cost(i)).collect();
        let request = Arc::new(Request {
            id: self.core.ids.fetch_add(1, Ordering::Relaxed),
            client: terms.client,
            arrived,
            deadline: terms.deadline,
            progress: Mutex::new(Progress {
                outputs: inputs.iter().map(|_| None).collect(),
                left: inputs.len(),
                waiting: inputs.len(),
                started: None,
                sender: Some(sender),
            }),
        });
        let ticket =
            Ticket { core: Arc::clone(&self.core), request: Arc::clone(&request), receiver };
        if inputs.is_empty() {
            request.finish(Ok(()));
            return Ok(ticket);
        }
        let mut state = lock(&self.core.state);
        if state.closed {
            return Err(Failure::Closed);
        }
        if terms.deadline.is_some_and(|deadline| deadline <= arrived) {
            return Err(Failure::Expired);
        }
        if state.requests >= self.core.options.max_queue {
            return Err(Failure::Full { retry_after: state.retry_after() });
        }
        if state.requests == 0 {
            state.since = arrived;
        }
        state.requests += 1;
        for (place, (input, cost)) in inputs.into_iter().zip(costs).enumerate() {
            let item = Item { input, cost, place, request: Arc::clone(&request) };
            state.queue.push(request.client, request.id, cost, item);
        }
        drop(state);
        self.core.changed.notify_one();
        Ok(ticket)
    }
}

impl<M: Model> Drop for Scheduler<M> {
    fn drop(&mut self) {
        lock(&self.core.state).closed = true;
        self.core.changed.notify_all();
    }
}

impl<M: Model> State<M> {
    /// When what is queued should be done, from 1 second to a minute.
    fn retry_after(&self) -> Duration {
        let seconds = match self.rate > 0.0 {
            true => self.queue.tokens() as f64 / self.rate,
            false => 1.0,
        };
        Duration::from_secs(seconds.ceil().clamp(1.0, 60.0) as u64)
    }

    /// Takes a request's inputs out of the queue.
    fn withdraw(&mut self, request: &Request<M>) -> Vec<Item<M>> {
        let items = self.queue.remove(request.client, request.id);
        if !items.is_empty() {
            self.requests -= 1;
        }
        items
    }
}

impl<M: Model> Request<M> {
    /// Keeps the answer to one input; the last answers the request.
    fn put(&self, place: usize, output: M::Output) {
        let mut progress = lock(&self.progress);
        if let Some(slot) = progress.outputs.get_mut(place) {
            *slot = Some(output);
        }
        progress.left -= 1;
        let done = progress.left == 0;
        drop(progress);
        if done {
            self.finish(Ok(()));
        }
    }

    /// Answers the request, once.
    fn finish(&self, outcome: Result<(), Failure<M::Error>>) {
        let mut progress = lock(&self.progress);
        let Some(sender) = progress.sender.take() else { return };
        let reply = outcome.map(|()| {
            let outputs = std::mem::take(&mut progress.outputs).into_iter().collect();
            let started = progress.started.unwrap_or(self.arrived);
            Answers {
                outputs: Option::unwrap_or(outputs, Vec::new()),
                queued: started.duration_since(self.arrived),
                computed: started.elapsed(),
            }
        });
        drop(progress);
        // Whoever asked may have gone.
        let _ = sender.send(reply);
    }
}

/// A request on its way. Await it, or [`Ticket::wait`] where there is no async; dropping it gives the request up.
pub struct Ticket<M: Model> {
    core: Arc<Core<M>>,
    request: Arc<Request<M>>,
    receiver: oneshot::Receiver<Reply<M>>,
}

impl<M: Model> Ticket<M> {
    /// Blocks until the answers are there.
    ///
    /// # Errors
    /// See [`Failure`].
    pub fn wait(mut self) -> Result<Answers<M::Output>, Failure<M::Error>> {
        let (_, closed) = oneshot::channel();
        let receiver = std::mem::replace(&mut self.receiver, closed);
        receiver.blocking_recv().unwrap_or(Err(Failure::Closed))
    }
}

impl<M: Model> Future for Ticket<M> {
    type Output = Reply<M>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let reply = Pin::new(&mut self.receiver).poll(context);
        reply.map(|reply| reply.unwrap_or(Err(Failure::Closed)))
    }
}

impl<M: Model> Drop for Ticket<M> {
    fn drop(&mut self) {
        if lock(&self.request.progress).sender.take().is_some() {
            let withdrawn = lock(&self.core.state).withdraw(&self.request);
            drop(withdrawn);
        }
    }
}

#[cfg(test)]
mod tests;
