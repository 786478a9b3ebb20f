//! The scheduler: requests wait in a bounded, fair queue; whenever a worker is free, it takes as
//! many inputs as fit a batch, runs the model on them, and hands the answers back. There is no HTTP
//! here.
//!
//! - **Continuous batching**: a batch starts as soon as a worker is free, with whatever waits by
//!   then, up to `max_batch_tokens`; nobody waits for a batch to fill (unless `max_delay` says so).
//!   Under load the batches grow by themselves.
//! - **Split and joined**: the inputs of one request go into as many batches as they need; the
//!   request is answered when the last is done.
//! - **Bounded**: beyond `max_queue` requests a newcomer is refused at once. A request counts once,
//!   however many inputs it has, until its last input has begun.
//! - **In time, or refused**: from the pace of the last batches and from what is ahead of it
//!   follows when a request will be done. One that would miss its deadline is refused when it
//!   comes; one that turns out later to miss it leaves the queue before it costs anything. As long
//!   as the pace is not known, nobody is refused for it.
//! - **Dropped before they cost**: a request whose [`Ticket`] is dropped, or whose deadline passes,
//!   leaves the queue.
//! - **Fair**: see [`fair`].

pub mod fair;
mod pace;
mod worker;

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use fair::FairQueue;
use pace::Pace;

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
    /// What is ahead of the request takes longer than its deadline allows.
    #[error(
        "the server is overloaded: the answer would take about {:.1} s, longer than its deadline allows; try again in \
         {} s",
        wait.as_secs_f64(), retry_after.as_secs()
    )]
    Busy {
        /// When the request would be done.
        wait: Duration,
        /// When it may be taken.
        retry_after: Duration,
    },
    /// The request's own inputs take longer than its deadline allows.
    #[error(
        "the inputs take about {:.1} s of computing, longer than the deadline allows; send fewer at a time",
        takes.as_secs_f64()
    )]
    TooSlow {
        /// How long they take.
        takes: Duration,
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
    /// Tokens that the model is working on.
    running_tokens: u64,
    /// Since when the queue has something.
    since: Instant,
    workers: usize,
    live: usize,
    closed: bool,
    pace: Pace,
    max_batch_tokens: usize,
}

struct Core<M: Model> {
    model: M,
    options: Options,
    state: Mutex<State<M>>,
    changed: Condvar,
    ids: AtomicU64,
    report: Box<dyn Fn(&BatchReport) + Send + Sync>,
    now: Clock,
}

/// What tells the time.
type Clock = Arc<dyn Fn() -> Instant + Send + Sync>;

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
        Scheduler::with_clock(model, options, report, Arc::new(Instant::now))
    }

    /// The same with another clock, which tests use.
    fn with_clock(
        model: M,
        options: Options,
        report: impl Fn(&BatchReport) + Send + Sync + 'static,
        now: Clock,
    ) -> Self {
        let workers = options.workers.max(1);
        let max_batch_tokens = options.max_batch_tokens;
        let core = Arc::new(Core {
            model,
            options,
            state: Mutex::new(State {
                queue: FairQueue::default(),
                requests: 0,
                running: 0,
                running_tokens: 0,
                since: now(),
                workers: 0,
                live: 0,
                closed: false,
                pace: Pace::default(),
                max_batch_tokens,
            }),
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

    /// Sets how many batches run at the same time (at least 1). Workers that are too many finish
    /// what they run.
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

    /// Whether a request of at least `cost` tokens would be refused now. Worth asking before the
    /// work of encoding one; [`Scheduler::submit`] decides.
    ///
    /// # Errors
    /// As [`Scheduler::submit`].
    pub fn admits(&self, cost: usize, terms: Terms) -> Result<(), Failure<M::Error>> {
        let state = lock(&self.core.state);
        self.core.admits(&state, cost as u64, terms)
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
        let (sender, receiver) = oneshot::channel();
        let arrived = (self.core.now)();
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
        self.core.admits(&state, costs.iter().sum::<usize>() as u64, terms)?;
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

/// How much longer than expected what is ahead of a newcomer may take: the pace changes while it
/// waits.
const SPARE_AT_THE_DOOR: f64 = 1.4;
/// How much longer than expected a request may take that is about to begin, where others wait too.
/// One that is done too late has cost the others their time; one that leaves costs nothing.
const SPARE_AT_THE_START: f64 = 1.15;

impl<M: Model> Core<M> {
    /// Whether a request of `cost` tokens is let in.
    fn admits(&self, state: &State<M>, cost: u64, terms: Terms) -> Result<(), Failure<M::Error>> {
        if state.closed {
            return Err(Failure::Closed);
        }
        let until = state.queue.ahead(terms.client, cost) + state.running_tokens;
        if let Some(deadline) = terms.deadline {
            let left = deadline.saturating_duration_since((self.now)()).as_secs_f64();
            if left == 0.0 {
                return Err(Failure::Expired);
            }
            if let Some(takes) = state.seconds(cost).filter(|&takes| takes > left) {
                return Err(Failure::TooSlow { takes: Duration::from_secs_f64(takes) });
            }
            let before = state.seconds(until).unwrap_or(0.0) - state.seconds(cost).unwrap_or(0.0);
            let expected = state.seconds(until).unwrap_or(0.0) + (SPARE_AT_THE_DOOR - 1.0) * before;
            if expected > left {
                return Err(Failure::Busy {
                    wait: Duration::from_secs_f64(expected),
                    retry_after: whole_seconds(expected - left),
                });
            }
        }
        if state.requests >= self.options.max_queue {
            let seconds = state.seconds(state.queue.tokens() as u64).unwrap_or(1.0);
            return Err(Failure::Full { retry_after: whole_seconds(seconds) });
        }
        Ok(())
    }
}

/// From 1 second to a minute.
fn whole_seconds(seconds: f64) -> Duration {
    Duration::from_secs(seconds.ceil().clamp(1.0, 60.0) as u64)
}

/// A request that will not be computed, and what to tell whoever asked.
type Refused<M> = (Arc<Request<M>>, Failure<<M as Model>::Error>);

impl<M: Model> State<M> {
    /// Seconds that so many tokens take with all workers at work, if that is known.
    fn seconds(&self, tokens: u64) -> Option<f64> {
        let batches = tokens.div_ceil(self.max_batch_tokens.max(1) as u64);
        let at_once = batches.clamp(1, self.workers.max(1) as u64);
        Some(self.pace.seconds(tokens, self.max_batch_tokens)? / at_once as f64)
    }

    /// Takes out what would miss its deadline: of a request of which nothing has begun, when those
    /// ahead of it take too long; of one that has begun, when its own inputs do. Whose it was, and
    /// what to tell them.
    fn shed(&mut self, now: Instant) -> Vec<Refused<M>> {
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
        let mut told: HashMap<u64, Failure<M::Error>> = HashMap::new();
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
            told.insert(item.request.id, failure);
            true
        });
        self.queue = queue;
        let ended = gone.into_iter().filter_map(|item| {
            let failure = told.remove(&item.request.id)?;
            Some((item.request, failure))
        });
        let ended: Vec<_> = ended.collect();
        self.requests -= ended.len();
        ended
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

/// A request on its way. Await it, or [`Ticket::wait`] where there is no async; dropping it gives
/// the request up.
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
