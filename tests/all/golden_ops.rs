//! PyTorch's values and gradients of every operation (`tests/golden/ops.py` wrote them), in f32
//! within 1e-6 of the largest value.

use std::collections::BTreeSet;

use crate::golden::{Parameters, apply, numbers, sizes, tensor};
use gradus::autograd::{BackwardOptions, Op, Var, grad};
use gradus::tensor::ops::binary::BinaryOp;
use gradus::tensor::{DType, Tensor};
use gradus_testing::{assert_near, largest};
use serde_json::Value;

/// Operations that PyTorch lacks, or does not have as one function of inputs and numbers.
const WITHOUT: &[&str] = &[
    "alias",
    "dropout",
    "checkpoint",
    "linear_cat",
    "attention_qkvpacked",
    "dropout_add_layer_norm",
    "dropout_add_rms_norm",
];

fn assert_close(ours: &Tensor, theirs: &[f64], what: &str) {
    let within = 1e-6 * largest(theirs, 1e-3);
    assert_near(what, ours, theirs, |_| within);
}

#[test]
fn values_and_gradients_are_pytorchs() {
    let text = include_str!("../golden/ops.json");
    let entries: Vec<Value> = serde_json::from_str(text).unwrap();
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for entry in &entries {
        let name = entry["op"].as_str().unwrap();
        let op = Op::all().into_iter().find(|op| op.name() == name).unwrap();
        seen.insert(op.name());
        let what = format!("{name} {}", entry["parameters"]);
        let leaves: Vec<Var> = entry["inputs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|i| tensor(&numbers(&i["values"]), &sizes(&i["shape"]), DType::F32))
            .map(Var::leaf)
            .collect();
        let y = apply(op, &leaves, &Parameters(&entry["parameters"])).unwrap();
        assert_eq!(y.shape(), sizes(&entry["shape"]), "{what}");
        assert_close(y.tensor(), &numbers(&entry["output"]), &what);
        let incoming = Var::constant(tensor(&numbers(&entry["incoming"]), y.shape(), DType::F32));
        let grads = grad(&[y], &leaves, Some(&[incoming]), BackwardOptions::default()).unwrap();
        for (i, (grad, theirs)) in grads.iter().zip(entry["grads"].as_array().unwrap()).enumerate()
        {
            let what = format!("gradient {i} of {what}");
            assert_close(grad.as_ref().expect(&what).tensor(), &numbers(theirs), &what);
        }
    }
    for op in Op::all() {
        let name = op.name();
        let (golden, without) = (seen.contains(name), WITHOUT.contains(&name));
        assert_ne!(golden, without, "{name} belongs in tests/golden/ops.py, or else in WITHOUT");
    }
    assert!(seen.contains(Op::Binary(BinaryOp::Pow).name()));
}
