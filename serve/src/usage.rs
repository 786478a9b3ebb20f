//! What a request used.

use std::time::Duration;

use gradus_tensor::Device;

/// What a request used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Number of inputs.
    pub inputs: usize,
    /// Characters of the texts.
    pub characters: usize,
    /// Tokens, special ones included.
    pub tokens: usize,
    /// Time of encoding them.
    pub tokenized: Duration,
    /// Time in the queue.
    pub queued: Duration,
    /// Time from the start of the first batch to the end of the last.
    pub computed: Duration,
    /// Time since the request arrived.
    pub total: Duration,
    /// The device that computed.
    pub device: Device,
}
