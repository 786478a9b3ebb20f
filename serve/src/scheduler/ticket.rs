//! A request on its way.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use super::core::Core;
use super::failure::Failure;
use super::model::{Answers, Model};
use super::request::{Reply, Request, lock};

/// A request on its way. Await it, or call [`Ticket::wait`] outside async code. Dropping it gives
/// the request up.
pub struct Ticket<M: Model> {
    core: Arc<Core<M>>,
    request: Arc<Request<M>>,
    receiver: oneshot::Receiver<Reply<M>>,
}

impl<M: Model> Ticket<M> {
    pub(super) fn new(
        core: Arc<Core<M>>,
        request: Arc<Request<M>>,
        receiver: oneshot::Receiver<Reply<M>>,
    ) -> Self {
        Ticket { core, request, receiver }
    }

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
            let withdrawn = lock(&self.core.backlog).withdraw(&self.request);
            drop(withdrawn);
        }
    }
}
