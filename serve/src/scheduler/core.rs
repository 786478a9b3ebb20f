//! What a scheduler, its workers and its tickets share.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use super::backlog::Backlog;
use super::model::{BatchReport, Model, Options};

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> Instant + Send + Sync>;

/// What a scheduler, its workers and its tickets share.
pub struct Core<M: Model> {
    pub model: M,
    pub options: Options,
    pub backlog: Mutex<Backlog<M>>,
    /// Wakes workers when the backlog has changed.
    pub changed: Condvar,
    /// The id of the next request.
    pub ids: AtomicU64,
    /// Called after each batch.
    pub report: Box<dyn Fn(&BatchReport) + Send + Sync>,
    pub now: Clock,
}
