//! A request while it waits and runs.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::oneshot;

use super::failure::Failure;
use super::model::{Answers, Model, Terms};

/// What the sender of a request receives.
pub type Reply<M> = Result<Answers<<M as Model>::Output>, Failure<<M as Model>::Error>>;

/// A request.
pub struct Request<M: Model> {
    pub id: u64,
    pub client: u64,
    pub arrived: Instant,
    pub deadline: Option<Instant>,
    pub progress: Mutex<Progress<M>>,
}

/// What a request has so far.
pub struct Progress<M: Model> {
    outputs: Vec<Option<M::Output>>,
    /// Inputs without an answer.
    left: usize,
    /// Inputs in the queue.
    pub waiting: usize,
    /// When its first batch began.
    pub started: Option<Instant>,
    /// Empty once the request has been answered or given up.
    pub sender: Option<oneshot::Sender<Reply<M>>>,
}

/// One input of a request.
pub struct Item<M: Model> {
    pub input: M::Input,
    pub cost: usize,
    /// Its index among the request's inputs.
    pub place: usize,
    pub request: Arc<Request<M>>,
}

/// Locks a mutex of the scheduler.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No code that holds a lock here can panic half-way through a change.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<M: Model> Request<M> {
    /// A request with this many inputs, whose answers go to `sender`.
    pub fn new(
        id: u64,
        terms: Terms,
        arrived: Instant,
        inputs: usize,
        sender: oneshot::Sender<Reply<M>>,
    ) -> Self {
        let progress = Progress {
            outputs: (0..inputs).map(|_| None).collect(),
            left: inputs,
            waiting: inputs,
            started: None,
            sender: Some(sender),
        };
        let (client, deadline) = (terms.client, terms.deadline);
        Request { id, client, arrived, deadline, progress: Mutex::new(progress) }
    }

    /// Keeps the answer to one input. The last one answers the request.
    pub fn put(&self, place: usize, output: M::Output) {
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
    pub fn finish(&self, outcome: Result<(), Failure<M::Error>>) {
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
        // The sender of the request may have gone.
        let _ = sender.send(reply);
    }
}
