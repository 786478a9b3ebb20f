//! What a trace notes while a function runs.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use gradus_tensor::profile::Call;
use gradus_tensor::profile::{self, Profile};
use gradus_tensor::{Device, Result, Tensor, bail, memory_use};
use serde_json::{Map, Value};

use super::attention::AttentionTrace;
use super::told::Notes;
use super::{
    Cost, Saved, SavedTensor, Summary, Trace, TraceInput, TraceNode, TracedConstant, saved_in_words,
};
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

/// Whether this thread traces.
#[inline]
pub(super) fn is_tracing() -> bool {
    is_on() && RUN.with_borrow(Option::is_some)
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
    /// Places of leaves that only a checkpoint has named so far: their values are not known.
    unread: HashSet<usize>,
    /// Nodes to which backward has come.
    arrived: usize,
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

/// Adds what the name of a function of single elements tells.
fn own_settings(op: Op, settings: &mut Map<String, Value>) {
    use gradus_tensor::ops::unary::UnaryOp::{Affine, Clamp, Powf};
    let Op::Unary(unary) = op else { return };
    let mut own = |name: &str, value: f64| settings.insert(name.into(), value.into());
    match unary {
        Affine { mul, add } => drop((own("mul", mul), own("add", add))),
        Clamp { min, max } => drop((own("min", min), own("max", max))),
        Powf(exponent) => drop(own("exponent", exponent)),
        _ => (),
    }
}

/// Notes an operation that has been recorded: its result, its inputs, and what it told.
pub(crate) fn operation(op: Op, result: &Var, inputs: &[&Var], notes: Notes) {
    with(|run| run.operation(op, result, inputs, notes));
}

/// What a node keeps for backward, and what its rule `held`.
fn saved(node: &Node, held: Vec<Saved>) -> Vec<Saved> {
    let record = node.record();
    let Some(record) = record.as_ref() else { return Vec::new() };
    let of = |what, tensor: &Tensor| {
        let bytes = (tensor.numel() * tensor.dtype().size()) as u64;
        Saved { what, bytes }
    };
    let inputs = record.inputs.iter().enumerate();
    let inputs =
        inputs.filter_map(|(i, var)| Some(of(SavedTensor::Input(i), var.as_ref()?.tensor())));
    let output = record.output.as_ref().map(|output| of(SavedTensor::Output, output));
    inputs.chain(held).chain(output).collect()
}

/// Bytes of all tensors on a device.
fn live_bytes(device: Device) -> u64 {
    match device.counters() {
        Ok(Some(counters)) => counters.live_bytes,
        _ => memory_use().live as u64,
    }
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
                // A rule may call any operation.
                let calls = run.new_calls("");
                run.calls[place][1].extend(calls);
                let node = &mut run.nodes[place];
                node.live_bytes_after_backward = Some(live_bytes(node.device));
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
        let traced = &mut run.nodes[place];
        traced.gradient = Some(Summary::of(&whole));
        traced.backward_order = Some(run.arrived);
        if let Some(attention) = &mut traced.attention {
            attention.set_gradient(&whole);
        }
        run.arrived += 1;
    });
}

impl Run {
    /// This thread's calls since the last look: from the last one of `op` on, or all where there is
    /// none of it.
    fn new_calls(&self, op: &str) -> Vec<usize> {
        profile::own_calls(self.seen..profile::calls(), op)
    }

    fn operation(&mut self, op: Op, result: &Var, inputs: &[&Var], notes: Notes) {
        let calls = self.new_calls(op.name());
        let Notes { mut settings, held } = notes;
        own_settings(op, &mut settings);
        let attention = AttentionTrace::of(op, &settings, inputs);
        let input = |input: &&Var| self.input(op, input);
        let inputs: Vec<TraceInput> = inputs.iter().map(input).collect();
        let saved = result.node.as_ref().map_or(Vec::new(), |node| saved(node, held));
        let node = TraceNode {
            op: op.name(),
            formula: op.formula(),
            family: op.family(),
            module: self.module(&inputs),
            inputs,
            settings,
            saves: saved_in_words(op),
            saved_bytes: saved.iter().map(|saved| saved.bytes).sum(),
            saved,
            attention,
            ..self.node(result)
        };
        self.push(result, node, calls);
    }

    fn input(&mut self, op: Op, input: &Var) -> TraceInput {
        let (Some(node), Some(id)) = (&input.node, input.id()) else {
            let (shape, value) = (input.shape().to_vec(), Summary::of(input.tensor()));
            return TraceInput::Constant(TracedConstant { shape, value });
        };
        // A checkpoint's inputs are stand-ins: places in the graph with the value of its output.
        let stands_in = op == Op::Checkpoint;
        if let Some(&place) = self.places.get(&id.0) {
            if !stands_in && self.unread.remove(&place) {
                self.nodes[place].value = Summary::of(input.tensor());
                self.nodes[place].device = input.device();
            }
            return TraceInput::Node(place);
        }
        // A leaf, or an operation from before the trace.
        let place = self.nodes.len();
        let mut traced = match stands_in {
            false => self.node(input),
            true => TraceNode {
                shape: node.shape.clone(),
                dtype: node.dtype,
                ..self.valued(input, Summary::default())
            },
        };
        if stands_in {
            self.unread.insert(place);
        }
        traced.module = self.names.get(&id.0).cloned().unwrap_or_default();
        self.push(input, traced, Vec::new());
        TraceInput::Node(place)
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
        self.valued(var, Summary::of(var.tensor()))
    }

    fn valued(&self, var: &Var, value: Summary) -> TraceNode {
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
            settings: Map::new(),
            saves: "nothing",
            saved_bytes: 0,
            saved: Vec::new(),
            live_bytes: live_bytes(var.device()),
            live_bytes_after_backward: None,
            backward_order: None,
            forward: Cost::default(),
            backward: Cost::default(),
            value,
            gradient: None,
            attention: None,
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
        let Some((family, _)) = call.kernel.split_once("::") else { continue };
        if !cost.families.contains(&family) {
            cost.families.push(family);
        }
        if call.device == Device::Cpu {
            cost.kernels.push(kernel_of(call));
        }
    }
    let ran = profile.kernels.iter().filter(|run| run.call.is_some_and(|i| calls.contains(&i)));
    cost.kernels.extend(ran.map(|run| run.kernel.to_string()));
    cost
}

/// The kernel of the CPU that computed a call.
fn kernel_of(call: &Call) -> String {
    match call.instructions() {
        Some(instructions) => format!("{}, {instructions}", call.kernel),
        None => format!("{}, {}", call.kernel, call.dtype),
    }
}
