//! The list of differentiable operations.

use gradus_tensor::ops::binary::BinaryOp;
use gradus_tensor::ops::unary::UnaryOp;

/// What an operation keeps from forward for its backward rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saves {
    /// Nothing: the rule needs only the shapes.
    Nothing,
    /// The first input.
    First,
    /// All inputs.
    Inputs,
    /// The output.
    Output,
    /// The sum of the first two inputs, on which it works, and the inputs after them.
    Sum,
}

/// Defines [`Op`] from one table: variant, PyTorch's name, file of the family, what it saves, what
/// it computes.
macro_rules! operations {
    ($($variant:ident, $name:literal, $family:literal, $saves:ident, $formula:literal;)*) => {
        /// A differentiable operation. Everything that is recorded in a graph is on this list, and
        /// the tests of the registry do not compile unless each has a generator of inputs there.
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub enum Op {
            /// A function of one element.
            Unary(UnaryOp),
            /// A function of two elements.
            Binary(BinaryOp),
            /// An operation of the user's own, by name; see [`Var::custom`](crate::Var::custom).
            Custom(&'static str),
            $(#[doc = $formula] $variant,)*
        }

        impl Op {
            /// Every operation of the engine.
            ///
            /// ```
            /// # use gradus_autograd::Op;
            /// assert!(Op::all().contains(&Op::Softmax));
            /// ```
            pub fn all() -> Vec<Op> {
                let unary = UnaryOp::ALL.iter().map(|&op| Op::Unary(op));
                let binary = BinaryOp::ALL.iter().map(|&op| Op::Binary(op));
                unary.chain(binary).chain([$(Op::$variant),*]).collect()
            }

            /// PyTorch's name where PyTorch has the operation.
            pub fn name(self) -> &'static str {
                match self {
                    Op::Unary(op) => op.name(),
                    Op::Binary(op) => op.name(),
                    Op::Custom(name) => name,
                    $(Op::$variant => $name,)*
                }
            }

            /// Name of the operation's file on every floor.
            ///
            /// ```
            /// # use gradus_autograd::Op;
            /// assert_eq!(Op::LogSoftmax.family(), "softmax"); // autograd/src/ops/softmax.rs
            /// ```
            pub fn family(self) -> &'static str {
                match self {
                    Op::Unary(_) => "unary",
                    Op::Binary(_) => "binary",
                    Op::Custom(_) => "custom",
                    $(Op::$variant => $family,)*
                }
            }

            /// What it computes.
            pub fn formula(self) -> &'static str {
                match self {
                    Op::Unary(op) => op.formula(),
                    Op::Binary(op) => op.formula(),
                    Op::Custom(_) => "the user's own",
                    $(Op::$variant => $formula,)*
                }
            }

            /// Whether its rule takes an output's gradient as two to be added
            /// ([`Context::grads`](crate::context::Context::grads)), so that they need not be added
            /// before.
            pub(crate) fn adds_gradients(self) -> bool {
                matches!(
                    self,
                    Op::LayerNorm | Op::RmsNorm | Op::DropoutAddLayerNorm | Op::DropoutAddRmsNorm
                )
            }

            /// What it keeps for backward.
            ///
            /// ```
            /// # use gradus_autograd::Op;
            /// # use gradus_autograd::Saves;
            /// assert_eq!(Op::Softmax.saves(), Saves::Output);
            /// assert_eq!(Op::Sum.saves(), Saves::Nothing);
            /// ```
            pub fn saves(self) -> Saves {
                match self {
                    Op::Unary(op) => saves_of_unary(op),
                    Op::Binary(op) => saves_of_binary(op),
                    Op::Custom(_) => Saves::Inputs,
                    $(Op::$variant => Saves::$saves,)*
                }
            }
        }
    };
}

operations! {
    Alias, "alias", "view", Nothing, "the same value at another place in the graph";
    Cast, "to_dtype", "view", Nothing, "the same value in another float dtype";
    Reshape, "reshape", "view", Nothing, "the same elements under another shape";
    Permute, "permute", "view", Nothing, "dimensions in another order";
    Narrow, "narrow", "view", Nothing, "a range of entries along one dimension";
    BroadcastTo, "broadcast_to", "view", Nothing, "repeated to a larger shape";
    Where, "where", "binary", Nothing, "a where the condition holds, else b";
    Sum, "sum", "reduce", Nothing, "Σx over dimensions";
    Mean, "mean", "reduce", Nothing, "Σx/n over dimensions";
    Max, "max", "reduce", Inputs, "largest over dimensions; equal ones share the gradient";
    Min, "min", "reduce", Inputs, "smallest over dimensions; equal ones share the gradient";
    Var, "var", "reduce", Inputs, "Σ(x − mean)²/(n − correction) over dimensions";
    LogSumExp, "logsumexp", "reduce", Inputs, "ln Σeˣ over dimensions";
    SumTo, "sum_to", "reduce", Nothing, "summed to a smaller shape: the transpose of broadcasting";
    Matmul, "matmul", "matmul", Inputs, "A·B over the last two dimensions";
    Linear, "linear", "matmul", Inputs, "x·Wᵀ + b";
    LinearGelu, "linear_gelu", "matmul", Inputs, "GELU(x·Wᵀ + b)";
    LinearCat, "linear_cat", "matmul", Inputs, "x·W₁ᵀ + b₁, x·W₂ᵀ + b₂, … side by side";
    Softmax, "softmax", "softmax", Output, "eˣ/Σeˣ along one dimension";
    LogSoftmax, "log_softmax", "softmax", Output, "x − ln Σeˣ along one dimension";
    LayerNorm, "layer_norm", "layer_norm", Inputs, "(x − mean)/√(var + ε)·w + b over the last dimension; b optional";
    RmsNorm, "rms_norm", "layer_norm", Inputs, "x/√(mean(x²) + ε)·w over the last dimension";
    DropoutAddLayerNorm, "dropout_add_layer_norm", "layer_norm", Sum, "layer norm of dropout(x) + r over the last dimension";
    DropoutAddRmsNorm, "dropout_add_rms_norm", "layer_norm", Sum, "RMS norm of dropout(x) + r over the last dimension";
    CrossEntropy, "cross_entropy", "cross_entropy", Inputs, "−ln of the softmax of the target class, averaged";
    Dropout, "dropout", "dropout", Nothing, "elements zeroed with probability p, the others scaled by 1/(1 − p)";
    Attention, "attention", "attention", Inputs, "softmax(Q·Kᵀ·scale + B)·V within each packed sequence and head; B by distance, optional";
    AttentionQkvPacked, "attention_qkvpacked", "attention", Inputs, "attention of Q, K and V side by side in one tensor";
    RotaryEmbedding, "rotary_embedding", "rotary", Nothing, "pairs of elements of heads, rotated by angles that grow with the position";
    Glu, "glu", "glu", First, "f(a)·b or a·f(b) of the halves a, b of the last dimension";
    IndexSelect, "index_select", "index", Nothing, "entries along one dimension, by index";
    IndexAdd, "index_add", "index", Nothing, "entries added at indices along one dimension";
    Gather, "gather", "index", Nothing, "one element each, by index along one dimension";
    ScatterAdd, "scatter_add", "index", Nothing, "elements added at indices along one dimension";
    Embedding, "embedding", "index", Nothing, "rows of a table, by id";
    Cat, "cat", "concat", Nothing, "tensors joined along one dimension";
    PadZeros, "pad_zeros", "concat", Nothing, "zeros before and after along one dimension";
    Flip, "flip", "concat", Nothing, "the order reversed along dimensions";
    Checkpoint, "checkpoint", "checkpoint", Nothing, "runs a function again in backward instead of keeping what it saves";
}

/// What each function of one element keeps for its derivative.
fn saves_of_unary(op: UnaryOp) -> Saves {
    use UnaryOp::*;
    match op {
        Neg | Affine { .. } | Sign | Floor | Ceil | Round => Saves::Nothing,
        Exp | Sqrt | Rsqrt | Reciprocal => Saves::Output,
        Abs
        | Log
        | Log1p
        | Square
        | Sin
        | Cos
        | Tanh
        | Sigmoid
        | Softplus
        | Erf
        | Gelu
        | GeluTanh
        | Relu
        | Silu
        | Powf(_)
        | Clamp { .. } => Saves::First,
    }
}

/// What each function of two elements keeps for its derivative.
fn saves_of_binary(op: BinaryOp) -> Saves {
    match op {
        BinaryOp::Add | BinaryOp::Sub => Saves::Nothing,
        BinaryOp::Mul | BinaryOp::Div | BinaryOp::Pow | BinaryOp::Maximum | BinaryOp::Minimum => {
            Saves::Inputs
        }
    }
}
