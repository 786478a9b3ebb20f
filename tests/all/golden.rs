//! Reads PyTorch's values (`tests/golden/*.json`), and runs an operation by its name and parameters
//! in these files.
#![allow(dead_code)] // each test program uses a part

use gradus::autograd::{Op, Var};
use gradus::tensor::ops::attention::Attention;
use gradus::tensor::ops::cross_entropy::{CrossEntropy, Reduction};
use gradus::tensor::ops::glu::{Gate, Glu};
use gradus::tensor::ops::rotary::Rotary;
use gradus::tensor::ops::unary::UnaryOp;
use gradus::tensor::{DType, Result, Tensor};
use serde_json::Value;

/// A number; the files write numbers that JSON lacks as strings.
pub fn number(value: &Value) -> f64 {
    match value {
        Value::String(name) => name.parse().unwrap(),
        value => value.as_f64().unwrap(),
    }
}

pub fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(number).collect()
}

pub fn sizes(value: &Value) -> Vec<usize> {
    numbers(value).into_iter().map(|x| x as usize).collect()
}

pub fn tensor(values: &[f64], shape: &[usize], dtype: DType) -> Tensor {
    Tensor::from_slice(values, shape).unwrap().to_dtype(dtype).unwrap()
}

/// The parameters of an entry.
pub struct Parameters<'a>(pub &'a Value);

impl Parameters<'_> {
    pub fn number(&self, name: &str) -> f64 {
        number(self.0.get(name).unwrap_or_else(|| panic!("no number {name} in {}", self.0)))
    }

    fn number_or(&self, name: &str, default: f64) -> f64 {
        self.0.get(name).map_or(default, number)
    }

    pub fn reduction(&self) -> Reduction {
        match self.0["reduction"].as_str().unwrap() {
            "mean" => Reduction::Mean,
            "sum" => Reduction::Sum,
            _ => Reduction::None,
        }
    }

    fn size(&self, name: &str) -> usize {
        self.number(name) as usize
    }

    fn dim(&self) -> isize {
        self.number("dim") as isize
    }

    pub fn dims(&self) -> Vec<isize> {
        numbers(&self.0["dims"]).into_iter().map(|d| d as isize).collect()
    }

    fn shape(&self) -> Vec<usize> {
        sizes(&self.0["shape"])
    }

    fn mask(&self) -> Tensor {
        tensor(&numbers(&self.0["mask"]), &sizes(&self.0["mask_shape"]), DType::U8)
    }

    fn ids(&self) -> Tensor {
        let ids = numbers(&self.0["ids"]);
        let shape = self.0.get("ids_shape").map_or(vec![ids.len()], sizes);
        tensor(&ids, &shape, DType::U32)
    }
}

fn unary(op: UnaryOp, x: &Var, p: &Parameters) -> Result<Var> {
    match op {
        UnaryOp::Affine { .. } => x.affine(p.number_or("mul", 1.5), p.number_or("add", -0.5)),
        UnaryOp::Powf(_) => x.powf(p.number_or("exponent", 3.0)),
        UnaryOp::Clamp { .. } => x.clamp(p.number_or("min", -0.5), p.number_or("max", 0.75)),
        op => x.unary(op),
    }
}

fn cross_entropy(x: &Var, p: &Parameters) -> Result<Var> {
    let weight = p.0["weight"].as_array().map(|w| {
        let values: Vec<f64> = w.iter().map(|x| x.as_f64().unwrap()).collect();
        let weight = tensor(&values, &[values.len()], x.dtype());
        weight.to_device(x.device()).unwrap()
    });
    let options = CrossEntropy {
        ignore_index: Some(99),
        label_smoothing: p.number("smoothing"),
        weight,
        reduction: p.reduction(),
    };
    x.cross_entropy(&p.ids().to_device(x.device())?, &options)
}

fn attention(v: &[Var], p: &Parameters) -> Result<Var> {
    let options = Attention {
        heads: p.size("heads"),
        scale: p.number("scale"),
        causal: p.number_or("causal", 0.0) != 0.0,
        window: p.0.get("window").map(|window| number(window) as usize),
        ..Default::default()
    };
    v[0].attention(&v[1], &v[2], v.get(3), &p.ids(), &options)
}

fn glu(x: &Var, p: &Parameters) -> Result<Var> {
    let name = p.0["gate"].as_str().unwrap();
    let gate = Gate::ALL.into_iter().find(|gate| gate.unary().name() == name).unwrap();
    x.glu(Glu { gate, gate_first: p.size("gate_first") != 0 })
}

fn rotary(x: &Var, p: &Parameters) -> Result<Var> {
    let table = Tensor::rotary_table(p.size("positions"), p.size("dim"), p.number("theta"))?;
    let options = Rotary { heads: p.size("heads"), head_size: p.size("head_size"), inverse: false };
    let device = x.device();
    x.rotary_embedding(&table.to_device(device)?, &p.ids().to_device(device)?, options)
}

pub fn apply(op: Op, v: &[Var], p: &Parameters) -> Result<Var> {
    match op {
        Op::Unary(op) => unary(op, &v[0], p),
        Op::Binary(op) => v[0].binary(op, &v[1]),
        Op::Custom(name) => panic!("{name} is no operation of the engine"),
        Op::Cast => v[0].to_dtype(DType::F64)?.to_dtype(DType::F32),
        Op::Reshape => v[0].reshape(&p.shape()),
        Op::Permute => v[0].permute(&p.dims()),
        Op::Narrow => v[0].narrow(p.dim(), p.size("start"), p.size("length")),
        Op::BroadcastTo => v[0].broadcast_to(&p.shape()),
        Op::Where => v[0].where_(&p.mask().to_device(v[0].device())?, &v[1]),
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
        Op::LayerNorm => v[0].layer_norm(&v[1], v.get(2), p.number("eps")),
        Op::RmsNorm => v[0].rms_norm(&v[1], p.number("eps")),
        Op::Glu => glu(&v[0], p),
        Op::RotaryEmbedding => rotary(&v[0], p),
        Op::CrossEntropy => cross_entropy(&v[0], p),
        Op::Attention => attention(v, p),
        Op::IndexSelect => v[0].index_select(p.dim(), &p.ids()),
        Op::IndexAdd => v[0].index_add(p.dim(), &p.ids(), &v[1]),
        Op::Gather => v[0].gather(p.dim(), &p.ids()),
        Op::ScatterAdd => v[0].scatter_add(p.dim(), &p.ids(), &v[1]),
        Op::Embedding => v[0].embedding(&p.ids()),
        Op::Cat => Var::cat(&v.iter().collect::<Vec<_>>(), p.dim()),
        Op::PadZeros => v[0].pad_zeros(p.dim(), p.size("before"), p.size("after")),
        Op::Flip => v[0].flip(&p.dims()),
        // Other tests compare fused operations with their composed forms.
        Op::Alias
        | Op::Dropout
        | Op::Checkpoint
        | Op::LinearCat
        | Op::AttentionQkvPacked
        | Op::DropoutAddLayerNorm
        | Op::DropoutAddRmsNorm => {
            unreachable!("{} has no golden values", op.name())
        }
    }
}
