//! Work that takes longer than some 100 µs moves to a thread that may block.

use std::sync::{Arc, LazyLock};
use std::time::Instant;

use tokio::sync::Semaphore;

use crate::error::{Kind, Problem, Result};
use crate::scheduler::Failure;

/// Work on at most this many bytes runs inline: it takes some 100 µs.
const INLINE_BYTES: usize = 2048;

/// Runs `work` here when it is small, otherwise on a thread that may block.
///
/// # Errors
/// Those of `work`; an internal one when it panics.
pub async fn offload<T: Send + 'static>(
    bytes: usize,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    if bytes <= INLINE_BYTES {
        return work();
    }
    let crashed = |_| Problem::new(Kind::Internal, "a task of the server crashed, which is a bug");
    tokio::task::spawn_blocking(work).await.map_err(crashed)?
}

/// As many encodings run at a time as there are processors: each takes memory, and more of them
/// would not finish sooner.
static ENCODINGS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| {
    let processors = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    Arc::new(Semaphore::new(processors.max(2)))
});

/// As [`offload`], for work with a tokenizer: a limited number at a time, and only until
/// `deadline`.
///
/// # Errors
/// Those of `work`; a timeout at the deadline.
pub async fn encode_within<T: Send + 'static>(
    bytes: usize,
    deadline: Instant,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    if bytes <= INLINE_BYTES {
        return work();
    }
    let encoded = async {
        let place = Arc::clone(&ENCODINGS).acquire_owned().await;
        offload(bytes, move || {
            // The place is taken until the work is done, even if nobody waits for it any more.
            let _place = place;
            work()
        })
        .await
    };
    let encoded = tokio::time::timeout_at(deadline.into(), encoded).await;
    encoded.unwrap_or_else(|_| Err(Failure::Expired.into()))
}
