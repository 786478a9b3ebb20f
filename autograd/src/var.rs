//! A tensor with a place in a graph.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use gradus_tensor::{DType, Device, Error, Result, Tensor};

use crate::context::Context;
use crate::mode::{self, Mode};
use crate::node::{Node, Record};
use crate::op::{Op, Saves};
use crate::trace::{self, Told};

/// A [`Tensor`] and its place in a graph.
///
/// Operations on variables compute their value at once and, if any input needs a gradient, record
/// how to send a gradient back. Cloning copies nothing.
#[derive(Clone)]
pub struct Var {
    tensor: Tensor,
    pub(crate) node: Option<Arc<Node>>,
}

/// A place in a graph, without its value; see [`Var::inputs`].
#[derive(Clone)]
pub struct GraphNode(Arc<Node>);

impl GraphNode {
    /// Its identity, which is that of the variable; see [`Var::id`].
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let x = Var::leaf(Tensor::scalar(3f32));
    /// let y = x.exp()?.square()?;
    /// let exp = y.inputs()[0].clone().unwrap();
    /// assert_eq!(exp.inputs()[0].as_ref().unwrap().id(), x.id().unwrap());
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn id(&self) -> VarId {
        VarId(self.0.id)
    }

    /// The operation that made it; `None` for a leaf.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let x = Var::leaf(Tensor::scalar(3f32));
    /// let y = x.exp()?.square()?;
    /// let exp = y.inputs()[0].clone().unwrap();
    /// assert_eq!(exp.op().unwrap().name(), "exp");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn op(&self) -> Option<Op> {
        self.0.op
    }

    /// The shape of the value.
    pub fn shape(&self) -> &[usize] {
        &self.0.shape
    }

    /// The element type of the value.
    pub fn dtype(&self) -> DType {
        self.0.dtype
    }

    /// What the operation took; see [`Var::inputs`].
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let x = Var::leaf(Tensor::scalar(3f32));
    /// let y = x.exp()?.square()?;
    /// let exp = y.inputs()[0].clone().unwrap();
    /// assert!(exp.inputs()[0].as_ref().unwrap().inputs().is_empty()); // of a leaf
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn inputs(&self) -> Vec<Option<GraphNode>> {
        self.0.edges.iter().map(|edge| edge.clone().map(GraphNode)).collect()
    }
}

impl fmt::Debug for GraphNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GraphNode({}, {:?} {})", self.0.name(), self.0.shape, self.0.dtype)
    }
}

/// Identity of a place in a graph; see [`Var::id`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VarId(pub(crate) u64);

impl Var {
    /// A leaf: a variable whose gradient backward computes.
    ///
    /// Only floats have gradients; a tensor of another dtype becomes a constant.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let x = Var::leaf(Tensor::scalar(3f32));
    /// let grads = x.square()?.backward()?;
    /// assert_eq!(grads.get(&x).unwrap().item()?, 6.0); // the slope of x² is 2x
    /// assert!(!Var::leaf(Tensor::scalar(3u32)).requires_grad());
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn leaf(tensor: Tensor) -> Var {
        let node = tensor.dtype().is_float().then(|| Node::leaf(&tensor));
        Var { tensor, node }
    }

    /// A constant: no gradient flows into it.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let (x, c) = (Var::leaf(Tensor::scalar(3f32)), Var::constant(Tensor::scalar(2f32)));
    /// let grads = x.mul(&c)?.backward()?;
    /// assert_eq!(grads.get(&x).unwrap().item()?, 2.0);
    /// assert!(grads.get(&c).is_none());
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn constant(tensor: Tensor) -> Var {
        Var { tensor, node: None }
    }

    pub(crate) fn with_node(tensor: Tensor, node: Option<Arc<Node>>) -> Var {
        Var { tensor, node }
    }

    /// The value.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let x = Var::leaf(Tensor::from_slice(&[1f32, 2.0], &[2])?);
    /// assert_eq!(x.square()?.tensor().to_vec::<f32>()?, [1.0, 4.0]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn tensor(&self) -> &Tensor {
        &self.tensor
    }

    /// The value without its place in the graph.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let y: Tensor = Var::leaf(Tensor::scalar(3f32)).square()?.into_tensor();
    /// assert_eq!(y.item()?, 9.0);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn into_tensor(self) -> Tensor {
        self.tensor
    }

    /// The same value as a constant.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let x = Var::leaf(Tensor::scalar(3f32));
    /// let y = x.mul(&x.detach())?; // 3x, where x² would have the slope 6
    /// assert_eq!(y.backward()?.get(&x).unwrap().item()?, 3.0);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn detach(&self) -> Var {
        Var::constant(self.tensor.clone())
    }

    /// The same leaf with a new value: gradients computed for either belong to both. This is how a
    /// parameter keeps its identity while the optimiser changes it.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let w = Var::leaf(Tensor::scalar(3f32));
    /// let grads = w.square()?.backward()?;
    /// let stepped = w.with_value(w.tensor().sub(grads.get(&w).unwrap())?); // 3 − 6
    /// assert_eq!(stepped.item()?, -3.0);
    /// assert_eq!(grads.get(&stepped).unwrap().item()?, 6.0); // still the same leaf
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn with_value(&self, tensor: Tensor) -> Var {
        Var { tensor, node: self.node.clone() }
    }

    /// The value, to change in place (an optimiser step on a leaf). Graphs that hold the old value
    /// keep it: a shared storage is copied first, one that nobody else holds is not.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let mut w = Var::leaf(Tensor::scalar(3f32));
    /// let y = w.square()?;
    /// w.tensor_mut().mul_scalar_(10.0)?;
    /// assert_eq!(w.item()?, 30.0);
    /// assert_eq!(y.backward()?.get(&w).unwrap().item()?, 6.0); // the graph kept the 3
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
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
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::{DType, Tensor};
    /// let x = Var::constant(Tensor::zeros(&[2, 3], DType::F32)?);
    /// assert_eq!(x.size(0)?, 2);
    /// assert_eq!(x.size(-1)?, 3);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
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
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let x = Var::constant(Tensor::from_slice(&[1f32, 2.0], &[2])?);
    /// assert_eq!(x.sum_all()?.item()?, 3.0);
    /// assert!(x.item().is_err()); // two elements
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn item(&self) -> Result<f64> {
        self.tensor.item()
    }

    /// Whether backward from a result of this variable reaches it.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let x = Var::leaf(Tensor::scalar(3f32));
    /// assert!(x.square()?.requires_grad());
    /// assert!(!x.detach().square()?.requires_grad());
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn requires_grad(&self) -> bool {
        self.node.is_some()
    }

    /// Whether the user made this variable (as opposed to an operation).
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let x = Var::leaf(Tensor::scalar(3f32));
    /// assert!(x.is_leaf());
    /// assert!(!x.square()?.is_leaf());
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn is_leaf(&self) -> bool {
        self.node.as_ref().is_none_or(|n| n.op.is_none())
    }

    /// Identity of this place in the graph; `None` for a constant.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let (x, y) = (Var::leaf(Tensor::scalar(3f32)), Var::leaf(Tensor::scalar(3f32)));
    /// assert_eq!(x.id(), x.clone().id());
    /// assert_ne!(x.id(), y.id());
    /// assert_eq!(x.detach().id(), None);
    /// ```
    pub fn id(&self) -> Option<VarId> {
        self.node.as_ref().map(|n| VarId(n.id))
    }

    /// The operation that made this variable, if it was recorded.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let x = Var::leaf(Tensor::scalar(3f32));
    /// assert_eq!(x.exp()?.op().unwrap().name(), "exp");
    /// assert_eq!(x.op(), None); // no operation made it
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn op(&self) -> Option<Op> {
        self.node.as_ref().and_then(|n| n.op)
    }

    /// What the operation that made this variable took, in its order: their places in the graph,
    /// `None` for a constant. Empty for a leaf, and for what was not recorded.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let (x, c) = (Var::leaf(Tensor::scalar(3f32)), Var::constant(Tensor::scalar(2f32)));
    /// let y = x.exp()?.mul(&c)?;
    /// let inputs = y.inputs();
    /// assert_eq!(inputs[0].as_ref().unwrap().op().unwrap().name(), "exp");
    /// assert_eq!(inputs[0].as_ref().unwrap().inputs()[0].as_ref().unwrap().id(), x.id().unwrap());
    /// assert!(inputs[1].is_none());
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn inputs(&self) -> Vec<Option<GraphNode>> {
        self.node.as_ref().map_or(Vec::new(), |node| GraphNode(node.clone()).inputs())
    }

    /// Asks that backward also return the gradient of this intermediate value (those of leaves are
    /// always returned).
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let x = Var::leaf(Tensor::scalar(3f32));
    /// let y = x.square()?;
    /// y.retain_grad();
    /// let grads = y.mul_scalar(5.0)?.backward()?; // 5y = 5x²
    /// assert_eq!(grads.get(&y).unwrap().item()?, 5.0);
    /// assert_eq!(grads.get(&x).unwrap().item()?, 30.0);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn retain_grad(&self) {
        if let Some(node) = &self.node {
            node.retain_grad.store(true, Ordering::Relaxed);
        }
    }

    /// Your own operation: `output` is its value, computed from `inputs`, and `rule` turns the
    /// gradient of the output into the gradients of the inputs (one entry each, of the input's
    /// shape). All inputs are saved for it. Written in `Var` operations, the rule can be
    /// differentiated again. Check it with [`gradcheck`](crate::gradcheck).
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let x = Var::leaf(Tensor::scalar(2f64));
    /// let cube = Var::custom("cube", x.tensor().powf(3.0)?, &[&x], |c| {
    ///     // The gradient of the output times the slope 3x².
    ///     c.each(&[&|| c.grad().mul(&c.input(0).square()?.mul_scalar(3.0)?)])
    /// })?;
    /// assert_eq!(cube.item()?, 8.0);
    /// assert_eq!(cube.backward()?.get(&x).unwrap().item()?, 12.0);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
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
        Self::record_told(op, output, inputs, Told::new(), rule)
    }

    /// [`record`](Var::record), with what a trace notes of the operation.
    pub(crate) fn record_told(
        op: Op,
        output: Tensor,
        inputs: &[&Var],
        told: Told,
        rule: impl Fn(&Context) -> Result<Vec<Option<Var>>> + Send + Sync + 'static,
    ) -> Result<Var> {
        Self::record_edges(op, output, inputs, (None, told), rule)
    }

    /// Whether [`record`](Var::record) makes a node for an operation on `inputs`: only then does
    /// its rule run, and only then must the operation compute what the rule needs.
    pub(crate) fn is_recorded(inputs: &[&Var]) -> bool {
        mode::mode() == Mode::Record && inputs.iter().any(|v| v.node.is_some())
    }

    /// [`record`](Var::record), for inputs that are only places in the graph, whose values have
    /// other `shapes`.
    pub(crate) fn record_edges(
        op: Op,
        output: Tensor,
        inputs: &[&Var],
        (shapes, told): (Option<Vec<Vec<usize>>>, Told),
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
        let result = Var { tensor: output, node: Some(node) };
        if let Some(notes) = told.notes() {
            trace::operation(op, &result, inputs, *notes);
        }
        Ok(result)
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
