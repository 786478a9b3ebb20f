//! What a trace notes while a function runs.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use gradus_tensor::profile::{self, Profile};
use gradus_tensor::{Result, Tensor, bail, memory_use};

use super::{Cost, Summary, Trace, TraceInput, TraceNode, saved_in_words};
use crate::node::Node;
use crate::op::Op;
use crate::var::Var;

/// How many threads trace.
static TRACING: AtomicUsize = AtomicUsize::new(0);

/// Held while a trace is made: the profile is one for all threads.
static ONE: Mutex<()> = Mutex::new(());

thread_local! {
    static RUN: RefCell<Option<Run>> = const { RefCell::new(None) };
}

/// Whether a thread traces.
#[inline]
pub(crate) fn is_on() -> bool {
    TRACING.load(Ordering::Relaxed) > 0
}

/// A trace that is being made.
#[derive(Default)]
struct Run {
    nodes: Vec<TraceNode>,
    /// Places in `nodes`, by the numbers of graph nodes, of which none comes twice.
    places: HashMap<u64, usize>,
    /// The names of leaves.
    names: HashMap<u64, String>,
    /// The modules that are running, the innermost last.
    modules: Vec<String>,
    /// The calls of the profile that belong to each node: forward, then backward.
    calls: Vec<[Vec<usize>; 2]>,
    /// Calls up to here belong to earlier operations.
    seen: usize,
}

/// Ends a trace when it is dropped, after a panic too.
struct Tracing;

impl Drop for Tracing {
    fn drop(&mut self) {
        TRACING.fetch_sub(1, Ordering::Relaxed);
        RUN.set(None);
    }
}

pub(super) fn traced<R>(f: impl FnOnce() -> Result<R>) -> Result<(R, Trace)> {
    if RUN.with_borrow(Option::is_some) {
        bail!("trace", "this thread is making a trace already");
    }
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    RUN.set(Some(Run::default()));
    TRACING.fetch_add(1, Ordering::Relaxed);
    let tracing = Tracing;
    profile::start();
    let result = f();
    let run = RUN.take().unwrap_or_default();
    drop(tracing);
    // What has not run yet on a GPU is not in the profile.
    if let Some(node) = run.nodes.last() {
        node.device.synchronize()?;
    }
    let profile = profile::stop().unwrap_or_default();
    Ok((result?, run.finish(profile)))
}

/// Calls `f` with the trace of this thread, if there is one. What `f` reads is no part of the run.
fn with(f: impl FnOnce(&mut Run)) {
    if !is_on() {
        return;
    }
    // Taken out: `f` reads tensors, which may record operations themselves.
    let Some(mut run) = RUN.take() else { return };
    f(&mut run);
    run.seen = profile::calls();
    RUN.set(Some(run));
}

/// Runs `f` as a part of the module of this name, for a [`trace`](super::trace). A name is a whole
/// path: `encoder.layer.0`.
///
/// ```
/// # use gradus_autograd::{Var, trace, within};
/// # use gradus_tensor::Tensor;
/// let x = Var::leaf(Tensor::scalar(2f32));
/// let (_, trace) = trace(|| within("head", || x.exp()))?;
/// assert_eq!(trace.nodes[1].module, "head");
/// # Ok::<(), gradus_tensor::Error>(())
/// ```
pub fn within<R>(module: &str, f: impl FnOnce() -> R) -> R {
    if !is_on() {
        return f();
    }
    let modules = |change: &dyn Fn(&mut Vec<String>)| {
        RUN.with_borrow_mut(|run| run.iter_mut().for_each(|run| change(&mut run.modules)));
    };
    modules(&|open| open.push(module.into()));
    let result = f();
    modules(&|open| drop(open.pop()));
    result
}

/// Tells a [`trace`](super::trace) the name of a leaf: that of a parameter. Its module is the name
/// without the last part.
///
/// ```
/// # use gradus_autograd::{Var, named, trace};
/// # use gradus_tensor::Tensor;
/// let w = Var::leaf(Tensor::scalar(2f32));
/// let (_, trace) = trace(|| {
///     named(&w, "head.weight");
///     w.exp()
/// })?;
/// assert_eq!((&*trace.nodes[0].module, &*trace.nodes[1].module), ("head.weight", "head"));
/// # Ok::<(), gradus_tensor::Error>(())
/// ```
pub fn named(var: &Var, name: &str) {
    let Some(id) = var.id().filter(|_| is_on()) else { return };
    RUN.with_borrow_mut(|run| {
        if let Some(run) = run {
            run.names.entry(id.0).or_insert_with(|| name.into());
        }
    });
}

/// Notes an operation that has been recorded: its result and its inputs.
pub(crate) fn operation(op: Op, result: &Var, inputs: &[&Var]) {
    let saved = result.node.as_ref().map_or(0, |node| saved_bytes(node));
    with(|run| run.operation(op, result, inputs, saved));
}

/// Bytes of what a node keeps for backward.
fn saved_bytes(node: &Node) -> u64 {
    let record = node.record();
    let Some(record) = record.as_ref() else { return 0 };
    let inputs = record.inputs.iter().flatten().map(Var::tensor);
    let saved = inputs.chain(&record.output);
    saved.map(|tensor| (tensor.numel() * tensor.dtype().size()) as u64).sum()
}

/// The backward rule of a node, while it runs.
pub(crate) struct Backward(Option<u64>);

impl Backward {
    /// Begins the rule of `node`. What ran since the last rule, such as a sum of gradients, belongs
    /// to no node.
    pub(crate) fn begin(node: &Node) -> Backward {
        with(|_| ());
        Backward(is_on().then_some(node.id))
    }

    /// Ends it.
    pub(crate) fn end(self) {
        let Some(id) = self.0 else { return };
        with(|run| {
            if let Some(&place) = run.places.get(&id) {
                let calls = run.new_calls();
                run.calls[place][1].extend(calls);
            }
        });
    }
}

/// Notes the gradient of a node, in one or two parts.
pub(crate) fn gradient_of(node: &Node, (first, second): (&Tensor, Option<&Tensor>)) {
    with(|run| {
        let Some(&place) = run.places.get(&node.id) else { return };
        let both = second.map(|second| first.add(second));
        // A sum that fails, fails in the pass as well.
        let whole = both.and_then(Result::ok).unwrap_or_else(|| first.clone());
        run.nodes[place].gradient = Some(Summary::of(&whole));
    });
}

impl Run {
    fn new_calls(&self) -> std::ops::Range<usize> {
        self.seen..profile::calls()
    }

    fn operation(&mut self, op: Op, result: &Var, inputs: &[&Var], saved_bytes: u64) {
        let calls = profile::own_calls(self.new_calls(), op.name());
        let inputs: Vec<TraceInput> = inputs.iter().map(|input| self.input(input)).collect();
        let module = self.module(&inputs);
        let mut node = TraceNode {
            inputs,
            module,
            saves: saved_in_words(op),
            saved_bytes,
            ..self.node(result)
        };
        (node.op, node.formula, node.family) = (op.name(), op.formula(), op.family());
        self.push(result, node, calls);
    }

    fn input(&mut self, input: &Var) -> TraceInput {
        let Some(id) = input.id() else { return TraceInput::Constant(input.shape().to_vec()) };
        if let Some(&place) = self.places.get(&id.0) {
            return TraceInput::Node(place);
        }
        // A leaf, or an operation from before the trace. A checkpoint has stand-ins for its inputs,
        // with values of another shape.
        let mut node = self.node(input);
        node.module = self.names.get(&id.0).cloned().unwrap_or_default();
        self.push(input, node, Vec::new());
        TraceInput::Node(self.nodes.len() - 1)
    }

    /// The innermost module; for an operation on parameters that of the first of them.
    fn module(&self, inputs: &[TraceInput]) -> String {
        let of_parameter = inputs.iter().find_map(|input| match input {
            TraceInput::Node(place) if self.nodes[*place].op == LEAF => {
                self.nodes[*place].module.rsplit_once('.').map(|(module, _)| module.to_string())
            }
            _ => None,
        });
        of_parameter.or_else(|| self.modules.last().cloned()).unwrap_or_default()
    }

    fn node(&self, var: &Var) -> TraceNode {
        TraceNode {
            id: self.nodes.len(),
            op: LEAF,
            formula: "",
            family: "",
            module: String::new(),
            inputs: Vec::new(),
            shape: var.shape().to_vec(),
            dtype: var.dtype(),
            device: var.device(),
            saves: "nothing",
            saved_bytes: 0,
            live_bytes: memory_use().live as u64,
            forward: Cost::default(),
            backward: Cost::default(),
            value: Summary::of(var.tensor()),
            gradient: None,
        }
    }

    fn push(&mut self, var: &Var, mut node: TraceNode, calls: Vec<usize>) {
        node.id = self.nodes.len();
        if let Some(id) = var.id() {
            self.places.insert(id.0, node.id);
        }
        self.nodes.push(node);
        self.calls.push([calls, Vec::new()]);
    }

    fn finish(mut self, profile: Profile) -> Trace {
        for (node, [forward, backward]) in self.nodes.iter_mut().zip(&self.calls) {
            (node.forward, node.backward) = (cost(&profile, forward), cost(&profile, backward));
        }
        Trace { nodes: self.nodes, profile }
    }
}

/// The name of a node that no operation made.
const LEAF: &str = "leaf";

fn cost(profile: &Profile, calls: &[usize]) -> Cost {
    let mut cost = Cost::default();
    for call in calls.iter().filter_map(|&i| profile.calls.get(i)) {
        cost.ns += call.own_ns;
        cost.flops += call.flops;
        cost.bytes += call.bytes;
        cost.calls.push(call.op);
    }
    let ran = profile.kernels.iter().filter(|run| run.call.is_some_and(|i| calls.contains(&i)));
    cost.kernels.extend(ran.map(|run| run.kernel.to_string()));
    cost
}
