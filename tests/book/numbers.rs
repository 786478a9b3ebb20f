//! What the engine says of an operation: an example, its cost, and where a BERT uses it.

use std::collections::BTreeMap;

use gradus::autograd::registry::{self, Case};
use gradus::autograd::{
    BackwardOptions, GradCheck, Op, Trace, Var, grad, largest_difference, trace,
};
use gradus::models::{
    EncoderConfig, EncoderInput, Encoding, Error, Labels, PackedBatch, Pooling, SequenceClassifier,
    Tokenizer,
};
use gradus::nn::{CrossEntropy, Forward, Store};
use gradus::tensor::{DType, Result, RngKey, Tensor};

/// The inputs that the pages show.
const KEY: u64 = 18;

/// The registry's small cases, which the gradient check walks.
fn cases(op: Op) -> Vec<Case> {
    registry::cases(op, RngKey::new(KEY).place(op.name()))
}

/// An operation on a few numbers.
pub struct Example {
    /// What was computed: name, parameters, shapes.
    pub label: String,
    pub inputs: Vec<Tensor>,
    pub output: Tensor,
    /// The gradient that comes to the output: 1, 2, 3, …
    pub incoming: Tensor,
    pub gradients: Vec<Tensor>,
}

/// Of the registry's cases the smallest whose result has several elements and whose inputs have no
/// dimension of one; any other if there is none.
pub fn example(op: Op) -> Result<Example> {
    let mut best: Option<((bool, bool, usize), Case, Tensor)> = None;
    for case in cases(op).into_iter().filter(|c| c.inputs.iter().all(|input| input.numel() > 0)) {
        let constants: Vec<Var> = case.inputs.iter().map(|t| Var::constant(t.clone())).collect();
        let output = (case.f)(&constants)?.into_tensor();
        let size = output.numel() + case.inputs.iter().map(Tensor::numel).sum::<usize>();
        let narrow = case.inputs.iter().any(|input| input.shape().contains(&1));
        let rank = (size < 4, narrow, size);
        if best.as_ref().is_none_or(|(least, _, _)| rank < *least) {
            best = Some((rank, case, output));
        }
    }
    let (_, case, output) = best.unwrap_or_else(|| panic!("{} has no case to show", op.name()));
    let numbers: Vec<f64> = (1..=output.numel()).map(|i| i as f64).collect();
    let incoming = Tensor::from_slice(&numbers, output.shape())?;
    let leaves: Vec<Var> = case.inputs.iter().map(|t| Var::leaf(t.clone())).collect();
    let seed = [Var::constant(incoming.clone())];
    let grads = grad(&[(case.f)(&leaves)?], &leaves, Some(&seed), BackwardOptions::default())?;
    let gradients = grads
        .into_iter()
        .zip(&leaves)
        .map(|(grad, leaf)| match grad {
            Some(grad) => Ok(grad.into_tensor()),
            None => leaf.tensor().zeros_like(),
        })
        .collect::<Result<_>>()?;
    Ok(Example { label: case.label, inputs: case.inputs, output, incoming, gradients })
}

/// How many cases the gradient check has, and the largest difference in them.
pub fn check(op: Op) -> Result<(usize, f64)> {
    let mut largest = 0f64;
    let cases = cases(op);
    for case in &cases {
        let mut options = GradCheck::new(&case.label, KEY);
        if let Some((step, atol)) = case.precision {
            (options.step, options.atol) = (step, atol);
        }
        largest = largest.max(largest_difference(&case.f, &case.inputs, &options)?);
    }
    Ok((cases.len(), largest))
}

/// What an operation costs on inputs of these shapes.
pub struct Cost {
    pub shapes: Vec<Vec<usize>>,
    /// Floating-point operations and bytes, forward and backward.
    pub work: [(u64, u64); 2],
    /// Bytes that it keeps for backward.
    pub kept: u64,
}

/// The cost in f32 on the registry's large inputs.
pub fn cost(op: Op) -> Result<Cost> {
    let case = registry::large_cases(op, RngKey::new(KEY).place(op.name())).remove(0);
    let inputs: Vec<Tensor> =
        case.inputs.iter().map(|input| input.to_dtype(DType::F32)).collect::<Result<_>>()?;
    let leaves: Vec<Var> = inputs.iter().map(|input| Var::leaf(input.clone())).collect();
    let (_, trace) = trace(|| {
        let y = (case.f)(&leaves)?;
        let seed = y.tensor().ones_like()?;
        y.backward_with(Some(seed), BackwardOptions::default())
    })?;
    let node = trace.nodes.iter().find(|node| node.op == op.name());
    let node = node.unwrap_or_else(|| panic!("{} is not in its own trace", op.name()));
    Ok(Cost {
        shapes: inputs.iter().map(|t| t.shape().to_vec()).collect(),
        work: [&node.forward, &node.backward].map(|part| (part.flops, part.bytes)),
        kept: node.saved_bytes,
    })
}

/// The operations of a step of training a BERT of two layers: how often, and in which modules.
pub struct Step {
    uses: BTreeMap<&'static str, BTreeMap<String, usize>>,
}

impl Step {
    /// The modules in which an operation runs, each with how often it does.
    pub fn uses(&self, op: Op) -> Vec<(&str, usize)> {
        let uses = self.uses.get(op.name()).into_iter().flatten();
        uses.map(|(module, count)| (module.as_str(), *count)).collect()
    }
}

/// Traces a step of a classifier: forward with dropout, loss, backward.
pub fn step_of_bert() -> Step {
    let trace = traced_step().unwrap_or_else(|error| panic!("the step of a BERT: {error}"));
    let mut uses: BTreeMap<&str, BTreeMap<String, usize>> = BTreeMap::new();
    for node in trace.nodes.iter().filter(|node| !node.is_leaf()) {
        *uses.entry(node.op).or_default().entry(any_layer(&node.module)).or_default() += 1;
    }
    Step { uses }
}

fn traced_step() -> gradus::models::Result<Trace> {
    let texts = ["how do i locate my card", "hi"];
    let tokenizer = Tokenizer::train_wordpiece(&texts, 200)?;
    let encodings: Vec<Encoding> =
        texts.iter().map(|text| tokenizer.encode(text, None, 32)).collect::<Result<_, _>>()?;
    let mut config = EncoderConfig::new(tokenizer.vocab_size(), 2, 32, 2, 64);
    config.set_labels(&Labels::from_names(vec!["card".into(), "other".into()])?);
    let store = Store::new(0);
    let model = SequenceClassifier::new(&store.root(), &config, Pooling::Cls, 2)?;
    let input = EncoderInput::new(&PackedBatch::new(&encodings, &config)?)?;
    let targets = Tensor::from_slice(&[0u32, 1], &[2])?;
    let failed = |error: Error| gradus::tensor::Error::op("step", error.to_string());
    let step = || {
        let logits = model.forward(&input, &Forward::training(0, 1)).map_err(failed)?;
        logits.cross_entropy(&targets, &CrossEntropy::default())?.backward()
    };
    Ok(trace(step)?.1)
}

/// A module's name, with N for the number of its layer.
fn any_layer(module: &str) -> String {
    let part =
        |part: &str| if part.parse::<usize>().is_ok() { "N".into() } else { part.to_string() };
    module.split('.').map(part).collect::<Vec<String>>().join(".")
}
