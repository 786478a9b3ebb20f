//! The walk of a backward pass, from the outputs down to the leaves.
//!
//! Every node of the graph knows the nodes of its inputs. [`Plan`] finds the nodes that the walk
//! visits and counts how often each one's output was used. [`Walk`] then takes nodes whose gradient
//! is complete, one after another, and hands gradients to their inputs. It is a loop: no depth of
//! graph can overflow the stack.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use gradus_tensor::{ErrorKind, Result, bail};

use crate::context::Context;
use crate::mode::{self, Mode};
use crate::node::Node;
use crate::op::Op;
use crate::trace;
use crate::var::{Var, VarId, check_finite};

/// How to run backward; see [`Var::backward_with`].
#[derive(Clone, Copy, Debug, Default)]
pub struct BackwardOptions {
    /// Record the backward pass itself, so that the gradients can be differentiated again.
    pub create_graph: bool,
    /// Keep what the operations saved, so that backward can run again over the same graph.
    /// `create_graph` implies it.
    pub retain_graph: bool,
}

/// Where a walk ends.
#[derive(Clone, Copy)]
pub(crate) struct Targets<'a> {
    pub(crate) ids: &'a HashSet<u64>,
    /// Whether the walk stops at a target instead of going on to the targets behind it.
    pub(crate) stop: bool,
}

/// A function that the walk calls with each gradient that it keeps, and with the node's identity.
pub(crate) type Announce<'a> = &'a mut dyn FnMut(VarId, &Var) -> Result<()>;

/// Walks from `outputs`, each given with its gradient, and returns the gradients that it keeps:
/// those of `targets`, or those of all leaves.
pub(crate) fn walk(
    outputs: Vec<(Var, Var)>,
    targets: Option<Targets>,
    options: BackwardOptions,
    announce: Announce,
) -> Result<HashMap<u64, Var>> {
    let recording = if options.create_graph { Mode::Record } else { Mode::Skip };
    let run = || {
        let plan = Plan::new(&outputs, targets);
        Walk { plan, options, pending: HashMap::new(), ready: BinaryHeap::new() }
            .run(outputs, announce)
    };
    // Gradients have the dtypes of what they belong to, so autocast is off; rules know in what
    // precision their layers were.
    mode::autocast(None, || mode::low_precision(None, || mode::with_mode(recording, run)))
}

/// What a walk visits.
pub(crate) struct Plan<'a> {
    targets: Option<Targets<'a>>,
    /// The nodes to visit, each with the number of gradients that it will receive.
    uses: HashMap<u64, usize>,
}

impl<'a> Plan<'a> {
    /// Without targets, everything that the outputs depend on is visited; with targets, only what
    /// lies between.
    fn new(outputs: &[(Var, Var)], targets: Option<Targets<'a>>) -> Plan<'a> {
        let mut plan = Plan { targets, uses: HashMap::new() };
        // From the oldest on: whether a node leads to a target is known after its inputs.
        for node in plan.reachable(outputs) {
            if targets.is_some() && !plan.is_target(&node) && !plan.leads_on(&node) {
                continue;
            }
            plan.uses.insert(node.id, 0);
            for input in plan.inputs(&node) {
                if let Some(uses) = plan.uses.get_mut(&input.id) {
                    *uses += 1;
                }
            }
        }
        for (output, _) in outputs {
            if let Some(uses) = output.id().and_then(|id| plan.uses.get_mut(&id.0)) {
                *uses += 1;
            }
        }
        plan
    }

    /// The nodes on which the outputs depend, oldest first, as far as the targets are old.
    fn reachable(&self, outputs: &[(Var, Var)]) -> Vec<Arc<Node>> {
        let oldest = self.targets.map_or(0, |t| t.ids.iter().min().copied().unwrap_or(u64::MAX));
        let mut seen = HashSet::new();
        let mut nodes = Vec::new();
        let mut stack: Vec<&Arc<Node>> =
            outputs.iter().filter_map(|(v, _)| v.node.as_ref()).collect();
        while let Some(node) = stack.pop() {
            if node.id >= oldest && seen.insert(node.id) {
                stack.extend(self.inputs(node));
                nodes.push(node.clone());
            }
        }
        nodes.sort_unstable_by_key(|node| node.id);
        nodes
    }

    /// The nodes to which the walk goes on from `node`.
    fn inputs<'n>(&self, node: &'n Node) -> impl Iterator<Item = &'n Arc<Node>> + use<'n> {
        let ends = self.is_target(node) && self.targets.is_some_and(|targets| targets.stop);
        let edges: &[_] = if ends { &[] } else { &node.edges };
        edges.iter().flatten()
    }

    fn is_target(&self, node: &Node) -> bool {
        self.targets.is_some_and(|targets| targets.ids.contains(&node.id))
    }

    /// Whether an input of `node` is visited.
    fn leads_on(&self, node: &Node) -> bool {
        self.inputs(node).any(|input| self.visits(input))
    }

    /// Whether the walk visits `node`.
    pub(crate) fn visits(&self, node: &Node) -> bool {
        self.uses.contains_key(&node.id)
    }
}

/// The state of a walk.
struct Walk<'a> {
    plan: Plan<'a>,
    options: BackwardOptions,
    /// What has arrived of the gradients of nodes.
    pending: HashMap<u64, Pending>,
    /// Nodes whose gradient is complete.
    ready: BinaryHeap<Ready>,
}

impl Walk<'_> {
    fn run(mut self, outputs: Vec<(Var, Var)>, announce: Announce) -> Result<HashMap<u64, Var>> {
        let mut kept = HashMap::new();
        for (output, seed) in outputs {
            if let Some(node) = output.node.filter(|node| self.plan.visits(node)) {
                self.receive(&node, seed)?;
            }
        }
        while let Some((node, mut grad)) = self.next() {
            if trace::is_on() {
                let second = grad.second.as_ref().map(Var::tensor);
                trace::gradient_of(&node, (grad.first.tensor(), second));
            }
            if self.keeps(&node) {
                grad = grad.summed(self.options.create_graph)?;
                announce(VarId(node.id), &grad.first)?;
                kept.insert(node.id, grad.first.clone());
            }
            if self.plan.leads_on(&node) {
                for (input, grad) in self.apply_rule(&node, grad)? {
                    self.receive(&input, grad)?;
                }
            }
        }
        Ok(kept)
    }

    /// Adds `grad` to what `node` has received. With the last of them the node is ready.
    fn receive(&mut self, node: &Arc<Node>, grad: Var) -> Result<()> {
        let pending = match self.pending.remove(&node.id) {
            None => Pending { first: grad, second: None, arrived: 1 },
            Some(so_far) => so_far.and(grad, self.options.create_graph)?,
        };
        if pending.arrived == self.plan.uses[&node.id] {
            self.ready.push(Ready(node.clone()));
        }
        self.pending.insert(node.id, pending);
        Ok(())
    }

    /// A node whose gradient is complete, and the gradient.
    fn next(&mut self) -> Option<(Arc<Node>, Pending)> {
        let Ready(node) = self.ready.pop()?;
        let grad = self.pending.remove(&node.id).expect("a ready node has a gradient");
        Some((node, grad))
    }

    /// Whether the walk returns the gradient of `node`.
    fn keeps(&self, node: &Node) -> bool {
        match self.plan.targets {
            Some(_) => self.plan.is_target(node),
            None => node.op.is_none() || node.retain_grad.load(Relaxed),
        }
    }

    /// Runs the rule of an operation. Returns the inputs that the walk visits, with their
    /// gradients.
    fn apply_rule(&self, node: &Arc<Node>, grad: Pending) -> Result<Vec<(Arc<Node>, Var)>> {
        let create_graph = self.options.create_graph;
        let takes_two = node.op.is_some_and(Op::adds_gradients) && !create_graph;
        let grad = if takes_two { grad } else { grad.summed(create_graph)? };
        let mut slot = node.record();
        let freed;
        let record = if create_graph || self.options.retain_graph {
            slot.as_ref()
        } else {
            freed = slot.take();
            freed.as_ref()
        };
        let Some(record) = record else {
            bail!(
                "backward",
                "the graph at {} was already walked and freed; run forward again or set retain_graph",
                node.name()
            );
        };
        let context = Context {
            grad: &grad.first,
            more: grad.second.as_ref(),
            node,
            record,
            plan: &self.plan,
            create_graph,
        };
        let traced = trace::Backward::begin(node);
        let grads = match node.op {
            // A checkpoint runs a part of the program again: anomaly mode looks at that part.
            Some(Op::Checkpoint) => (record.rule)(&context)?,
            _ => mode::without_anomaly(|| (record.rule)(&context))?,
        };
        traced.end();
        self.check(node, grads)
    }

    /// The inputs that the walk visits, with what the rule of `node` gave them, if that fits.
    fn check(&self, node: &Node, grads: Vec<Option<Var>>) -> Result<Vec<(Arc<Node>, Var)>> {
        let (rule, inputs) = (node.name(), node.edges.len());
        if grads.len() != inputs {
            bail!(
                "backward",
                "the rule of {rule} returned {} gradients for {inputs} inputs",
                grads.len()
            );
        }
        let mut checked = Vec::with_capacity(inputs);
        for (i, (input, grad)) in node.edges.iter().zip(grads).enumerate() {
            let Some(input) = input.as_ref().filter(|input| self.plan.visits(input)) else {
                continue;
            };
            let Some(grad) = grad else {
                bail!("backward", "the rule of {rule} gave no gradient for input {i}");
            };
            if grad.shape() != input.shape || grad.dtype() != input.dtype {
                bail!(
                    "backward",
                    kind = ErrorKind::shape_or_dtype(grad.shape() != input.shape),
                    "the rule of {rule} gave a gradient {:?} {} for input {i}, which is {:?} {}",
                    grad.shape(),
                    grad.dtype(),
                    input.shape,
                    input.dtype
                );
            }
            if mode::anomaly() {
                check_finite(grad.tensor(), || format!("backward of {rule} (input {i})"))?;
            }
            checked.push((input.clone(), grad));
        }
        Ok(checked)
    }
}

/// What has arrived of a node's gradient: all but the last to come is added.
struct Pending {
    first: Var,
    second: Option<Var>,
    arrived: usize,
}

impl Pending {
    fn and(self, grad: Var, create_graph: bool) -> Result<Pending> {
        let arrived = self.arrived + 1;
        Ok(Pending { second: Some(grad), arrived, ..self.summed(create_graph)? })
    }

    fn summed(mut self, create_graph: bool) -> Result<Pending> {
        if let Some(second) = self.second.take() {
            self.first = add_grads(self.first, second, create_graph)?;
        }
        Ok(self)
    }
}

/// A node in the heap. Leaves come first, so that a hook gets their gradients while the walk still
/// goes on. Then comes the youngest operation.
struct Ready(Arc<Node>);

impl Ready {
    fn key(&self) -> (bool, u64) {
        (self.0.op.is_none(), self.0.id)
    }
}

impl PartialEq for Ready {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}
impl Eq for Ready {}
impl PartialOrd for Ready {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Ready {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

/// Two gradients of one variable, added; in place where nobody else holds the first.
pub(crate) fn add_grads(a: Var, b: Var, create_graph: bool) -> Result<Var> {
    if create_graph {
        return a.computable()?.add(&b.computable()?)?.in_dtype(a.dtype());
    }
    let mut sum = a.into_tensor();
    sum.add_(b.tensor(), 1.0)?;
    Ok(Var::constant(sum))
}
