//! What a scheduler is given and what it gives back.

use std::time::{Duration, Instant};

/// A model that a scheduler runs.
pub trait Model: Send + Sync + 'static {
    /// One input: a sequence.
    type Input: Send + Sync + 'static;
    /// The answer to one input.
    type Output: Send + 'static;
    /// Why an input has no answer.
    type Error: Clone + Send + 'static;

    /// What an input costs, in tokens.
    fn cost(&self, input: &Self::Input) -> usize;

    /// Runs a batch and returns one result per input, in order.
    fn run(&self, batch: &[&Self::Input]) -> Vec<Result<Self::Output, Self::Error>>;
}

/// How a scheduler works.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Most tokens of a batch. An input with more tokens is a batch of its own.
    pub max_batch_tokens: usize,
    /// Most requests that wait.
    pub max_queue: usize,
    /// How long the first request in the queue may wait for a batch to fill.
    pub max_delay: Duration,
    /// How many batches run at the same time.
    pub workers: usize,
}

/// What a request asks for, apart from its inputs.
#[derive(Debug, Clone, Copy, Default)]
pub struct Terms {
    /// Who asks. Requests of different clients take turns.
    pub client: u64,
    /// When the answer stops being useful.
    pub deadline: Option<Instant>,
}

/// The answers to a request, and where its time went.
#[derive(Debug)]
pub struct Answers<T> {
    /// One answer per input, in the order of the inputs.
    pub outputs: Vec<T>,
    /// Time from submission to the start of the first batch with an input of this request.
    pub queued: Duration,
    /// Time from that start to the end of the last such batch.
    pub computed: Duration,
}

/// What ran in one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchReport {
    /// Number of inputs.
    pub inputs: usize,
    /// Number of tokens.
    pub tokens: usize,
    /// How long the model took.
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
