//! PyTorch's values and gradients at kinks, limits and overflows (`tests/golden/edges.py` wrote
//! them), in f64 and f32, by the fused rules and by the recorded ones. [`DIFFERENT`] lists the
//! intended differences with their reasons.

use std::collections::BTreeSet;

use crate::golden::{Parameters, apply, number, numbers, sizes, tensor};
use gradus::autograd::{BackwardOptions, Op, Var, grad};
use gradus::models::encoder::normalize;
use gradus::nn::losses;
use gradus::tensor::{DType, Device, Result, Tensor};
use serde_json::Value;

/// An intended difference: the operation, the condition, the reason.
struct Different {
    op: &'static str,
    /// The condition, from the values of all inputs at one place and the incoming gradient.
    at: fn(&[f64], f64) -> bool,
    why: &'static str,
}

const DIFFERENT: &[Different] = &[
    Different { op: "sign", at: |x, _| x[0].is_nan(), why: "the sign of NaN is NaN (PyTorch: 0)" },
    Different { op: "abs", at: |x, _| x[0].is_nan(), why: "its slope is the sign" },
    Different { op: "l1", at: |x, _| x[0].is_nan(), why: "its slope is the sign" },
    Different {
        op: "gelu",
        at: |x, _| x[0].is_infinite(),
        why: "the limits, 0 and infinity (PyTorch: ∞·0)",
    },
    Different {
        op: "gelu_tanh",
        at: |x, _| x[0].abs() > 1e29,
        why: "the limits, 0 and 1 (PyTorch: 0·∞, of x³)",
    },
    Different {
        op: "powf",
        at: |x, _| x[0] == f64::NEG_INFINITY,
        why: "powers as IEEE 754 defines them (PyTorch takes the root, NaN)",
    },
    Different {
        op: "powf",
        at: |x, g| x[0].abs() > 1e29 && g != 1.0,
        why: "g·xᵉ⁻¹ is multiplied before e, and overflows later",
    },
    Different {
        op: "square",
        at: |x, g| x[0].abs() > 1e38 && g == 0.0,
        why: "g·x is multiplied before 2, and overflows later",
    },
    Different { op: "mse", at: |x, g| x[0].abs() > 1e38 && g == 0.0, why: "like the square" },
    Different {
        op: "prod",
        at: |_, g| g != 1.0,
        why: "by halves, so that the product of the others is never divided; 0 and ∞ meet elsewhere",
    },
    Different {
        op: "var",
        at: |x, _| x[0].abs() > 1e38,
        why: "g·(x − mean) is multiplied before 2/n, and overflows later; a sum of squares is never negative",
    },
    Different {
        op: "sum",
        at: |x, _| x[0].abs() > 1e38,
        why: "the order of summation differs, and no partial sum overflows",
    },
    Different { op: "mean", at: |x, _| x[0].abs() > 1e38, why: "like the sum" },
    Different {
        op: "gelu",
        at: |x, _| x[0] > 1e38,
        why: "x itself (PyTorch: a product overflows)",
    },
    Different { op: "sqrt", at: |x, _| x[0] == 0.0, why: "the slope at −0 is ∞, as at 0" },
    Different {
        op: "powf", at: |x, _| x[0] == 0.0, why: "C's pow: (−0)^−½ is ∞; slopes alike"
    },
    Different {
        op: "bce_with_logits",
        at: |x, _| x[0].is_infinite(),
        why: "a term of weight 0 does not count (PyTorch: ∞·0)",
    },
    Different {
        op: "cross_entropy",
        at: |x, _| x[0] == f64::NEG_INFINITY,
        why: "an ignored row does not count, even if all of it is −∞ (PyTorch: NaN·0)",
    },
    Different {
        op: "bce_with_logits",
        at: |_, g| g == f64::INFINITY,
        why: "for a target between 0 and 1 both terms count, and their gradients are ∞ and −∞",
    },
    Different {
        op: "var",
        at: |x, _| x[0] != 0.0 && x[0].abs() < 1e-29,
        why: "where the squares vanish in f32, 0 is not divided by 0",
    },
];

/// The function of an entry.
fn function(name: &str, v: &[Var], p: &Parameters) -> Result<Var> {
    let here = |t: Tensor| t.to_device(v[0].device());
    let constant = |name: &str| here(tensor(&numbers(&p.0[name]), v[0].shape(), v[0].dtype()));
    match name {
        "prod" => v[0].prod(&p.dims(), false),
        "normalize" => Ok(normalize(&v[0]).unwrap()),
        "mse" => losses::mse(&v[0], &v[1], p.reduction()),
        "l1" => losses::l1(&v[0], &v[1], p.reduction()),
        "huber" => losses::huber(&v[0], &v[1], p.number("delta"), p.reduction()),
        "bce_with_logits" => {
            losses::bce_with_logits(&v[0], &constant("targets")?, None, p.reduction())
        }
        "cosine_similarity" => losses::cosine_similarity(&v[0], &v[1], 1, 1e-8),
        "cosine_embedding" => {
            let targets =
                Tensor::full(&v[0].shape()[..1], p.number("target"), v[0].dtype()).unwrap();
            losses::cosine_embedding(&v[0], &v[1], &here(targets)?, 0.0, losses::Reduction::None)
        }
        name => {
            let op = Op::all().into_iter().find(|op| op.name() == name);
            apply(op.unwrap_or_else(|| panic!("{name} is no operation")), v, p)
        }
    }
}

/// Whether `ours` equals PyTorch's number `theirs` within the tolerance.
fn same(ours: f64, theirs: f64, dtype: DType) -> bool {
    let (relative, absolute) = match dtype {
        DType::F64 => (1e-11, 1e-15),
        _ => (2e-6, 1.5e-7),
    };
    if !theirs.is_finite() {
        return ours == theirs || ours.is_nan() && theirs.is_nan();
    }
    ours == theirs || (ours - theirs).abs() <= absolute + relative * theirs.abs()
}

/// Compares all results of one entry. Returns each difference as text, with the line of
/// [`DIFFERENT`] that allows it.
fn differences(
    entry: &Value,
    device: Device,
    create_graph: bool,
    used: &mut BTreeSet<usize>,
) -> Vec<String> {
    let name = entry["op"].as_str().unwrap();
    let dtype = if entry["dtype"] == "f64" { DType::F64 } else { DType::F32 };
    let inputs = entry["inputs"].as_array().unwrap();
    let values: Vec<Vec<f64>> = inputs.iter().map(|i| numbers(&i["values"])).collect();
    let leaves: Vec<Var> = inputs
        .iter()
        .zip(&values)
        .map(|(i, values)| tensor(values, &sizes(&i["shape"]), dtype))
        .map(|input| Var::leaf(input.to_device(device).unwrap()))
        .collect();
    let y = function(name, &leaves, &Parameters(&entry["parameters"])).unwrap();
    assert_eq!(y.shape(), sizes(&entry["shape"]), "{name}");
    let mut found = Vec::new();
    let mut compare = |what: &str, ours: &Tensor, theirs: &[f64], incoming: f64| {
        let ours = ours.to_f64_vec();
        assert_eq!(ours.len(), theirs.len(), "{name}");
        let per = values[0].len() / ours.len().max(1);
        for (at, (&a, &b)) in ours.iter().zip(theirs).enumerate() {
            if same(a, b, dtype) {
                continue;
            }
            let from = (at * per).min(values[0].len().saturating_sub(per.max(1)));
            let here: Vec<f64> =
                values.iter().flat_map(|v| v[from..from + per.max(1)].to_vec()).collect();
            let known = DIFFERENT.iter().position(|d| d.op == name && (d.at)(&here, incoming));
            match known {
                Some(line) => drop(used.insert(line)),
                None => found.push(format!(
                    "{name} {} {dtype}, {what} at {at} {here:?}: {a}, PyTorch {b}",
                    entry["parameters"]
                )),
            }
        }
    };
    compare("value", y.tensor(), &numbers(&entry["output"]), 1.0);
    let incoming = entry["incoming"].as_array().unwrap().iter().map(number);
    for (g, theirs) in incoming.zip(entry["grads"].as_array().unwrap()) {
        let seed = Var::constant(Tensor::full_on(y.shape(), g, dtype, device).unwrap());
        let options = BackwardOptions { create_graph, retain_graph: true };
        let grads = grad(std::slice::from_ref(&y), &leaves, Some(&[seed]), options).unwrap();
        for (i, (grad, theirs)) in grads.iter().zip(theirs.as_array().unwrap()).enumerate() {
            let what = format!("gradient {i} of {g}, recorded {create_graph}");
            compare(&what, grad.as_ref().unwrap().tensor(), &numbers(theirs), g);
        }
    }
    found
}

#[test]
fn edges_are_pytorchs() {
    let entries: Vec<Value> = serde_json::from_str(include_str!("../golden/edges.json")).unwrap();
    let mut used = BTreeSet::new();
    let mut found = Vec::new();
    for entry in &entries {
        for create_graph in [false, true] {
            found.extend(differences(entry, Device::Cpu, create_graph, &mut used));
        }
    }
    assert!(found.is_empty(), "{} differences:\n{}", found.len(), found.join("\n"));
    for (line, different) in DIFFERENT.iter().enumerate() {
        assert!(used.contains(&line), "{} differs no more: {}", different.op, different.why);
    }
}

/// Operations that select must not multiply by a mask, on a GPU either.
#[test]
fn kinks_on_a_gpu_are_pytorchs() {
    const CHOOSE: [&str; 14] = [
        "relu",
        "clamp",
        "maximum",
        "minimum",
        "where",
        "max",
        "min",
        "sign",
        "floor",
        "ceil",
        "round",
        "huber",
        "l1",
        "cross_entropy",
    ];
    let Some(device) = gradus_testing::gpu() else { return };
    let entries: Vec<Value> = serde_json::from_str(include_str!("../golden/edges.json")).unwrap();
    let mut found = Vec::new();
    for entry in &entries {
        if entry["dtype"] == "f32" && CHOOSE.contains(&entry["op"].as_str().unwrap()) {
            for create_graph in [false, true] {
                found.extend(differences(entry, device, create_graph, &mut BTreeSet::new()));
            }
        }
    }
    assert!(found.is_empty(), "{} differences:\n{}", found.len(), found.join("\n"));
}
