//! A tensor with a place in a graph.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use gradus_tensor::{DType, Device, Error, Result, Tensor};

use crate::context::Context;
use crate::mode::{self, Mode};
use crate::node::{Node, Record};
use crate::op::{Op, Saves};

/// A [`Tensor`] and its place in a graph.
///
/// Operations on variables compute their value at once and, if any input needs a gradient, record
/// how to send a gradient back. Cloning copies nothing.
#[derive(Clone)]
pub struct Var {
    tensor: Tensor,
    pub(crate) node: Option<Arc<Node>>,
}

/// Identity of a place in a graph; see [`Var::id`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VarId(pub(crate) u64);

impl Var {
    /// A leaf: a variable whose gradient backward computes.
    ///
    /// Only floats have gradients; a tensor of another dtype becomes a constant.
    pub fn leaf(tensor: Tensor) -> Var {
        let node = tensor.dtype().is_float().then(|| Node::leaf(&tensor));
        Var { tensor, node }
    }

    /// A constant: no gradient flows into it.
    pub fn constant(tensor: Tensor) -> Var {
        Var { tensor, node: None }
    }

    pub(crate) fn with_node(tensor: Tensor, node: Option<Arc<Node>>) -> Var {
        Var { tensor, node }
    }

    /// The value.
    pub fn tensor(&self) -> &Tensor {
        &self.tensor
    }

    /// The value, the place in the graph forgotten.
    pub fn into_tensor(self) -> Tensor {
        self.tensor
    }

    /// The same value as a constant.
    pub fn detach(&self) -> Var {
        Var::constant(self.tensor.clone())
    }

    /// The same leaf with a new value: gradients computed for the one belong to the other. This is
    /// how a parameter keeps its identity while the optimiser changes it.
    pub fn with_value(&self, tensor: Tensor) -> Var {
        Var { tensor, node: self.node.clone() }
    }

    /// The value, to change in place (an optimiser step on a leaf). Graphs that hold the old value
    /// keep it: a shared storage is copied first, one that nobody else holds is not.
    pub fn tensor_mut(&mut self) -> &mut Tensor {
        &mut self.tensor
    }

    /// Sizes of the dimensions.
    pub fn shape(&self) -> &[usize] {
        self.tensor.shape()
    }

    /// Number of dimensions.
    pub fn rank(&self) -> usize {
        self.tensor.rank()
    }

    /// Size of one dimension, which may count from the end.
    pub fn size(&self, dim: isize) -> Result<usize> {
        self.tensor.size(dim)
    }

    /// Number of elements.
    pub fn numel(&self) -> usize {
        self.tensor.numel()
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        self.tensor.dtype()
    }

    /// Device of the value.
    pub fn device(&self) -> Device {
        self.tensor.device()
    }

    /// The value of a variable of one element.
    pub fn item(&self) -> Result<f64> {
        self.tensor.item()
    }

    /// Whether backward from a result of this variable reaches it.
    pub fn requires_grad(&self) -> bool {
        self.node.is_some()
    }

    /// Whether the user made this variable (as opposed to an operation).
    pub fn is_leaf(&self) -> bool {
        self.node.as_ref().is_none_or(|n| n.op.is_none())
    }

    /// Identity of this place in the graph; `None` for a constant.
    pub fn id(&self) -> Option<VarId> {
        self.node.as_ref().map(|n| VarId(n.id))
    }

    /// The operation that made this variable, if it was recorded.
    pub fn op(&self) -> Option<Op> {
        self.node.as_ref().and_then(|n| n.op)
    }

    /// Asks that backward also return the gradient of this intermediate value (those of leaves are
    /// always returned).
    pub fn retain_grad(&self) {
        if let Some(node) = &self.node {
            node.retain_grad.store(true, Ordering::Relaxed);
        }
    }

    /// An operation of one's own: `output` is its value, computed from `inputs`, and `rule` turns
    /// the gradient of the output into the gradients of the inputs (one entry each, of the input's
    /// shape). All inputs are saved for it. Written in `Var` operations, the rule can be
    /// differentiated again. Check it with [`gradcheck`](crate::gradcheck).
    pub fn custom(
        name: &'static str,
        output: Tensor,
        inputs: &[&Var],
        rule: impl Fn(&Context) -> Result<Vec<Option<Var>>> + Send + Sync + 'static,
    ) -> Result<Var> {
        Self::record(Op::Custom(name), output, inputs, rule)
    }

    /// Makes the variable of an operation's result, recording the operation if an input needs a
    /// gradient and recording is on. `rule` computes the gradients of the inputs (one entry each).
    pub(crate) fn record(
        op: Op,
        output: Tensor,
        inputs: &[&Var],
        rule: impl Fn(&Context) -> Result<Vec<Option<Var>>> + Send + Sync + 'static,
    ) -> Result<Var> {
        Self::record_edges(op, output, inputs, None, rule)
    }

    /// Whether [`record`](Var::record) makes a node for an operation on `inputs`: only then will
    /// its rule run, and only then need the operation compute what the rule wants.
    pub(crate) fn is_recorded(inputs: &[&Var]) -> bool {
        mode::mode() == Mode::Record && inputs.iter().any(|v| v.node.is_some())
    }

    /// [`record`](Var::record), for inputs that are only places in the graph, whose values have
    /// other `shapes`.
    pub(crate) fn record_edges(
        op: Op,
        output: Tensor,
        inputs: &[&Var],
        shapes: Option<Vec<Vec<usize>>>,
        rule: impl Fn(&Context) -> Result<Vec<Option<Var>>> + Send + Sync + 'static,
    ) -> Result<Var> {
        if mode::anomaly() {
            check_finite(&output, || format!("forward of {}", op.name()))?;
        }
        if !Self::is_recorded(inputs) {
            if mode::mode() == Mode::Watch {
                inputs.iter().filter_map(|v| v.node.as_ref()).for_each(mode::watch);
            }
            return Ok(Var::constant(output));
        }
        let saves = op.saves();
        let record = Record {
            rule: Box::new(rule),
            inputs: match saves {
                Saves::Nothing | Saves::Output => Vec::new(),
                Saves::First => vec![Some(inputs[0].clone())],
                Saves::Inputs => inputs.iter().map(|v| Some((*v).clone())).collect(),
                // The rule holds the sum itself.
                Saves::Sum => {
                    inputs.iter().enumerate().map(|(i, v)| (i > 1).then(|| (*v).clone())).collect()
                }
            },
            output: (saves == Saves::Output).then(|| output.clone()),
        };
        let node = Node::new(
            Some(op),
            &output,
            inputs.iter().map(|v| v.node.clone()).collect(),
            shapes.unwrap_or_else(|| inputs.iter().map(|v| v.shape().to_vec()).collect()),
            Some(record),
        );
        Ok(Var { tensor: output, node: Some(node) })
    }
}

/// Anomaly mode's check of one result.
pub(crate) fn check_finite(tensor: &Tensor, what: impl Fn() -> String) -> Result<()> {
    if !tensor.dtype().is_float() {
        return Ok(());
    }
    let half = !matches!(tensor.dtype(), DType::F32 | DType::F64);
    let wide = if half { tensor.to_dtype(DType::F32)? } else { tensor.clone() };
    let bad = wide.is_not_finite()?;
    if let Some(at) = bad.to_vec::<u8>()?.iter().position(|&b| b != 0) {
        let value = tensor.to_f64_vec()[at];
        return Err(Error::op(
            "detect_anomaly",
            format!(
                "the {} made {value} at flat index {at} of a result of shape {:?}; it is the first \
                 operation to do so",
                what(),
                tensor.shape()
            ),
        ));
    }
    Ok(())
}

impl fmt::Display for Var {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.tensor, f)
    }
}

impl fmt::Debug for Var {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Var({:?}", self.tensor)?;
        match &self.node {
            None => write!(f, ")"),
            Some(node) => write!(f, ", {})", node.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An operation whose rule is wrong in its form stops backward instead of severing the graph.
    #[test]
    fn a_rule_that_does_not_fit_is_caught() {
        let x = Var::leaf(Tensor::ones(&[2, 3], DType::F32).unwrap());
        let y = Tensor::ones(&[2, 3], DType::F32).unwrap();
        let message = |grads: fn(&Context) -> Result<Vec<Option<Var>>>| {
            let made = Var::record(Op::Softmax, y.clone(), &[&x], grads).unwrap();
            made.sum_all().unwrap().backward().err().unwrap().to_string()
        };
        for (error, what) in [
            (message(|_| Ok(vec![])), "returned 0 gradients for 1 inputs"),
            (message(|_| Ok(vec![None])), "gave no gradient for input 0"),
            (message(|c| Ok(vec![Some(c.grad().t()?)])), "gave a gradient [3, 2] f32 for input 0"),
            (
                message(|c| Ok(vec![Some(c.grad().to_dtype(DType::F64)?)])),
                "f64 for input 0, which is [2, 3] f32",
            ),
        ] {
            assert!(error.contains("the rule of softmax") && error.contains(what), "{error}");
        }
    }
}
