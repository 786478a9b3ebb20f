//! A record of what ran: every operation and, on a GPU, every kernel, with its time and its work.
//!
//! [`start`] begins it, [`stop`] returns it. While none is kept, an operation pays one relaxed
//! load. On the CPU an operation's time is the wall clock of its call. On a GPU it is the sum of
//! its kernels' times by the GPU's own clock (timestamp queries); to take them, each kernel gets a
//! pass of its own and the program waits for each submit, so a profiled run is slower as a whole.
//!
//! FLOPs are counted for products and attention, where they decide; a fused multiply-add is 2.
//! Bytes are those of the operands and the results, each once (for a table, of the rows that are
//! looked up).

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::Instant;

use gradus_base::DType;
use gradus_gpu::profile as kernels;
pub use gradus_gpu::profile::KernelRun;

use crate::device::Device;

pub use gradus_cpu::sources as cpu_sources;
pub use gradus_gpu::shader_source;

/// The largest number of operations in a record: some hundreds of MiB.
const MAX_RECORDED: usize = 1 << 20;

/// A call of an operation.
#[derive(Clone, Debug)]
pub struct Call {
    /// The operation.
    pub op: &'static str,
    /// Where it ran.
    pub device: Device,
    /// The calling thread, counted from 0 in the order of their first calls.
    pub thread: usize,
    /// Nanoseconds from [`start`] to the call.
    pub begin_ns: u64,
    /// Nanoseconds of the call.
    pub wall_ns: u64,
    /// The same without the operations that it called itself. On a GPU: the time of its kernels.
    pub own_ns: u64,
    /// Floating-point operations; 0 where they are not counted.
    pub flops: u64,
    /// Bytes of the operands and the results.
    pub bytes: u64,
    /// The shapes of the operands.
    pub shapes: Vec<Vec<usize>>,
    /// The element type of the first operand of floats, else of the first operand.
    pub dtype: DType,
    /// The function that computed it: `softmax::softmax` of `gradus-cpu` or of `gradus-gpu`. Empty
    /// where there is none.
    pub kernel: &'static str,
}

impl Call {
    /// The instructions of the CPU's kernel where it has several forms: products of f32.
    ///
    /// ```
    /// # use gradus_tensor::{Tensor, profile};
    /// profile::start();
    /// let x = Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0], &[2, 2])?;
    /// x.matmul(&x)?.exp()?;
    /// let calls = profile::stop().unwrap().calls;
    /// let of = |op: &str| calls.iter().find(|call| call.op == op).unwrap();
    /// assert_eq!(of("matmul").kernel, "matmul::matmul");
    /// assert_eq!(of("matmul").instructions(), Some(gradus_tensor::instruction_set()));
    /// assert_eq!(of("exp").instructions(), None);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn instructions(&self) -> Option<&'static str> {
        let product = self.kernel.starts_with("matmul::") && self.dtype == DType::F32;
        (product && self.device == Device::Cpu).then(gradus_cpu::instruction_set)
    }
}

/// What was recorded.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    /// In the order of their beginnings.
    pub calls: Vec<Call>,
    /// Empty on the CPU, and on a GPU without timestamps.
    pub kernels: Vec<KernelRun>,
    /// Calls and kernels that were no longer recorded.
    pub dropped: u64,
    /// Nanoseconds from [`start`] to [`stop`].
    pub wall_ns: u64,
}

struct State {
    started: Instant,
    profile: Profile,
    threads: HashMap<ThreadId, usize>,
}

static ON: AtomicBool = AtomicBool::new(false);
static STATE: Mutex<Option<State>> = Mutex::new(None);

thread_local! {
    /// The calls that this thread is in: place in the profile, nanoseconds of the calls inside.
    static OPEN: RefCell<Vec<(usize, u64)>> = const { RefCell::new(Vec::new()) };
}

fn state() -> MutexGuard<'static, Option<State>> {
    // Each change is a single call, so what a panicking thread left behind is consistent.
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a record is kept.
#[inline]
fn is_on() -> bool {
    ON.load(Ordering::Relaxed)
}

/// Begins a record. A record that is being kept is lost.
///
/// ```
/// # use gradus_tensor::{DType, Tensor};
/// # use gradus_tensor::profile;
/// profile::start();
/// let x = Tensor::zeros(&[2, 3], DType::F32)?;
/// x.matmul(&x.t()?)?;
/// let profile = profile::stop().unwrap();
/// let call = profile.calls.iter().find(|call| call.op == "matmul").unwrap();
/// assert_eq!(call.flops, 2 * 2 * 3 * 2); // [2, 3] × [3, 2]
/// # Ok::<(), gradus_tensor::Error>(())
/// ```
pub fn start() {
    let (started, profile, threads) = (Instant::now(), Profile::default(), HashMap::new());
    *state() = Some(State { started, profile, threads });
    kernels::start(started);
    ON.store(true, Ordering::Relaxed);
}

/// How many calls the record has so far; 0 where none is kept.
///
/// ```
/// # use gradus_tensor::profile;
/// assert_eq!(profile::calls(), 0);
/// ```
pub fn calls() -> usize {
    if !is_on() {
        return 0;
    }
    state().as_ref().map_or(0, |state| state.profile.calls.len())
}

/// The places of this thread's calls within `range`: from the last call of `op` on, or all where
/// there is none of it.
///
/// ```
/// # use gradus_tensor::{DType, Tensor};
/// # use gradus_tensor::profile;
/// profile::start();
/// let x = Tensor::zeros(&[2, 2], DType::F32)?;
/// x.exp()?;
/// x.matmul(&x)?;
/// let own = profile::own_calls(0..profile::calls(), "matmul");
/// assert_eq!(profile::stop().unwrap().calls[own[0]].op, "matmul");
/// # Ok::<(), gradus_tensor::Error>(())
/// ```
pub fn own_calls(range: Range<usize>, op: &str) -> Vec<usize> {
    let state = state();
    let Some(state) = state.as_ref() else { return Vec::new() };
    let thread = state.threads.get(&thread::current().id());
    let is_own = |place: &usize| {
        let call = state.profile.calls.get(*place);
        call.is_some_and(|call| Some(&call.thread) == thread)
    };
    let own: Vec<usize> = range.filter(is_own).collect();
    let last = own.iter().rposition(|&place| state.profile.calls[place].op == op);
    own[last.unwrap_or(0)..].to_vec()
}

/// Ends the record and returns it; `None` if none was kept. Call [`Device::synchronize`] first:
/// kernels that have not run yet are not in it.
///
/// ```
/// # use gradus_tensor::profile;
/// profile::start();
/// assert!(profile::stop().unwrap().calls.is_empty());
/// assert!(profile::stop().is_none()); // no record is kept
/// ```
pub fn stop() -> Option<Profile> {
    ON.store(false, Ordering::Relaxed);
    let (runs, dropped) = kernels::stop();
    let State { started, mut profile, .. } = state().take()?;
    profile.wall_ns = nanoseconds(started);
    profile.kernels = runs;
    profile.dropped += dropped;
    for call in profile.calls.iter_mut().filter(|call| call.device != Device::Cpu) {
        call.own_ns = 0;
    }
    for kernel in &profile.kernels {
        if let Some(call) = kernel.call.and_then(|index| profile.calls.get_mut(index)) {
            call.own_ns += kernel.wall_ns;
        }
    }
    Some(profile)
}

fn nanoseconds(since: Instant) -> u64 {
    since.elapsed().as_nanos() as u64
}

/// A call that has begun. Not recording is the empty one.
pub(crate) struct Span(Option<(Instant, usize)>);

/// What is known of a call's work before it runs.
pub(crate) struct Work {
    /// See [`Call::flops`].
    pub(crate) flops: u64,
    /// Of the operands.
    pub(crate) bytes: u64,
    /// The shapes of the operands.
    pub(crate) shapes: Vec<Vec<usize>>,
    /// See [`Call::dtype`].
    pub(crate) dtype: DType,
}

impl Span {
    /// Begins a call; `work` is only asked while a record is kept.
    #[inline]
    pub(crate) fn begin(op: &'static str, device: Device, work: impl FnOnce() -> Work) -> Span {
        if is_on() { Span::record(op, device, work()) } else { Span(None) }
    }

    #[cold]
    fn record(op: &'static str, device: Device, work: Work) -> Span {
        let mut state = state();
        let Some(state) = state.as_mut() else { return Span(None) };
        if state.profile.calls.len() >= MAX_RECORDED {
            state.profile.dropped += 1;
            return Span(None);
        }
        let next = state.threads.len();
        let thread = *state.threads.entry(thread::current().id()).or_insert(next);
        let index = state.profile.calls.len();
        OPEN.with_borrow_mut(|open| open.push((index, 0)));
        kernels::enter(Some(index));
        let begin_ns = nanoseconds(state.started);
        let Work { flops, bytes, shapes, dtype } = work;
        state.profile.calls.push(Call {
            op,
            device,
            thread,
            begin_ns,
            wall_ns: 0,
            own_ns: 0,
            flops,
            bytes,
            shapes,
            dtype,
            kernel: "",
        });
        Span(Some((Instant::now(), index)))
    }

    /// Tells which function computes it.
    #[inline]
    pub(crate) fn kernel(&self, kernel: &'static str) {
        if let Some((_, index)) = self.0 {
            let mut state = state();
            let call = state.as_mut().and_then(|state| state.profile.calls.get_mut(index));
            call.into_iter().for_each(|call| call.kernel = kernel);
        }
    }

    /// Ends the call; `count` adds what is known of its results.
    #[inline]
    pub(crate) fn end(self, count: impl Fn(&mut Call)) {
        if let Some((started, index)) = self.0 {
            end(started, index, Some(&count));
        }
    }

    /// Ends a call that failed: it has no time.
    #[inline]
    pub(crate) fn fail(self) {
        if let Some((started, index)) = self.0 {
            end(started, index, None);
        }
    }
}

#[cold]
fn end(started: Instant, index: usize, count: Option<&dyn Fn(&mut Call)>) {
    let wall_ns = nanoseconds(started);
    let inside = OPEN.with_borrow_mut(|open| {
        let inside = open.pop().map_or(0, |(_, inside)| inside);
        let outer = open.last_mut();
        kernels::enter(outer.as_ref().map(|outer| outer.0));
        if let Some((_, outer)) = outer {
            *outer += wall_ns;
        }
        inside
    });
    let mut state = state();
    // The record may have been ended meanwhile, and another begun.
    let call = state.as_mut().and_then(|state| state.profile.calls.get_mut(index));
    if let (Some(call), Some(count)) = (call, count) {
        (call.wall_ns, call.own_ns) = (wall_ns, wall_ns.saturating_sub(inside));
        count(call);
    }
}
