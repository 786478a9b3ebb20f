//! What a backward rule sees of the operation that it belongs to.

use std::sync::Arc;

use gradus_tensor::{DType, Result, Tensor};

use crate::node::{Node, Record};
use crate::var::Var;
use crate::walk::Plan;

/// What a backward rule sees; [`Var::custom`] shows a rule.
pub struct Context<'a> {
    pub(crate) grad: &'a Var,
    /// What the rule adds to the gradient; only for operations that say so.
    pub(crate) more: Option<&'a Var>,
    pub(crate) node: &'a Arc<Node>,
    pub(crate) record: &'a Record,
    pub(crate) plan: &'a Plan<'a>,
    pub(crate) create_graph: bool,
}

impl Context<'_> {
    /// The gradient of the output.
    pub fn grad(&self) -> &Var {
        assert!(self.more.is_none(), "{} takes its gradient as two", self.node.name());
        self.grad
    }

    /// The gradient of the output, which is the sum of the two where there is a second: for the
    /// rules of operations that [add them](Op::adds_gradients) themselves. Under `create_graph`
    /// there is one.
    pub(crate) fn grads(&self) -> (&Var, Option<&Var>) {
        (self.grad, self.more)
    }

    /// Input `i` as it was in forward. The operation must save it.
    pub fn input(&self, i: usize) -> &Var {
        match self.record.inputs.get(i) {
            Some(Some(var)) => var,
            _ => unreachable!("{} does not save input {i}", self.node.name()),
        }
    }

    /// The output of forward, with its place in the graph. The operation must save it.
    pub fn output(&self) -> Var {
        match &self.record.output {
            Some(tensor) => Var::with_node(tensor.clone(), Some(self.node.clone())),
            None => unreachable!("{} does not save its output", self.node.name()),
        }
    }

    /// Number of inputs.
    pub fn inputs(&self) -> usize {
        self.node.edges.len()
    }

    /// Element type of input `i`, which must need a gradient.
    pub(crate) fn input_dtype(&self, i: usize) -> DType {
        self.node.edges[i].as_ref().map_or(self.grad.dtype(), |node| node.dtype)
    }

    /// Shape of input `i`.
    pub fn input_shape(&self, i: usize) -> &[usize] {
        &self.node.input_shapes[i]
    }

    /// Whether the gradient of input `i` is wanted.
    pub fn wants(&self, i: usize) -> bool {
        self.node.edges[i].as_ref().is_some_and(|input| self.plan.visits(input))
    }

    /// Whether the rule itself is being recorded (a second derivative may be asked for).
    pub fn create_graph(&self) -> bool {
        self.create_graph
    }

    /// The place of input `i` in the graph with zeros for its value: all that is needed where the
    /// operation is linear in it, so that it need not be saved.
    pub(crate) fn place(&self, i: usize) -> Result<Var> {
        let (dtype, device) = (self.input_dtype(i), self.grad.device());
        let zeros = Tensor::zeros_on(self.input_shape(i), dtype, device)?;
        Ok(Var::with_node(zeros, self.node.edges[i].clone()))
    }

    /// One gradient for each input, computed only if it is wanted.
    pub fn each(&self, rules: &[&dyn Fn() -> Result<Var>]) -> Result<Vec<Option<Var>>> {
        rules.iter().enumerate().map(|(i, f)| self.wants(i).then(f).transpose()).collect()
    }
}
