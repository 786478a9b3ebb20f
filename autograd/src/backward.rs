//! Reverse-mode differentiation: gradients flow from the outputs to the leaves.
//!
//! A heap holds the nodes whose gradient is under way, youngest on top. Every operation is younger
//! than its inputs, so when a node comes to the top, all that it will ever receive has arrived. The
//! walk is a loop: no depth of graph can overflow the stack.

use std::collections::{BinaryHeap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use gradus_tensor::{Result, Tensor, bail};

use crate::mode::{self, Mode};
use crate::node::{Node, Record};
use crate::op::Op;
use crate::var::{Var, VarId, check_finite};

/// The gradients of one backward, by variable.
#[derive(Default, Clone)]
pub struct Gradients {
    by_id: HashMap<u64, Var>,
}

impl Gradients {
    /// The gradient of a leaf (or of an intermediate value with
    /// [`retain_grad`](Var::retain_grad)); `None` if none reached it.
    pub fn get(&self, var: &Var) -> Option<&Tensor> {
        self.get_var(var).map(Var::tensor)
    }

    /// The gradient as a variable: differentiable if backward ran with `create_graph`.
    pub fn get_var(&self, var: &Var) -> Option<&Var> {
        self.by_id.get(&var.id()?.0)
    }

    /// The gradient by the variable's identity.
    pub fn get_id(&self, id: VarId) -> Option<&Tensor> {
        self.by_id.get(&id.0).map(Var::tensor)
    }

    /// Takes a gradient out.
    pub fn remove(&mut self, var: &Var) -> Option<Tensor> {
        self.by_id.remove(&var.id()?.0).map(Var::into_tensor)
    }

    /// Adds another backward's gradients to these: gradient accumulation over several batches.
    pub fn accumulate(&mut self, other: Gradients) -> Result<()> {
        for (id, grad) in other.by_id {
            match self.by_id.remove(&id) {
                None => {
                    self.by_id.insert(id, grad);
                }
                Some(mine) => {
                    self.by_id.insert(id, add_grads(mine, grad, false)?);
                }
            }
        }
        Ok(())
    }

    /// Multiplies every gradient by `factor`.
    pub fn scale(&mut self, factor: f64) -> Result<()> {
        for grad in self.by_id.values_mut() {
            let mut tensor =
                std::mem::replace(grad, Var::constant(Tensor::scalar(0f32))).into_tensor();
            let scaled = tensor.mul_scalar_(factor);
            *grad = Var::constant(tensor);
            scaled?;
        }
        Ok(())
    }

    /// Number of variables with a gradient.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether no variable has a gradient.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }
}

/// How to run backward; see [`Var::backward_with`].
#[derive(Clone, Copy, Debug, Default)]
pub struct BackwardOptions {
    /// Record the backward pass itself, so that the gradients can be differentiated again.
    pub create_graph: bool,
    /// Keep what the operations saved, so that backward can run again over the same graph.
    /// `create_graph` implies it.
    pub retain_graph: bool,
}

/// What a backward rule sees.
pub struct Context<'a> {
    grad: &'a Var,
    /// What the rule adds to the gradient; only for operations that say so.
    more: Option<&'a Var>,
    node: &'a Arc<Node>,
    record: &'a Record,
    needed: Option<&'a HashSet<u64>>,
    create_graph: bool,
}

impl Context<'_> {
    /// The gradient of the output.
    pub fn grad(&self) -> &Var {
        assert!(self.more.is_none(), "{} takes its gradient as two", self.node.name());
        self.grad
    }

    /// The gradient of the output, which is the sum of the two where there is a second: for the rules of operations
    /// that [add them](Op::adds_gradients) themselves. Under `create_graph` there is one.
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
    pub(crate) fn input_dtype(&self, i: usize) -> gradus_tensor::DType {
        self.node.edges[i].as_ref().map_or(self.grad.dtype(), |node| node.dtype)
    }

    /// Shape of input `i`.
    pub fn input_shape(&self, i: usize) -> &[usize] {
        &self.node.input_shapes[i]
    }

    /// Whether the gradient of input `i` is wanted.
    pub fn wants(&self, i: usize) -> bool {
        wanted(&self.node.edges[i], self.needed)
    }

    /// Whether the rule itself is being recorded (a second derivative may be asked for).
    pub fn create_graph(&self) -> bool {
        self.create_graph
    }

    /// The place of input `i` in the graph with zeros for its value: all that is needed where the operation is
    /// linear in it, so that it need not be saved.
    pub(crate) fn place(&self, i: usize) -> Result<Var> {
        let (dtype, device) = (self.input_dtype(i), self.grad.device());
        let zeros = gradus_tensor::Tensor::zeros_on(self.input_shape(i), dtype, device)?;
        Ok(Var::with_node(zeros, self.node.edges[i].clone()))
    }

    /// One gradient an input, each computed only if it is wanted.
    pub fn each(&self, rules: &[&dyn Fn() -> Result<Var>]) -> Result<Vec<Option<Var>>> {
        rules.iter().enumerate().map(|(i, f)| self.wants(i).then(f).transpose()).collect()
    }

    /// The gradients by differentiating a composed form of the operation instead of using its fused
    /// kernel: what gives a fused operation its second derivative. The operation must save all its
    /// inputs.
    pub fn composed(
        &self,
        forward: impl FnOnce(&[&Var]) -> Result<Var>,
    ) -> Result<Vec<Option<Var>>> {
        let inputs: Vec<(Var, bool)> =
            (0..self.inputs()).map(|i| (self.input(i).clone(), self.wants(i))).collect();
        self.differentiated(inputs, forward)
    }

    /// [`composed`](Context::composed) of other inputs than the operation's own, each with whether its gradient is
    /// wanted.
    pub(crate) fn differentiated(
        &self,
        inputs: Vec<(Var, bool)>,
        forward: impl FnOnce(&[&Var]) -> Result<Var>,
    ) -> Result<Vec<Option<Var>>> {
        let wants: Vec<bool> = inputs.iter().map(|(_, wanted)| *wanted).collect();
        // Aliases give each input a place of its own: one variable may be several inputs, and one
        // input may depend on another.
        let (inputs, output) = mode::enable_grad(|| {
            let inputs =
                inputs.iter().map(|(input, _)| input.alias()).collect::<Result<Vec<Var>>>()?;
            let output = forward(&inputs.iter().collect::<Vec<_>>())?;
            Ok::<_, gradus_tensor::Error>((inputs, output))
        })?;
        let wanted: Vec<Var> =
            (0..inputs.len()).filter(|&i| wants[i]).map(|i| inputs[i].clone()).collect();
        let options = BackwardOptions { create_graph: self.create_graph, retain_graph: true };
        let mut grads =
            grad(&[output], &wanted, Some(std::slice::from_ref(self.grad())), options)?.into_iter();
        (0..inputs.len())
            .map(|i| match wants[i] {
                false => Ok(None),
                true => match grads.next().flatten() {
                    Some(grad) => Ok(Some(grad)),
                    None => Ok(Some(Var::constant(inputs[i].tensor().zeros_like()?))),
                },
            })
            .collect()
    }
}

fn wanted(edge: &Option<Arc<Node>>, needed: Option<&HashSet<u64>>) -> bool {
    edge.as_ref().is_some_and(|n| needed.is_none_or(|set| set.contains(&n.id)))
}

/// Two gradients of one variable, added; in place where nobody else holds the first.
fn add_grads(a: Var, b: Var, create_graph: bool) -> Result<Var> {
    if create_graph {
        return a.computable()?.add(&b.computable()?)?.in_dtype(a.dtype());
    }
    let mut sum = a.into_tensor();
    sum.add_(b.tensor(), 1.0)?;
    Ok(Var::constant(sum))
}

/// What has arrived of a node's gradient: all but the last to come is added.
struct Pending {
    grad: Var,
    more: Option<Var>,
}

impl Pending {
    fn sum(self, create_graph: bool) -> Result<Var> {
        match self.more {
            None => Ok(self.grad),
            Some(more) => add_grads(self.grad, more, create_graph),
        }
    }
}

/// A node in the heap, youngest first.
struct ByAge(Arc<Node>);

impl PartialEq for ByAge {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}
impl Eq for ByAge {}
impl PartialOrd for ByAge {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for ByAge {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.id.cmp(&other.0.id)
    }
}

impl Var {
    /// The gradients of this scalar with respect to every leaf it depends on.
    ///
    /// Frees what the operations saved, each as soon as its rule has run; a second backward over
    /// the same graph is an error (see [`BackwardOptions::retain_graph`]).
    ///
    /// # Errors
    /// If this is no scalar, or depends on no leaf.
    pub fn backward(&self) -> Result<Gradients> {
        self.backward_with(None, BackwardOptions::default())
    }

    /// [`backward`](Var::backward) from a given gradient of this variable (ones for a scalar if
    /// `None`), with options.
    pub fn backward_with(
        &self,
        grad: Option<Tensor>,
        options: BackwardOptions,
    ) -> Result<Gradients> {
        if self.node.is_none() {
            bail!(
                "backward",
                "the value (shape {:?}) depends on no variable that needs a gradient; make leaves \
                 with Var::leaf and compute outside no_grad",
                self.shape()
            );
        }
        let seed = seed_grad(self, grad.map(Var::constant))?;
        let by_id = walk(vec![(self.clone(), seed)], None, options)?;
        Ok(Gradients { by_id })
    }
}

fn seed_grad(output: &Var, grad: Option<Var>) -> Result<Var> {
    match grad {
        Some(grad) if grad.shape() == output.shape() && grad.dtype() == output.dtype() => Ok(grad),
        Some(grad) => bail!(
            "backward",
            "the gradient given is {:?} {}, the value {:?} {}; both must match",
            grad.shape(),
            grad.dtype(),
            output.shape(),
            output.dtype()
        ),
        None if output.numel() == 1 => Ok(Var::constant(output.tensor().ones_like()?)),
        None => bail!(
            "backward",
            "starts from one number, the value has shape {:?}; reduce it or give its gradient",
            output.shape()
        ),
    }
}

/// The gradients of `outputs` with respect to `inputs` (leaves or intermediate values), as
/// `torch.autograd.grad`: only what lies between them is computed. `None` for an input that the
/// outputs do not depend on. `grad_outputs` defaults to ones for scalars.
pub fn grad(
    outputs: &[Var],
    inputs: &[Var],
    grad_outputs: Option<&[Var]>,
    options: BackwardOptions,
) -> Result<Vec<Option<Var>>> {
    if grad_outputs.is_some_and(|g| g.len() != outputs.len()) {
        bail!("grad", "{} outputs need as many gradients", outputs.len());
    }
    let mut seeds = Vec::new();
    for (i, output) in outputs.iter().enumerate() {
        let seed = seed_grad(output, grad_outputs.map(|g| g[i].clone()))?;
        if output.node.is_some() {
            seeds.push((output.clone(), seed));
        }
    }
    let targets: HashSet<u64> = inputs.iter().filter_map(|v| v.id()).map(|id| id.0).collect();
    let by_id = walk(seeds, Some(Targets { ids: &targets, stop: false }), options)?;
    Ok(inputs.iter().map(|v| by_id.get(&v.id()?.0).cloned()).collect())
}

/// Where a walk ends.
#[derive(Clone, Copy)]
pub(crate) struct Targets<'a> {
    pub(crate) ids: &'a HashSet<u64>,
    /// Whether the walk stops at a target instead of going on to the targets behind it.
    pub(crate) stop: bool,
}

/// Nodes between the outputs and the targets: those that are targets or have one among their
/// ancestors.
fn leading_to(outputs: &[(Var, Var)], targets: Targets) -> HashSet<u64> {
    let oldest = targets.ids.iter().min().copied().unwrap_or(u64::MAX);
    let mut nodes: HashMap<u64, Arc<Node>> = HashMap::new();
    let mut stack: Vec<Arc<Node>> = outputs.iter().filter_map(|(v, _)| v.node.clone()).collect();
    while let Some(node) = stack.pop() {
        if node.id < oldest || nodes.contains_key(&node.id) {
            continue;
        }
        if !(targets.stop && targets.ids.contains(&node.id)) {
            stack.extend(node.edges.iter().flatten().cloned());
        }
        nodes.insert(node.id, node);
    }
    let mut order: Vec<&Arc<Node>> = nodes.values().collect();
    order.sort_unstable_by_key(|n| n.id);
    let mut needed = HashSet::new();
    for node in order {
        if targets.ids.contains(&node.id)
            || node.edges.iter().flatten().any(|edge| needed.contains(&edge.id))
        {
            needed.insert(node.id);
        }
    }
    needed
}

/// The walk. With `targets`, returns their gradients and visits only what leads to them; without,
/// returns those of leaves and of nodes with `retain_grad`.
pub(crate) fn walk(
    outputs: Vec<(Var, Var)>,
    targets: Option<Targets>,
    options: BackwardOptions,
) -> Result<HashMap<u64, Var>> {
    let needed = targets.map(|targets| leading_to(&outputs, targets));
    let needed = needed.as_ref();
    let mut pending: HashMap<u64, Pending> = HashMap::new();
    let mut heap: BinaryHeap<ByAge> = BinaryHeap::new();
    let mut done: HashMap<u64, Var> = HashMap::new();

    let receive =
        |node: &Arc<Node>, grad: Var, pending: &mut HashMap<_, _>, heap: &mut BinaryHeap<_>| {
            match pending.remove(&node.id) {
                None => {
                    heap.push(ByAge(node.clone()));
                    pending.insert(node.id, Pending { grad, more: None });
                }
                Some(so_far) => {
                    let grad =
                        Pending { grad: so_far.sum(options.create_graph)?, more: Some(grad) };
                    pending.insert(node.id, grad);
                }
            }
            Ok::<(), gradus_tensor::Error>(())
        };

    let mode = if options.create_graph { Mode::Record } else { Mode::Skip };
    // Gradients have the dtypes of what they belong to.
    mode::autocast(None, || {
        mode::with_mode(mode, || {
            for (output, seed) in outputs {
                if wanted(&output.node, needed) {
                    receive(output.node.as_ref().expect("wanted"), seed, &mut pending, &mut heap)?;
                }
            }
            while let Some(ByAge(node)) = heap.pop() {
                let grad = pending.remove(&node.id).expect("a node in the heap has a gradient");
                let keep = match targets {
                    Some(targets) => targets.ids.contains(&node.id),
                    None => node.op.is_none() || node.retain_grad.load(Ordering::Relaxed),
                };
                let adds = node.op.is_some_and(Op::adds_gradients);
                let (grad, more) = match grad {
                    Pending { grad, more } if adds && !keep && !options.create_graph => {
                        (grad, more)
                    }
                    grad => (grad.sum(options.create_graph)?, None),
                };
                if keep {
                    done.insert(node.id, grad.clone());
                }
                if keep && targets.is_some_and(|targets| targets.stop) {
                    continue;
                }
                let Some(op) = node.op else { continue };
                // A target may lie on the way to another; one that does not ends the walk here.
                if !node.edges.iter().any(|edge| wanted(edge, needed)) {
                    continue;
                }
                let grads = {
                    let mut slot = node.record();
                    let freed;
                    let record = if options.create_graph || options.retain_graph {
                        slot.as_ref()
                    } else {
                        freed = slot.take();
                        freed.as_ref()
                    };
                    let Some(record) = record else {
                        bail!(
                            "backward",
                            "the graph at {} was already walked and freed; run forward again or set \
                         retain_graph",
                            op.name()
                        );
                    };
                    let context = Context {
                        grad: &grad,
                        more: more.as_ref(),
                        node: &node,
                        record,
                        needed,
                        create_graph: options.create_graph,
                    };
                    // A checkpoint runs a part of the program again: that is looked at.
                    match op {
                        Op::Checkpoint => (record.rule)(&context)?,
                        _ => mode::without_anomaly(|| (record.rule)(&context))?,
                    }
                };
                drop((grad, more));
                if grads.len() != node.edges.len() {
                    bail!(
                        "backward",
                        "the rule of {} returned {} gradients for {} inputs",
                        op.name(),
                        grads.len(),
                        node.edges.len()
                    );
                }
                for (i, (edge, grad)) in node.edges.iter().zip(grads).enumerate() {
                    if !wanted(edge, needed) {
                        continue;
                    }
                    let Some(input) = edge else { continue };
                    let Some(grad) = grad else {
                        bail!(
                            "backward",
                            "the rule of {} gave no gradient for input {i}",
                            op.name()
                        );
                    };
                    if grad.shape() != input.shape || grad.dtype() != input.dtype {
                        bail!(
                            "backward",
                            "the rule of {} gave a gradient {:?} {} for input {i}, which is {:?} {}",
                            op.name(),
                            grad.shape(),
                            grad.dtype(),
                            input.shape,
                            input.dtype
                        );
                    }
                    if mode::anomaly() {
                        check_finite(grad.tensor(), || {
                            format!("backward of {} (input {i})", op.name())
                        })?;
                    }
                    receive(input, grad, &mut pending, &mut heap)?;
                }
            }
            Ok(())
        })
    })?;
    Ok(done)
}
