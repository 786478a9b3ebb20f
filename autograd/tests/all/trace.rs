//! What a trace tells of a run.

use std::collections::HashSet;

use gradus_autograd::ops::attention::attention_probabilities;
use gradus_autograd::trace::{Saved, SavedTensor, TraceInput};
use gradus_autograd::{GraphNode, Trace, Var, checkpoint, no_grad, trace, within};
use gradus_tensor::ops::attention::Attention;
use gradus_tensor::profile::Call;
use gradus_tensor::{CrossEntropy, DType, Result, RngKey, Tensor, instruction_set};

/// A small network of several kinds of operations; its loss and the gradients of its leaves.
fn network(leaves: &[Var; 3]) -> Result<(Var, Vec<Vec<f64>>)> {
    let [x, w, b] = leaves;
    let hidden = within("net.0", || x.linear(w, Some(b)))?.tanh()?;
    let norm = no_grad(|| hidden.square()?.sum_all())?; // in no graph
    let sum = hidden.mul(&hidden.softmax(-1)?)?.sum_all()?;
    let loss = sum.add(&hidden.mean(&[0, 1], false)?)?.mul_scalar(0.5 + 0.0 * norm.item()?)?;
    let grads = loss.backward()?;
    let of = |leaf: &Var| grads.get(leaf).unwrap().to_f64_vec();
    let gradients = leaves.iter().map(of).collect();
    Ok((loss, gradients))
}

fn leaves() -> [Var; 3] {
    let random = |shape: &[usize], place| {
        Var::leaf(Tensor::randn(shape, DType::F32, RngKey::new(4).place(place)).unwrap())
    };
    [random(&[5, 4], "x"), random(&[3, 4], "w"), random(&[3], "b")]
}

/// Operations and leaves on which a variable depends.
fn graph(of: &Var) -> usize {
    let (mut seen, mut stack) = (HashSet::new(), of.inputs());
    while let Some(node) = stack.pop() {
        let Some(node) = node else { continue };
        if seen.insert(node.id()) {
            stack.extend(GraphNode::inputs(&node));
        }
    }
    seen.len() + 1
}

#[test]
fn a_trace_has_the_graph_and_changes_no_bit() {
    let leaves = leaves();
    let (plain, of_plain) = network(&leaves).unwrap();
    let ((loss, gradients), trace) = trace(|| network(&leaves)).unwrap();
    assert_eq!(loss.item().unwrap().to_bits(), plain.item().unwrap().to_bits());
    assert_eq!(gradients, of_plain);
    assert_eq!(trace.nodes.len(), graph(&loss), "{trace}");
    for (id, node) in trace.nodes.iter().enumerate() {
        assert_eq!(node.id, id);
        let before = |input: &TraceInput| match input {
            TraceInput::Node(input) => *input < id,
            TraceInput::Constant(_) => true,
        };
        assert!(node.inputs.iter().all(before), "{trace}");
        assert!(node.gradient.is_some() || node.op == "leaf", "{}", node.op);
    }
    let linear = trace.nodes.iter().find(|node| node.op == "linear").unwrap();
    assert_eq!((linear.module.as_str(), linear.saves), ("net.0", "the inputs"));
    assert_eq!(linear.saved_bytes, 4 * (5 * 4 + 3 * 4 + 3));
    assert_eq!(linear.forward.flops, 2 * 5 * 4 * 3);
    assert_eq!(linear.backward.flops, 2 * 2 * 5 * 4 * 3);
    let end = trace.nodes.last().unwrap();
    assert_eq!(end.value.values, [loss.item().unwrap()]);
    assert_eq!(end.gradient.as_ref().unwrap().values, [1.0]);
    let x = &trace.nodes[0];
    assert_eq!(x.gradient.as_ref().unwrap().values, gradients[0]);
    assert_eq!(x.value.values, leaves[0].tensor().to_f64_vec());
}

/// Every product of the profile belongs to one node.
#[test]
fn the_costs_are_those_of_the_profile() {
    let leaves = leaves();
    let (_, trace) = trace(|| network(&leaves)).unwrap();
    let costs = || trace.nodes.iter().flat_map(|node| [&node.forward, &node.backward]);
    let flops: u64 = costs().map(|cost| cost.flops).sum();
    // Other tests call operations too, from threads of their own. No other has this time.
    let node = |op: &str| trace.nodes.iter().find(|node| node.op == op).unwrap();
    let calls = &trace.profile.calls;
    let called = |call: &&Call| call.op == "linear" && call.own_ns == node("linear").forward.ns;
    let thread = calls.iter().find(called).unwrap().thread;
    let own = || calls.iter().filter(|call| call.thread == thread);
    assert_eq!(flops, own().map(|call| call.flops).sum::<u64>());
    let times: u64 = costs().map(|cost| cost.ns).sum();
    let all: u64 = own().map(|call| call.own_ns).sum();
    assert!(times <= all, "{times} of {all}: a call belongs to one node at most");
    for op in ["linear", "softmax", "tanh"] {
        let node = node(op);
        let called = own().find(|call| call.op == op).unwrap();
        assert_eq!((node.forward.ns, node.forward.bytes), (called.own_ns, called.bytes), "{op}");
    }
}

#[test]
fn kernels_saved_tensors_and_live_bytes() {
    let (_, trace) = trace(|| network(&leaves())).unwrap();
    let node = |op: &str| trace.nodes.iter().find(|node| node.op == op).unwrap();
    let linear = node("linear");
    assert_eq!(linear.forward.kernels, [format!("matmul::linear, {}", instruction_set())]);
    assert_eq!(linear.forward.families, ["matmul"]);
    assert!(linear.backward.kernels.iter().all(|kernel| kernel.starts_with("matmul::")));
    assert_eq!(node("softmax").forward.kernels, ["softmax::softmax, f32"]);
    assert_eq!(node("softmax").settings["dim"], -1);
    let saved = |what, bytes| Saved { what, bytes };
    assert_eq!(node("softmax").saved, [saved(SavedTensor::Output, 60)]);
    let inputs = [80, 48, 12].into_iter().enumerate();
    let of = |(i, bytes)| saved(SavedTensor::Input(i), bytes);
    assert_eq!(linear.saved, inputs.map(of).collect::<Vec<_>>());
    let mut orders: Vec<usize> =
        trace.nodes.iter().filter_map(|node| node.backward_order).collect();
    orders.sort_unstable();
    assert_eq!(orders, (0..trace.nodes.len()).collect::<Vec<_>>(), "backward came to each once");
    assert_eq!(trace.nodes.last().unwrap().backward_order, Some(0));
    for node in trace.nodes.iter().filter(|node| !node.is_leaf()) {
        assert!(node.live_bytes > 0 && node.live_bytes_after_backward.is_some(), "{}", node.op);
    }
}

/// What a rule holds beside inputs and result is told when it is recorded, with its real size.
#[test]
fn what_rules_hold_is_counted() {
    let leaf = |shape: &[usize]| Var::leaf(Tensor::ones(shape, DType::F32).unwrap());
    let (x, w, b) = (leaf(&[6, 4]), leaf(&[4]), leaf(&[4]));
    let run = || {
        let normed = x.layer_norm(&w, Some(&b), 1e-5)?;
        let offsets = Tensor::from_slice(&[0u32, 2, 6], &[3])?;
        let heads = Attention { heads: 2, ..Attention::default() };
        let y = normed.attention(&normed, &normed, None, &offsets, &heads)?;
        let z = y.dropout_add_layer_norm(&x, &w, None, 1e-5, None)?;
        let rms = z.rms_norm(&w, 1e-5)?.linear_gelu(&leaf(&[3, 4]), None)?;
        rms.cross_entropy(&Tensor::from_slice(&[0u32; 6], &[6])?, &CrossEntropy::default())
    };
    let (_, trace) = trace(run).unwrap();
    let held = |op: &str, what: SavedTensor| -> Option<u64> {
        let node = trace.nodes.iter().find(|node| node.op == op).unwrap();
        node.saved.iter().find(|saved| saved.what == what).map(|saved| saved.bytes)
    };
    let rows = 6 * 4; // bytes of a number a row
    assert_eq!(held("layer_norm", SavedTensor::Statistics), Some(2 * rows));
    assert_eq!(held("rms_norm", SavedTensor::Statistics), Some(rows), "without a mean");
    assert_eq!(held("attention", SavedTensor::LogSum), Some(2 * rows), "for each head");
    assert_eq!(held("dropout_add_layer_norm", SavedTensor::Sum), Some(4 * rows));
    assert_eq!(held("dropout_add_layer_norm", SavedTensor::Statistics), Some(2 * rows));
    assert_eq!(held("linear_gelu", SavedTensor::Inner), Some(3 * rows));
    assert_eq!(held("cross_entropy", SavedTensor::LogSum), Some(2 * rows), "in two parts");
    assert_eq!(held("layer_norm", SavedTensor::Sum), None);
}

/// An operation that is not recorded leaves nothing to the next of its kind.
#[test]
fn settings_go_with_their_operation() {
    let (x, constant) = (Var::leaf(Tensor::ones(&[2, 3], DType::F32).unwrap()), leaves());
    let (_, trace) = trace(|| {
        let _not_recorded = constant[0].detach().softmax(0)?;
        assert!(x.softmax(7).is_err());
        x.softmax(-1)
    })
    .unwrap();
    assert_eq!(trace.nodes.last().unwrap().settings["dim"], -1);
}

/// A checkpoint names the leaves that it reads, with stand-ins that have another shape.
#[test]
fn a_leaf_that_only_a_checkpoint_reads() {
    let x = Var::leaf(Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0, 5.0, 6.0], &[2, 3]).unwrap());
    let run = |back: bool| {
        let own = x.clone();
        let (_, trace) = trace(|| {
            let loss = checkpoint(move || own.square()?.sum_all())?;
            if back { loss.backward().map(drop) } else { Ok(()) }
        })
        .unwrap();
        trace.nodes[0].clone()
    };
    let unread = run(false);
    assert_eq!((unread.op, unread.shape), ("leaf", vec![2, 3]));
    assert_eq!((unread.value.stride, unread.value.values.len()), (0, 0), "nobody has read it");
    let read = run(true);
    assert_eq!((read.shape, read.value.values), (vec![2, 3], x.tensor().to_f64_vec()));
    assert_eq!(read.gradient.unwrap().values, [2.0, 4.0, 6.0, 8.0, 10.0, 12.0]);
}

/// The probabilities are those of the composed attention, and so are the gradients by them.
#[test]
fn attention_shows_its_probabilities() {
    let random = |place| Tensor::randn(&[7, 6], DType::F64, RngKey::new(3).place(place)).unwrap();
    let [q, k, v] = ["q", "k", "v"].map(|place| Var::leaf(random(place)));
    let weights = Var::constant(random("weights"));
    let offsets = Tensor::from_slice(&[0u32, 4, 7], &[3]).unwrap(); // the trace keeps the first
    let options = Attention { heads: 2, scale: 0.5, causal: true, ..Default::default() };
    let (_, trace) = trace(|| {
        q.attention(&k, &v, None, &offsets, &options)?.mul(&weights)?.sum_all()?.backward()
    })
    .unwrap();
    let node = trace.nodes.iter().find(|node| node.op == "attention").unwrap();
    let kept = node.attention.as_ref().unwrap();
    assert_eq!((kept.tokens, kept.heads, kept.size), (4, [2, 2], 3));

    let heads = |x: &Var| x.narrow(0, 0, 4)?.reshape(&[4, 2, 3])?.permute(&[1, 0, 2]);
    let p = attention_probabilities(&heads(&q).unwrap(), &heads(&k).unwrap(), None, &options);
    let p = Var::leaf(p.unwrap().into_tensor());
    let output = p.matmul(&heads(&v).unwrap()).unwrap();
    let loss = output.mul(&heads(&weights).unwrap()).unwrap().sum_all().unwrap();
    let gradient = loss.backward().unwrap().get(&p).unwrap().to_f64_vec();
    let close = |ours: &[f64], theirs: &[f64]| {
        let pairs = ours.iter().zip(theirs);
        ours.len() == theirs.len() && pairs.fold(0f64, |d, (a, b)| d.max((a - b).abs())) < 1e-6
    };
    assert!(close(&kept.probabilities, &p.tensor().to_f64_vec()));
    assert!(close(kept.gradient.as_ref().unwrap(), &gradient));
}

#[test]
fn a_checkpoint_and_what_a_failed_run_leaves() {
    let x = Var::leaf(Tensor::scalar(2f32));
    let (_, trace_of) = trace(|| {
        let own = x.clone();
        checkpoint(move || own.square()?.exp())?.backward()
    })
    .unwrap();
    let ops: Vec<&str> = trace_of.nodes.iter().map(|node| node.op).collect();
    assert_eq!(ops, ["leaf", "checkpoint", "square", "exp"], "it runs again in backward");

    let failed: Result<((), Trace)> =
        trace(|| x.log()?.add(&Var::leaf(Tensor::zeros(&[2, 3], DType::F64)?)).map(drop));
    assert!(failed.is_err());
    let (_, again) = trace(|| x.exp()).unwrap();
    assert_eq!(again.nodes.len(), 2);
    let nested = trace(|| trace(|| x.exp()).map(drop)).err().unwrap().to_string();
    assert!(nested.contains("making a trace already"), "{nested}");
    assert!(trace(|| x.exp()).is_ok());
}

#[test]
fn renderings() {
    let leaves = leaves();
    let (_, trace) = trace(|| network(&leaves)).unwrap();
    let edges: usize = trace
        .nodes
        .iter()
        .map(|node| node.inputs.iter().filter(|i| matches!(i, TraceInput::Node(_))).count())
        .sum();
    let (dot, mermaid) = (trace.to_dot(), trace.to_mermaid());
    assert_eq!(dot.matches(" -> ").count(), edges);
    assert_eq!(mermaid.matches(" --> ").count(), edges);
    assert!(dot.contains("subgraph cluster_0 { label=\"net.0\"; n3; }"), "{dot}");
    assert_eq!(trace.to_string().lines().count(), trace.nodes.len());
    let json = trace.to_json();
    assert!(json.starts_with("{\"nodes\":[{\"id\":0,\"op\":\"leaf\""), "{json}");
    assert_eq!(json.matches("\"histogram\"").count(), 2 * trace.nodes.len());
}
