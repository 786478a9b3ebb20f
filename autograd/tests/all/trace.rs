//! What a trace tells of a run.

use std::collections::HashSet;

use gradus_autograd::trace::TraceInput;
use gradus_autograd::{GraphNode, Trace, Var, checkpoint, no_grad, trace, within};
use gradus_tensor::{DType, Result, RngKey, Tensor};

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
    assert_eq!(flops, trace.profile.calls.iter().map(|call| call.flops).sum::<u64>());
    let times: u64 = costs().map(|cost| cost.ns).sum();
    let all: u64 = trace.profile.calls.iter().map(|call| call.own_ns).sum();
    assert!(times <= all, "{times} of {all}: a call belongs to one node at most");
    for op in ["linear", "softmax", "tanh"] {
        let node = trace.nodes.iter().find(|node| node.op == op).unwrap();
        let called = trace.profile.calls.iter().find(|call| call.op == op).unwrap();
        assert_eq!((node.forward.ns, node.forward.bytes), (called.own_ns, called.bytes), "{op}");
    }
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
