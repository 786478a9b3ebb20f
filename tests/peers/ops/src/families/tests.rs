use std::collections::BTreeSet;

use gradus_autograd::registry::NOT_DIFFERENTIABLE;
use serde_json::json;

use super::*;

/// Operations that a request cannot name, each with the reason.
const WITHOUT: &[(&str, &str)] = &[
    ("reduce", "the general form of sum, mean and so on"),
    ("compare", "the general form of eq, lt and so on"),
    ("sums_of_squares", "what a norm over several processes adds"),
    ("bernoulli_mask_on", "bernoulli_mask on the device of --device"),
];

#[test]
fn the_tables_have_every_operation() {
    let named: BTreeSet<&str> = all().map(|operation| operation.name).collect();
    let without: BTreeSet<&str> = WITHOUT.iter().map(|(name, _)| *name).collect();
    let registry: Vec<&str> = Op::all().into_iter().map(Op::name).collect();
    for name in NOT_DIFFERENTIABLE.iter().map(|(name, _)| *name).chain(registry) {
        assert_ne!(named.contains(name), without.contains(name), "{name}");
    }
}

fn ask(op: &str, attributes: Value, inputs: &[Var]) -> Outputs {
    let Value::Object(attributes) = attributes else { panic!("attributes are an object") };
    run(op, inputs, &attributes, Device::Cpu)
}

#[test]
fn what_is_missing_or_left_over_is_named() {
    let x = Var::leaf(Tensor::from_slice(&[1f32, 2.0], &[2]).unwrap());
    for (op, attributes, inputs, what) in [
        ("summ", json!({}), 1, "no operation is called summ"),
        ("softmax", json!({}), 1, "the attribute dim is missing"),
        ("softmax", json!({"dim": "0"}), 1, "the attribute dim is \"0\""),
        ("powf", json!({"e": "two"}), 1, "no number"),
        ("sum", json!({"dim": 0}), 1, "has no attribute dim"),
        ("exp", json!({}), 2, "takes no input 1"),
        ("mul", json!({}), 1, "input 1 is wanted"),
        ("mse_loss", json!({"reduction": "all"}), 2, "the reduction is all"),
    ] {
        let inputs = vec![x.clone(); inputs];
        let error = ask(op, attributes, &inputs).err().unwrap().to_string();
        assert!(error.contains(what), "{op}: {error}");
    }
    let limits = json!({"min": "-inf", "max": 1.5});
    assert_eq!(ask("clamp", limits, &[x]).unwrap()[0].tensor().to_f64_vec(), [1.0, 1.5]);
}
