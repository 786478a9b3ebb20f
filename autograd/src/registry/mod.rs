//! The registry: every differentiable operation once, with a generator of valid random inputs.
//!
//! Tests walk the list: gradient check in f64, agreement of fused and composed forms, of dtypes, of
//! devices, of thread counts; strided and broadcast views; sizes 0 and 1. The book's table of
//! operations comes from it as well.
//!
//! [`cases`] matches on [`Op`] without a catch-all: an operation without a generator does not
//! compile. A method of `Tensor` that no variable has must be on [`NOT_DIFFERENTIABLE`].

mod attention;
mod binary;
mod checkpoint;
mod concat;
mod cross_entropy;
mod derived;
mod dropout;
mod excluded;
mod generate;
mod glu;
mod index;
mod layer_norm;
mod matmul;
mod notes;
mod reduce;
mod rotary;
mod softmax;
mod unary;
mod view;

use gradus_tensor::{Result, RngKey, Tensor};

use crate::op::{Op, Saves};
use crate::var::Var;

pub use excluded::NOT_DIFFERENTIABLE;
use generate::Gen;
pub use notes::{Note, note};

/// A function of several variables.
pub type Function = Box<dyn Fn(&[Var]) -> Result<Var> + Send + Sync>;

/// Whether an operation's gradient can be differentiated again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecondOrder {
    /// It can, and the tests check it.
    Yes,
    /// It cannot, for this reason.
    Declared(&'static str),
}

/// An operation applied to random inputs.
pub struct Case {
    /// The operation.
    pub op: Op,
    /// Name, parameters and shapes, for messages.
    pub label: String,
    /// f64, where the operation is smooth: further from a kink than a finite difference steps.
    pub inputs: Vec<Tensor>,
    /// The operation. It takes its inputs in any float dtype.
    pub f: Function,
    /// The same composed of simpler operations, where `f` is fused.
    pub composed: Option<Function>,
    /// Whether the second derivative is to be checked.
    pub second_order: SecondOrder,
    /// Step and absolute tolerance of the gradient check, where the usual ones do not do.
    pub precision: Option<(f64, f64)>,
}

impl Case {
    fn new(
        op: Op,
        parameters: impl std::fmt::Display,
        inputs: Vec<Tensor>,
        f: impl Fn(&[Var]) -> Result<Var> + Send + Sync + 'static,
    ) -> Case {
        let shapes: Vec<String> = inputs.iter().map(|t| format!("{:?}", t.shape())).collect();
        let label = format!("{}({parameters}) of {}", op.name(), shapes.join(", "));
        let second_order = second_order(op);
        Case { op, label, inputs, f: Box::new(f), composed: None, second_order, precision: None }
    }

    fn composed(mut self, f: impl Fn(&[Var]) -> Result<Var> + Send + Sync + 'static) -> Case {
        self.composed = Some(Box::new(f));
        self
    }
}

/// Random small inputs for `op`: always with a size 0 and a size 1 where it takes them, and shapes
/// that depend on `key`.
pub fn cases(op: Op, key: RngKey) -> Vec<Case> {
    generate(op, &Gen::small(key))
}

/// As [`cases`], but in most shapes one dimension is longer: odd sizes around those in which
/// kernels work, up to several workgroups of 256.
pub fn long_cases(op: Op, key: RngKey) -> Vec<Case> {
    generate(op, &Gen::long(key))
}

/// Inputs for `op` that are large enough for its kernels to share the work between threads.
pub fn large_cases(op: Op, key: RngKey) -> Vec<Case> {
    generate(op, &Gen::large(key))
}

/// The methods of [`Var`] that are composed of other operations, as [`cases`].
pub fn derived_cases(key: RngKey) -> Vec<Case> {
    derived::cases(&Gen::small(key))
}

/// The same, as [`long_cases`].
pub fn long_derived_cases(key: RngKey) -> Vec<Case> {
    derived::cases(&Gen::long(key))
}

/// The [`cases`] of every operation and the [`derived_cases`], or of those that the environment
/// variable `GRADUS_OP` names, as in `GRADUS_OP=gelu,softsign`.
///
/// # Panics
/// If no operation has a name that `GRADUS_OP` gives.
pub fn all_cases(key: RngKey) -> Vec<Case> {
    chosen(of_every_op(cases, key).chain(derived_cases(key)).collect())
}

/// The [`long_cases`] and [`long_derived_cases`], chosen as [`all_cases`].
///
/// # Panics
/// As [`all_cases`].
pub fn all_long_cases(key: RngKey) -> Vec<Case> {
    chosen(of_every_op(long_cases, key).chain(long_derived_cases(key)).collect())
}

fn of_every_op(of: fn(Op, RngKey) -> Vec<Case>, key: RngKey) -> impl Iterator<Item = Case> {
    Op::all().into_iter().flat_map(move |op| of(op, key.place(op.name())))
}

fn chosen(cases: Vec<Case>) -> Vec<Case> {
    let Ok(names) = std::env::var("GRADUS_OP") else { return cases };
    let words = |case: &Case, name: &str| {
        case.label.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == name)
    };
    for name in names.split(',') {
        let known = cases.iter().any(|case| words(case, name));
        assert!(known, "GRADUS_OP names {name}, which is no operation; see book/src/operations.md");
    }
    cases.into_iter().filter(|case| names.split(',').any(|name| words(case, name))).collect()
}

fn generate(op: Op, g: &Gen) -> Vec<Case> {
    match op {
        Op::Unary(op) => unary::cases(op, g),
        Op::Binary(op) => binary::cases(op, g),
        // Users check their own.
        Op::Custom(_) => Vec::new(),
        Op::Alias => view::alias(g),
        Op::Cast => view::cast(g),
        Op::Reshape => view::reshape(g),
        Op::Permute => view::permute(g),
        Op::Narrow => view::narrow(g),
        Op::BroadcastTo => view::broadcast_to(g),
        Op::Where => binary::where_(g),
        Op::Sum | Op::Mean | Op::Max | Op::Min | Op::Var | Op::LogSumExp => reduce::cases(op, g),
        Op::SumTo => reduce::sum_to(g),
        Op::Matmul => matmul::matmul(g),
        Op::Linear => matmul::linear(g),
        Op::LinearGelu => matmul::linear_gelu(g),
        Op::LinearCat => matmul::linear_cat(g),
        Op::Softmax => softmax::softmax(g),
        Op::LogSoftmax => softmax::log_softmax(g),
        Op::LayerNorm => layer_norm::layer_norm(g),
        Op::RmsNorm => layer_norm::rms_norm(g),
        Op::DropoutAddLayerNorm => layer_norm::dropout_add_layer_norm(g),
        Op::DropoutAddRmsNorm => layer_norm::dropout_add_rms_norm(g),
        Op::CrossEntropy => cross_entropy::cases(g),
        Op::Dropout => dropout::cases(g),
        Op::Attention => attention::cases(g),
        Op::AttentionQkvPacked => attention::qkvpacked(g),
        Op::RotaryEmbedding => rotary::cases(g),
        Op::Glu => glu::cases(g),
        Op::IndexSelect => index::index_select(g),
        Op::IndexAdd => index::index_add(g),
        Op::Gather => index::gather(g),
        Op::ScatterAdd => index::scatter_add(g),
        Op::Embedding => index::embedding(g),
        Op::Cat => concat::cat(g),
        Op::PadZeros => concat::pad_zeros(g),
        Op::Flip => concat::flip(g),
        Op::Checkpoint => checkpoint::cases(g),
    }
}

/// Whether the gradient of `op` can be differentiated again. At present all can; an exception is
/// declared here, with its reason.
pub fn second_order(_op: Op) -> SecondOrder {
    SecondOrder::Yes
}

/// The table of operations as Markdown.
pub fn table() -> String {
    let mut table = String::from(
        "| operation | family | computes | keeps for backward | second derivative |\n\
         | --- | --- | --- | --- | --- |\n",
    );
    for op in Op::all() {
        let saves = match op.saves() {
            Saves::Nothing => "nothing",
            Saves::First => "the input",
            Saves::Inputs => "the inputs",
            Saves::Output => "the output",
            Saves::Sum => "the sum and the parameters",
        };
        let second = match second_order(op) {
            SecondOrder::Yes => "yes",
            SecondOrder::Declared(reason) => reason,
        };
        let formula = op.formula().replace('|', "\\|");
        table +=
            &format!("| `{}` | {} | {formula} | {saves} | {second} |\n", op.name(), op.family());
    }
    table
}
