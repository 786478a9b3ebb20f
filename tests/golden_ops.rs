//! PyTorch's values and gradients of every operation (`tests/golden/ops.py` wrote them), in f32
//! within 1e-6 of the largest value.

use std::collections::BTreeSet;

use gradus::autograd::{BackwardOptions, Op, Var, grad};
use gradus::tensor::ops::attention::Attention;
use gradus::tensor::ops::binary::BinaryOp;
use gradus::tensor::ops::cross_entropy::{CrossEntropy, Reduction};
use gradus::tensor::ops::unary::UnaryOp;
use gradus::tensor::{DType, Result, Tensor};
use serde_json::Value;

/// Operations that PyTorch has not, or not as one function of its inputs and numbers alone.
const WITHOUT: &[&str] = &[
    "alias",
    "dropout",
    "checkpoint",
    "linear_cat",
    "attention_qkvpacked",
    "dropout_add_layer_norm",
];

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

fn sizes(value: &Value) -> Vec<usize> {
    numbers(value).into_iter().map(|x| x as usize).collect()
}

fn tensor(values: &[f64], shape: &[usize], dtype: DType) -> Tensor {
    Tensor::from_slice(values, shape).unwrap().to_dtype(dtype).unwrap()
}

/// Parameters of an entry.
struct Parameters<'a>(&'a Value);

impl Parameters<'_> {
    fn number(&self, name: &str) -> f64 {
        self.0[name].as_f64().unwrap_or_else(|| panic!("no number {name} in {}", self.0))
    }

    fn size(&self, name: &str) -> usize {
        self.number(name) as usize
    }

    fn dim(&self) -> isize {
        self.number("dim") as isize
    }

    fn dims(&self) -> Vec<isize> {
        numbers(&self.0["dims"]).into_iter().map(|d| d as isize).collect()
    }

    fn shape(&self) -> Vec<usize> {
        sizes(&self.0["shape"])
    }

    fn ids(&self) -> Tensor {
        let ids = numbers(&self.0["ids"]);
        let shape = self.0.get("ids_shape").map_or(vec![ids.len()], sizes);
        tensor(&ids, &shape, DType::U32)
    }
}

fn apply(op: Op, v: &[Var], p: &Parameters) -> Result<Var> {
    match op {
        Op::Unary(UnaryOp::Affine { .. }) => v[0].affine(1.5, -0.5),
        Op::Unary(UnaryOp::Powf(_)) => v[0].powf(3.0),
        Op::Unary(UnaryOp::Clamp { .. }) => v[0].clamp(-0.5, 0.75),
        Op::Unary(op) => v[0].unary(op),
        Op::Binary(op) => v[0].binary(op, &v[1]),
        Op::Custom(name) => panic!("{name} is no operation of the engine"),
        Op::Cast => v[0].to_dtype(DType::F64)?.to_dtype(DType::F32),
        Op::Reshape => v[0].reshape(&p.shape()),
        Op::Permute => v[0].permute(&p.dims()),
        Op::Narrow => v[0].narrow(p.dim(), p.size("start"), p.size("length")),
        Op::BroadcastTo => v[0].broadcast_to(&p.shape()),
        Op::Where => {
            let mask = tensor(&numbers(&p.0["mask"]), &sizes(&p.0["mask_shape"]), DType::U8);
            v[0].where_(&mask, &v[1])
        }
        Op::Sum => v[0].sum(&p.dims(), false),
        Op::Mean => v[0].mean(&p.dims(), false),
        Op::Max => v[0].max(&p.dims(), false),
        Op::Min => v[0].min(&p.dims(), false),
        Op::Var => v[0].var(&p.dims(), false, p.size("correction")),
        Op::LogSumExp => v[0].logsumexp(&p.dims(), false),
        Op::SumTo => v[0].sum_to(&p.shape()),
        Op::Matmul => v[0].matmul(&v[1]),
        Op::Linear => v[0].linear(&v[1], v.get(2)),
        Op::LinearGelu => v[0].linear_gelu(&v[1], v.get(2)),
        Op::Softmax => v[0].softmax(p.dim()),
        Op::LogSoftmax => v[0].log_softmax(p.dim()),
        Op::LayerNorm => v[0].layer_norm(&v[1], &v[2], p.number("eps")),
        Op::CrossEntropy => {
            let weight = p.0["weight"].as_array().map(|w| {
                let values: Vec<f64> = w.iter().map(|x| x.as_f64().unwrap()).collect();
                tensor(&values, &[values.len()], DType::F32)
            });
            let options = CrossEntropy {
                ignore_index: Some(99),
                label_smoothing: p.number("smoothing"),
                weight,
                reduction: match p.0["reduction"].as_str().unwrap() {
                    "mean" => Reduction::Mean,
                    "sum" => Reduction::Sum,
                    _ => Reduction::None,
                },
            };
            v[0].cross_entropy(&p.ids(), &options)
        }
        Op::Attention => {
            let options =
                Attention { heads: p.size("heads"), scale: p.number("scale"), dropout: None };
            v[0].attention(&v[1], &v[2], &p.ids(), &options)
        }
        Op::IndexSelect => v[0].index_select(p.dim(), &p.ids()),
        Op::IndexAdd => v[0].index_add(p.dim(), &p.ids(), &v[1]),
        Op::Gather => v[0].gather(p.dim(), &p.ids()),
        Op::ScatterAdd => v[0].scatter_add(p.dim(), &p.ids(), &v[1]),
        Op::Embedding => v[0].embedding(&p.ids()),
        Op::Cat => Var::cat(&v.iter().collect::<Vec<_>>(), p.dim()),
        Op::PadZeros => v[0].pad_zeros(p.dim(), p.size("before"), p.size("after")),
        Op::Flip => v[0].flip(&p.dims()),
        // The fused ones are compared with what they are composed of.
        Op::Alias
        | Op::Dropout
        | Op::Checkpoint
        | Op::LinearCat
        | Op::AttentionQkvPacked
        | Op::DropoutAddLayerNorm => {
            unreachable!("{} has no golden values", op.name())
        }
    }
}

fn assert_close(ours: &Tensor, theirs: &[f64], what: &str) {
    let ours = ours.to_f64_vec();
    assert_eq!(ours.len(), theirs.len(), "{what}");
    let largest = theirs.iter().fold(1e-3, |m: f64, x| m.max(x.abs()));
    for (at, (a, b)) in ours.iter().zip(theirs).enumerate() {
        let error = (a - b).abs();
        assert!(error <= 1e-6 * largest, "{what} at flat index {at}: {a}, PyTorch {b}");
    }
}

#[test]
fn values_and_gradients_are_pytorchs() {
    let text = include_str!("golden/ops.json");
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
        assert_ne!(seen.contains(name), WITHOUT.contains(&name), "{name}");
    }
    assert!(seen.contains(Op::Binary(BinaryOp::Pow).name()));
}
