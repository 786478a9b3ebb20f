//! What operations do besides computing: record, skip or watch; anomaly mode; and autocast.
//!
//! All modes belong to the calling thread.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use gradus_tensor::{DType, Device, LowPrecision, Result};

use crate::node::Node;
use crate::var::Var;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Operations on variables that need a gradient are recorded.
    Record,
    /// Nothing is recorded.
    Skip,
    /// Nothing is recorded, but the graph nodes that operations read are noted (so activation
    /// checkpointing finds its edges).
    Watch,
}

thread_local! {
    static MODE: Cell<Mode> = const { Cell::new(Mode::Record) };
    /// What "recording on" means here: `Record`, or `Watch` in the first run of a checkpoint.
    static ENABLED: Cell<Mode> = const { Cell::new(Mode::Record) };
    static ANOMALY: Cell<bool> = const { Cell::new(false) };
    static AUTOCAST: Cell<Option<DType>> = const { Cell::new(None) };
    static LOW: Cell<Option<LowPrecision>> = const { Cell::new(None) };
    static WATCHED: RefCell<Vec<Arc<Node>>> = const { RefCell::new(Vec::new()) };
}

pub(crate) fn mode() -> Mode {
    MODE.get()
}

/// Whether operations are being recorded on this thread (or will be, when a checkpoint runs again).
///
/// ```
/// # use gradus_autograd::{is_grad_enabled, no_grad};
/// assert!(is_grad_enabled());
/// no_grad(|| assert!(!is_grad_enabled()));
/// ```
pub fn is_grad_enabled() -> bool {
    mode() != Mode::Skip
}

/// Restores a thread-local on drop, so that a panic or an early return leaves no mode behind.
struct Restore<T: Copy + 'static>(&'static std::thread::LocalKey<Cell<T>>, T);

impl<T: Copy> Drop for Restore<T> {
    fn drop(&mut self) {
        self.0.set(self.1);
    }
}

pub(crate) fn with_mode<R>(mode: Mode, body: impl FnOnce() -> R) -> R {
    let _restore = Restore(&MODE, MODE.replace(mode));
    body()
}

/// Runs `body` without recording: what it computes is constant, and nothing is kept for backward.
///
/// ```
/// # use gradus_autograd::{Var, no_grad};
/// # use gradus_tensor::Tensor;
/// let w = Var::leaf(Tensor::scalar(3f32));
/// let y = no_grad(|| w.square())?;
/// assert_eq!(y.item()?, 9.0);
/// assert!(!y.requires_grad());
/// # Ok::<(), gradus_tensor::Error>(())
/// ```
pub fn no_grad<R>(body: impl FnOnce() -> R) -> R {
    with_mode(Mode::Skip, body)
}

/// Runs `body` with recording on, also inside [`no_grad`].
///
/// ```
/// # use gradus_autograd::{Var, enable_grad, no_grad};
/// # use gradus_tensor::Tensor;
/// let w = Var::leaf(Tensor::scalar(3f32));
/// let y = no_grad(|| enable_grad(|| w.square()))?;
/// assert_eq!(y.backward()?.get(&w).unwrap().item()?, 6.0);
/// # Ok::<(), gradus_tensor::Error>(())
/// ```
pub fn enable_grad<R>(body: impl FnOnce() -> R) -> R {
    with_mode(ENABLED.get(), body)
}

/// Runs `body` with recording on, in every mode of the thread: the second run of a checkpoint.
pub(crate) fn recording<R>(body: impl FnOnce() -> R) -> R {
    let _restore = Restore(&ENABLED, ENABLED.replace(Mode::Record));
    with_mode(Mode::Record, body)
}

/// Runs `body` in anomaly mode: the first operation, forward or backward, whose result holds a NaN
/// or an infinity returns an error that names it. Costs a pass over every result.
///
/// ```
/// # use gradus_autograd::{Var, detect_anomaly};
/// # use gradus_tensor::Tensor;
/// let x = Var::leaf(Tensor::scalar(-1f32));
/// let error = detect_anomaly(|| x.log()?.mul_scalar(2.0)).unwrap_err(); // ln(−1) is NaN
/// assert!(error.to_string().contains("the forward of log made NaN"));
/// # Ok::<(), gradus_tensor::Error>(())
/// ```
pub fn detect_anomaly<R>(body: impl FnOnce() -> R) -> R {
    let _restore = Restore(&ANOMALY, ANOMALY.replace(true));
    body()
}

/// Runs the inside of a backward rule: anomaly mode looks at what the rule returns, under the name
/// of its operation, not at its steps.
pub(crate) fn without_anomaly<R>(body: impl FnOnce() -> R) -> R {
    let _restore = Restore(&ANOMALY, ANOMALY.replace(false));
    body()
}

pub(crate) fn anomaly() -> bool {
    ANOMALY.get()
}

/// Runs `body` with products in `dtype`; in the operands' own dtype for `None`. As
/// `torch.autocast`, after Micikevicius et al., arXiv:1710.03740: each operation has its precision,
/// the model stays the same.
///
/// With `Some(DType::F16)`, which GPUs compute in:
/// - `linear`, `linear_gelu`, `matmul` and `attention` convert their f32 operands and return f16;
///   they compute sums, and the softmax inside attention, in f32. A weight is converted once until
///   it changes, and its gradient is f32, never rounded. A bias stays f32.
/// - `layer_norm` computes in f32 and returns f16.
/// - sums, means and other reductions, softmax, losses, exponentials, logarithms and powers convert
///   an f16 operand to f32 and return f32.
/// - functions of two operands compute in the wider dtype of the two; all other operations take
///   their operands as they are.
///
/// Values of other dtypes than f16 and f32 stay as they are. Backward runs in the dtypes of
/// forward, wherever it is called. The mode belongs to the calling thread.
///
/// ```
/// # use gradus_autograd::{Var, autocast};
/// # use gradus_tensor::{DType, Tensor};
/// let x = Var::constant(Tensor::scalar(0f32).to_dtype(DType::F16)?);
/// assert_eq!(autocast(Some(DType::F16), || x.exp())?.dtype(), DType::F32);
/// # Ok::<(), gradus_tensor::Error>(())
/// ```
pub fn autocast<R>(dtype: Option<DType>, body: impl FnOnce() -> R) -> R {
    let _restore = Restore(&AUTOCAST, AUTOCAST.replace(dtype));
    body()
}

/// Runs `body` with the products of `linear`, `linear_gelu` and `linear_cat` in 8 or 16 bits (see
/// [`Tensor::linear_low`](gradus_tensor::Tensor::linear_low)), on the CPU, where that takes less
/// time than f32; in f32 for `None`. Within [`no_grad`] attention may round the operands of its
/// products to bf16 (see [`Attention`](gradus_tensor::ops::attention::Attention)). The mode belongs to
/// the calling thread.
///
/// With [`LowPrecision::Bf16`] layers are differentiable: backward rounds the gradient too, and
/// computes the products of the rule in bf16, wherever it is called. Results and gradients are f32,
/// and so are the sums, the biases and all that is kept. A gradient that is recorded itself
/// (`create_graph`) is computed in f32. Integers have no derivative: such a layer that would be
/// recorded returns an error.
///
/// ```
/// # use gradus_autograd::{Var, low_precision};
/// # use gradus_tensor::{LowPrecision, Tensor};
/// let x = Var::constant(Tensor::from_slice(&[1f32, 2.0], &[1, 2])?);
/// let w = Var::constant(Tensor::from_slice(&[3f32, 4.0], &[1, 2])?);
/// let y = low_precision(Some(LowPrecision::Int8), || x.linear(&w, None))?;
/// assert!((y.item()? - 11.0).abs() < 0.1); // 1·3 + 2·4, rounded
/// # Ok::<(), gradus_tensor::Error>(())
/// ```
pub fn low_precision<R>(low: Option<LowPrecision>, body: impl FnOnce() -> R) -> R {
    let _restore = Restore(&LOW, LOW.replace(low));
    body()
}

pub(crate) fn low() -> Option<LowPrecision> {
    LOW.get()
}

pub(crate) fn autocast_dtype() -> Option<DType> {
    AUTOCAST.get()
}

impl Var {
    /// In another dtype; itself, and nothing recorded, if it has that dtype.
    pub(crate) fn in_dtype(&self, dtype: DType) -> Result<Var> {
        if self.dtype() == dtype { Ok(self.clone()) } else { self.to_dtype(dtype) }
    }

    /// An operand of a product: f32 in autocast's dtype.
    pub(crate) fn lowered(&self) -> Result<Var> {
        match autocast_dtype() {
            Some(dtype) if self.dtype() == DType::F32 => self.in_dtype(dtype),
            _ => Ok(self.clone()),
        }
    }

    /// An operand of an operation that autocast leaves in f32.
    pub(crate) fn raised(&self) -> Result<Var> {
        match autocast_dtype() {
            Some(_) => self.at_least_f32(),
            None => Ok(self.clone()),
        }
    }

    /// An operand of an operation that the CPU computes in f32 and f64 only: there, an operand of
    /// 16 bits is converted. The result is converted back, so that it is rounded once.
    pub(crate) fn computable(&self) -> Result<Var> {
        if self.device() == Device::Cpu { self.at_least_f32() } else { Ok(self.clone()) }
    }

    /// In f32 if it is f16 or bf16; else itself.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::{DType, Tensor};
    /// let x = Var::constant(Tensor::scalar(1f32).to_dtype(DType::BF16)?);
    /// assert_eq!(x.at_least_f32()?.dtype(), DType::F32);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn at_least_f32(&self) -> Result<Var> {
        if self.dtype().is_half() { self.to_dtype(DType::F32) } else { Ok(self.clone()) }
    }
}

pub(crate) fn watch(node: &Arc<Node>) {
    WATCHED.with_borrow_mut(|watched| watched.push(node.clone()));
}

/// Runs `body` in watch mode; also returns the graph nodes it read (or returned unchanged), each
/// once, in order of age.
pub(crate) fn watching<E>(
    body: impl FnOnce() -> Result<Var, E>,
) -> (Result<Var, E>, Vec<Arc<Node>>) {
    /// Puts the outer list back, also when `body` panics.
    struct Outer(Vec<Arc<Node>>);
    impl Drop for Outer {
        fn drop(&mut self) {
            WATCHED.set(std::mem::take(&mut self.0));
        }
    }
    let outer = Outer(WATCHED.take());
    let enabled = Restore(&ENABLED, ENABLED.replace(Mode::Watch));
    let result = with_mode(Mode::Watch, body);
    if let Ok(Var { node: Some(node), .. }) = &result {
        watch(node); // `body` may return what it captured
    }
    let mut nodes = WATCHED.take();
    drop((enabled, outer));
    nodes.sort_by_key(|n| n.id);
    nodes.dedup_by_key(|n| n.id);
    // A checkpoint inside a checkpoint: what the inner one read, the outer one read too.
    if mode() == Mode::Watch {
        nodes.iter().for_each(watch);
    }
    (result, nodes)
}
