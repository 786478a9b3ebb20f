//! Functions of one element at a time.

/// The table of functions without parameters: variant of [`UnaryOp`], name of the method
/// (PyTorch's) and meaning. Hands its rows to the macro `$to`: [`UnaryOp`] is made from them here,
/// the methods of `Tensor` in `ops/unary.rs`.
#[macro_export]
macro_rules! unary_table {
    ($to:ident) => {
        $to! {
            Neg, neg, "−x";
            Abs, abs, "|x|";
            Sign, sign, "−1, 0 or 1 by sign; NaN stays NaN";
            Exp, exp, "eˣ";
            Log, log, "natural logarithm (NaN below 0, −∞ at 0)";
            Log1p, log1p, "ln(1 + x), exact for small x";
            Sqrt, sqrt, "√x (NaN below 0)";
            Rsqrt, rsqrt, "1/√x";
            Reciprocal, reciprocal, "1/x";
            Square, square, "x²";
            Sin, sin, "sine, x in radians";
            Cos, cos, "cosine, x in radians";
            Tanh, tanh, "hyperbolic tangent";
            Sigmoid, sigmoid, "1/(1 + e⁻ˣ)";
            Softplus, softplus, "ln(1 + eˣ), without overflow";
            Erf, erf, "error function";
            Gelu, gelu, "x·Φ(x), exact GELU (Hendrycks & Gimpel, arXiv:1606.08415)";
            GeluTanh, gelu_tanh, "GELU by the approximation 0.5x(1 + tanh(√(2/π)(x + 0.044715x³)))";
            Relu, relu, "max(x, 0)";
            Silu, silu, "x·sigmoid(x), also called swish";
            Floor, floor, "largest integer not above x";
            Ceil, ceil, "smallest integer not below x";
            Round, round, "nearest integer, halves to even";
        }
    };
}
macro_rules! define {
    ($($variant:ident, $name:ident, $doc:literal;)*) => {
        /// A function applied to every element. Each has its kernel in `tensor/cpu/src/unary.rs`; those with a
        /// fused derivative kernel say so in [`UnaryOp::has_fused_backward`].
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub enum UnaryOp {
            $(#[doc = $doc] $variant,)*
            /// x·mul + add
            Affine {
                /// factor
                mul: f64,
                /// summand
                add: f64,
            },
            /// xᵉ for a constant e
            Powf(f64),
            /// x limited to [min, max]; NaN stays NaN
            Clamp {
                /// lower limit (−∞ for none)
                min: f64,
                /// upper limit (∞ for none)
                max: f64,
            },
        }

        impl UnaryOp {
            /// Every member, those with parameters once.
            pub const ALL: &[UnaryOp] = &[
                $(UnaryOp::$variant,)*
                UnaryOp::Affine { mul: 1.5, add: -0.5 },
                UnaryOp::Powf(3.0),
                UnaryOp::Clamp { min: -0.5, max: 0.75 },
            ];

            /// PyTorch's name of the operation.
            pub fn name(self) -> &'static str {
                match self {
                    $(UnaryOp::$variant => stringify!($name),)*
                    UnaryOp::Affine { .. } => "affine",
                    UnaryOp::Powf(_) => "powf",
                    UnaryOp::Clamp { .. } => "clamp",
                }
            }

            /// What it computes, for tables of operations.
            pub fn formula(self) -> &'static str {
                match self {
                    $(UnaryOp::$variant => $doc,)*
                    UnaryOp::Affine { .. } => "x·mul + add",
                    UnaryOp::Powf(_) => "xᵉ for a constant e",
                    UnaryOp::Clamp { .. } => "x limited to [min, max]",
                }
            }
        }
    };
}
unary_table!(define);

impl UnaryOp {
    /// Whether `Tensor::unary_backward` computes the derivative in one pass.
    pub fn has_fused_backward(self) -> bool {
        matches!(
            self,
            UnaryOp::Gelu | UnaryOp::GeluTanh | UnaryOp::Silu | UnaryOp::Sigmoid | UnaryOp::Tanh
        )
    }
}
