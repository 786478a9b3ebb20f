//! Messages that have arrived and nobody has taken yet.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Tag;
use crate::{Error, Result};

/// The messages that have arrived at a rank. What a [`Communicator`](super::Communicator) is made
/// of: one thread puts messages in, another waits for them.
#[derive(Default)]
pub struct Mailbox {
    content: Mutex<Content>,
    arrived: Condvar,
}

/// A message, and when it arrived.
type Letter = (Vec<u8>, Instant);

#[derive(Default)]
struct Content {
    messages: HashMap<(usize, Tag), VecDeque<Letter>>,
    /// The rank that failed first, and why.
    failure: Option<(usize, String)>,
    /// Ranks that send nothing more.
    ended: HashSet<usize>,
}

impl Mailbox {
    /// Puts a message from a rank in.
    pub fn put(&self, from: usize, tag: Tag, message: Vec<u8>) {
        self.content()
            .messages
            .entry((from, tag))
            .or_default()
            .push_back((message, Instant::now()));
        self.arrived.notify_all();
    }

    /// Notes that a rank has failed; the first failure counts. Everybody who waits gets it as an
    /// error.
    pub fn fail(&self, rank: usize, message: impl Into<String>) {
        self.content().failure.get_or_insert_with(|| (rank, message.into()));
        self.arrived.notify_all();
    }

    /// Notes that a rank sends nothing more. Who waits for it gets an error.
    pub fn end(&self, rank: usize) {
        self.content().ended.insert(rank);
        self.arrived.notify_all();
    }

    /// The error of the rank that failed first.
    ///
    /// # Errors
    /// [`Error::Rank`] when one has failed.
    pub fn check(&self) -> Result<()> {
        failure(&self.content())
    }

    /// Waits for a message. A message that has arrived is given even if a rank has failed since.
    ///
    /// # Errors
    /// [`Error::Rank`] when a rank has failed.
    pub fn take(&self, from: usize, tag: Tag) -> Result<Vec<u8>> {
        let mut content = self.content();
        loop {
            if let Some((message, _)) = content.next(from, tag) {
                return Ok(message);
            }
            failure(&content)?;
            if content.ended.contains(&from) {
                return Err(Error::Rank { rank: from, message: "it has ended".into() });
            }
            let wait = self.arrived.wait_timeout(content, Duration::from_secs(1));
            content = wait.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// A message that has arrived, and when; `None` where none has.
    pub fn arrived(&self, from: usize, tag: Tag) -> Option<(Vec<u8>, Instant)> {
        self.content().next(from, tag)
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Content {
    fn next(&mut self, from: usize, tag: Tag) -> Option<Letter> {
        self.messages.get_mut(&(from, tag)).and_then(VecDeque::pop_front)
    }
}

fn failure(content: &Content) -> Result<()> {
    match &content.failure {
        None => Ok(()),
        Some((rank, message)) => Err(Error::Rank { rank: *rank, message: message.clone() }),
    }
}
