//! The kernels that ran while a record is kept, with their times by the GPU's own clock.
//!
//! `profile` of `gradus-tensor` begins and ends the record, and says to which call of an operation
//! the launches of a thread belong.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

use super::sync::lock;

/// The largest number of kernels in a record: some hundreds of MiB.
const MAX_RECORDED: usize = 1 << 20;

/// A run of a kernel on a GPU.
#[derive(Clone, Debug)]
pub struct KernelRun {
    /// The operation that it was for: its place among the calls of the profile.
    pub call: Option<usize>,
    /// The kernel's variant.
    pub kernel: String,
    /// Nanoseconds from the start of the profile, by the GPU's clock set to the host's at the end
    /// of each submit.
    pub begin_ns: u64,
    /// Nanoseconds.
    pub wall_ns: u64,
}

/// The times of a kernel as the GPU's clock shows them, in nanoseconds.
pub(super) struct Ticks {
    pub(super) call: Option<usize>,
    pub(super) kernel: String,
    pub(super) begin: u64,
    pub(super) end: u64,
}

struct Record {
    started: Instant,
    runs: Vec<KernelRun>,
    dropped: u64,
}

static ON: AtomicBool = AtomicBool::new(false);
static RECORD: Mutex<Option<Record>> = Mutex::new(None);

thread_local! {
    /// The call that this thread is in.
    static CALL: Cell<Option<usize>> = const { Cell::new(None) };
}

fn record() -> MutexGuard<'static, Option<Record>> {
    lock(&RECORD)
}

/// Begins a record, whose times count from `started`.
pub fn start(started: Instant) {
    *record() = Some(Record { started, runs: Vec::new(), dropped: 0 });
    ON.store(true, Ordering::Relaxed);
}

/// Ends the record. Returns the runs, and how many were no longer recorded.
pub fn stop() -> (Vec<KernelRun>, u64) {
    ON.store(false, Ordering::Relaxed);
    record().take().map(|record| (record.runs, record.dropped)).unwrap_or_default()
}

/// Says to which call the launches of this thread belong from now on.
pub fn enter(call: Option<usize>) {
    CALL.set(call);
}

/// Whether a record is kept.
#[inline]
pub(super) fn is_on() -> bool {
    ON.load(Ordering::Relaxed)
}

/// The call that this thread is in, if a record is kept.
#[inline]
pub(super) fn open_call() -> Option<usize> {
    if is_on() { CALL.get() } else { None }
}

/// Adds the kernels of one submit that has just ended.
pub(super) fn add(kernels: Vec<Ticks>) {
    let mut record = record();
    let Some(record) = record.as_mut() else { return };
    let now = record.started.elapsed().as_nanos() as u64;
    let last = kernels.iter().map(|ticks| ticks.end).max().unwrap_or(0);
    for Ticks { call, kernel, begin, end } in kernels {
        if record.runs.len() >= MAX_RECORDED {
            record.dropped += 1;
            continue;
        }
        let begin_ns = now.saturating_sub(last.saturating_sub(begin));
        record.runs.push(KernelRun { call, kernel, begin_ns, wall_ns: end.saturating_sub(begin) });
    }
}
