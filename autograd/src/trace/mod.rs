//! A graph that can be read: what every operation of a run computed, saved and cost.
//!
//! [`trace`] runs a function and returns what was recorded in a graph while it ran: a
//! [`TraceNode`] for each leaf and each operation, forward and, if the function calls it, backward.
//! [`Trace::to_html`] shows it as a page, to which a [`Page`] adds texts, other steps, an update.
//! While nothing is traced, an operation pays one relaxed load.

mod attention;
mod page;
mod render;
mod run;
mod summary;
mod told;

use gradus_tensor::profile::Profile;
use gradus_tensor::{DType, Device, Result};
use serde::Serialize;
use serde_json::{Map, Value};

pub use attention::AttentionTrace;
pub use page::{Page, Sequence, Update, UpdatedParameter, UpdatedWeight};
pub use run::named;
pub use run::within;
pub(crate) use run::{Backward, gradient_of, is_on, operation};
pub use summary::{MAX_VALUES, Row, Summary};
pub(crate) use told::{Told, numbers, summary};

use crate::op::{Op, Saves};

/// A run: the leaves and operations of its graphs, in the order in which they were met.
#[derive(Clone, Debug)]
pub struct Trace {
    /// The leaves and the operations. An operation comes after its inputs.
    pub nodes: Vec<TraceNode>,
    /// Everything that ran, also what no graph has.
    pub profile: Profile,
}

/// A leaf or an operation of a graph.
#[derive(Clone, Debug, Serialize)]
pub struct TraceNode {
    /// Its place in [`Trace::nodes`].
    pub id: usize,
    /// The operation's name, as PyTorch calls it; `leaf` for a leaf.
    pub op: &'static str,
    /// What the operation computes; nothing for a leaf.
    pub formula: &'static str,
    /// The file of the operation, on every floor: `autograd/src/ops/FAMILY.rs`.
    pub family: &'static str,
    /// Where it stands in the model (`encoder.layer.0.attention.self`); the parameter's name for a
    /// leaf that is one. Empty outside of modules.
    pub module: String,
    /// The inputs, in their order.
    pub inputs: Vec<TraceInput>,
    /// The result's shape.
    pub shape: Vec<usize>,
    /// The result's element type.
    #[serde(serialize_with = "as_text")]
    pub dtype: DType,
    /// Where it ran.
    #[serde(serialize_with = "as_text")]
    pub device: Device,
    /// What the operation was told beside its inputs: dimensions, ids, a probability.
    pub settings: Map<String, Value>,
    /// What it keeps for backward, and how many bytes that is. A tensor that several operations
    /// keep counts for each.
    pub saves: &'static str,
    /// See [`saves`](TraceNode::saves).
    pub saved_bytes: u64,
    /// The tensors that it keeps.
    pub saved: Vec<Saved>,
    /// Bytes of all tensors on its device after it.
    pub live_bytes: u64,
    /// The same after its backward rule; `None` where none ran.
    pub live_bytes_after_backward: Option<u64>,
    /// When backward came to it: 0 for the first node that did. Of several passes the last counts.
    pub backward_order: Option<usize>,
    /// Its cost in forward.
    pub forward: Cost,
    /// Its cost in backward; zeros where backward did not come to it.
    pub backward: Cost,
    /// The result.
    pub value: Summary,
    /// The gradient of the result, where backward came to it. Of several passes the last counts.
    pub gradient: Option<Summary>,
    /// For attention: its probabilities, and what made them.
    pub attention: Option<AttentionTrace>,
}

/// A tensor that an operation keeps for backward.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Saved {
    /// Which.
    pub what: SavedTensor,
    /// Its bytes.
    pub bytes: u64,
}

/// Which tensor an operation keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SavedTensor {
    /// The input at this place.
    Input(usize),
    /// Its result.
    Output,
    /// The sum of its first two inputs.
    Sum,
    /// What its last function is applied to: of `linear_gelu`, x·Wᵀ + b.
    Inner,
    /// ln Σeˣ of each row of scores.
    LogSum,
    /// The mean of each row, where it is used, and 1/√(variance + ε).
    Statistics,
}

/// An input of an operation.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TraceInput {
    /// The result of a node, by its place in [`Trace::nodes`].
    Node(usize),
    /// A constant: no gradient flows into it.
    Constant(TracedConstant),
}

/// A tensor into which no gradient flows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TracedConstant {
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its numbers.
    pub value: Summary,
}

/// What an operation cost; see [`Call`](gradus_tensor::profile::Call).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Cost {
    /// Nanoseconds.
    pub ns: u64,
    /// Floating-point operations, where they are counted.
    pub flops: u64,
    /// Bytes of operands and results.
    pub bytes: u64,
    /// The calls of tensor operations that it made.
    pub calls: Vec<&'static str>,
    /// The kernels that ran, in their order: on the CPU the functions of `gradus-cpu`, with their
    /// instructions where there are several kinds (`matmul::linear, AVX2, f32`), on a GPU the
    /// variants of shaders (`unary.gelu.forward.f32`).
    pub kernels: Vec<String>,
    /// The families of these kernels: the files `tensor/cpu/src/FAMILY.rs` and
    /// `shaders/src/FAMILY.wgsl`.
    pub families: Vec<&'static str>,
}

fn as_text<S: serde::Serializer>(
    value: &impl std::fmt::Display,
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// Runs `f` and traces the graphs that its thread records. The values are those of an untraced run;
/// it takes longer, for every result is read.
///
/// A [profile](gradus_tensor::profile) is kept meanwhile; one that was being kept is lost, and one that
/// `f` begins takes the costs away. Traces of several threads wait for each other.
///
/// ```
/// # use gradus_autograd::{Var, trace};
/// # use gradus_tensor::Tensor;
/// let (x, y) = (Var::leaf(Tensor::scalar(2f64)), Var::leaf(Tensor::scalar(5f64)));
/// let (z, trace) = trace(|| {
///     let z = x.mul(&y)?.add(&x.sin()?)?; // z = x·y + sin x
///     z.backward()?;
///     Ok(z)
/// })?;
/// let ops: Vec<&str> = trace.nodes.iter().map(|node| node.op).collect();
/// assert_eq!(ops, ["leaf", "leaf", "mul", "sin", "add"]);
/// let sum = trace.nodes.last().unwrap();
/// assert_eq!(sum.value.values, [z.item()?]);
/// assert_eq!(trace.nodes[1].gradient.as_ref().unwrap().values, [2.0]); // ∂z/∂y = x
/// # Ok::<(), gradus_tensor::Error>(())
/// ```
///
/// # Errors
/// Those of `f`; if a value cannot be read.
pub fn trace<R>(f: impl FnOnce() -> Result<R>) -> Result<(R, Trace)> {
    run::traced(f)
}

/// What [`Saves`] says, in words.
fn saved_in_words(op: Op) -> &'static str {
    match op.saves() {
        Saves::Nothing => "nothing",
        Saves::First => "the first input",
        Saves::Inputs => "the inputs",
        Saves::Output => "the output",
        Saves::Sum => "the sum of the first two inputs, and the others",
    }
}
