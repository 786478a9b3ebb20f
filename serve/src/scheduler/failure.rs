//! Why a request has no answers.

use std::time::Duration;

/// Why a request has no answers.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Failure<E> {
    /// The queue is full.
    #[error("the queue is full; try again in {} s", retry_after.as_secs())]
    Full {
        /// When there may be room again.
        retry_after: Duration,
    },
    /// The requests ahead of this one take longer than its deadline allows.
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
    /// The scheduler takes no more requests.
    #[error("the model is being unloaded")]
    Closed,
    /// The model panicked, which is a bug.
    #[error("the model crashed, which is a bug in Gradus")]
    Crashed,
    /// The model refused an input.
    #[error("{0}")]
    Model(E),
}
