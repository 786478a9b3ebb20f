//! A node of the graph: one recorded operation, or a leaf.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gradus_tensor::{DType, Result, Tensor};

use crate::context::Context;
use crate::op::Op;
use crate::var::Var;

/// A backward rule: from the gradient of the output to the gradients of the inputs.
pub(crate) type Rule = Box<dyn Fn(&Context) -> Result<Vec<Option<Var>>> + Send + Sync>;

/// What a recorded operation keeps until backward. Taken out once an ordinary backward has used it.
pub(crate) struct Record {
    pub(crate) rule: Rule,
    /// Inputs by position; those that the operation does not save are `None`.
    pub(crate) inputs: Vec<Option<Var>>,
    pub(crate) output: Option<Tensor>,
}

/// An operation in the graph, or a leaf (a variable that the user made).
///
/// Nodes are numbered as they are made, and an operation is younger than its inputs: so descending
/// numbers are a topological order, and backward needs no other.
pub struct Node {
    pub(crate) id: u64,
    /// `None` for a leaf.
    pub(crate) op: Option<Op>,
    pub(crate) shape: Vec<usize>,
    pub(crate) dtype: DType,
    /// Nodes of the inputs; `None` where an input is constant.
    pub(crate) edges: Vec<Option<Arc<Node>>>,
    pub(crate) input_shapes: Vec<Vec<usize>>,
    record: Mutex<Option<Record>>,
    pub(crate) retain_grad: AtomicBool,
}

static NEXT_ID: AtomicU64 = AtomicU64::new(0);

impl Node {
    pub(crate) fn leaf(tensor: &Tensor) -> Arc<Node> {
        Self::new(None, tensor, Vec::new(), Vec::new(), None)
    }

    pub(crate) fn new(
        op: Option<Op>,
        output: &Tensor,
        edges: Vec<Option<Arc<Node>>>,
        input_shapes: Vec<Vec<usize>>,
        record: Option<Record>,
    ) -> Arc<Node> {
        Arc::new(Node {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            op,
            shape: output.shape().to_vec(),
            dtype: output.dtype(),
            edges,
            input_shapes,
            record: Mutex::new(record),
            retain_grad: AtomicBool::new(false),
        })
    }

    pub(crate) fn record(&self) -> MutexGuard<'_, Option<Record>> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn name(&self) -> &'static str {
        self.op.map_or("leaf", Op::name)
    }
}

/// Dropping a graph must not recurse: a chain of 100,000 operations would overflow the stack.
///
/// A node's record goes first, while its edges still keep the inputs' nodes alive: so dropping the
/// saved inputs ends there. Then the edges go, those that die onto a list instead of the stack.
impl Drop for Node {
    fn drop(&mut self) {
        let mut dying = std::mem::take(&mut self.edges);
        *self.record() = None;
        while let Some(edge) = dying.pop() {
            if let Some(mut node) = edge.and_then(Arc::into_inner) {
                let edges = std::mem::take(&mut node.edges);
                *node.record() = None; // the saved inputs are still alive through `edges`
                dying.extend(edges);
            }
        }
    }
}
