//! Functions of one element at a time.

/// The table of functions without parameters: variant of [`UnaryOp`], name of the method
/// (PyTorch's), meaning, and for the example in the method's docs two numbers and the function's
/// values there, as they are printed. Hands its rows to the macro `$to`, which makes [`UnaryOp`]
/// here and the methods of `Tensor` in `ops/unary.rs`.
#[macro_export]
macro_rules! unary_table {
    ($to:ident) => {
        $to! {
            Neg, neg, "−x", [1.0, -2.5], "[-1.   2.5]";
            Abs, abs, "|x|", [-2.0, 0.5], "[2.  0.5]";
            Sign, sign, "−1, 0 or 1 by sign; NaN stays NaN", [-2.0, 0.5], "[-1.  1.]";
            Exp, exp, "eˣ", [0.0, 1.0], "[1.     2.7183]";
            Log, log, "natural logarithm (NaN below 0, −∞ at 0)", [1.0, 10.0], "[0.     2.3026]";
            Log1p, log1p, "ln(1 + x), exact for small x", [0.0, 1.0], "[0.     0.6931]";
            Sqrt, sqrt, "√x (NaN below 0)", [4.0, 2.0], "[2.     1.4142]";
            Rsqrt, rsqrt, "1/√x", [4.0, 0.25], "[0.5 2. ]";
            Reciprocal, reciprocal, "1/x", [4.0, -0.5], "[ 0.25 -2.  ]";
            Square, square, "x²", [3.0, -0.5], "[9.   0.25]";
            Sin, sin, "sine, x in radians", [0.0, 1.0], "[0.     0.8415]";
            Cos, cos, "cosine, x in radians", [0.0, 1.0], "[1.     0.5403]";
            Tanh, tanh, "hyperbolic tangent", [0.0, 1.0], "[0.     0.7616]";
            Sigmoid, sigmoid, "1/(1 + e⁻ˣ)", [0.0, 1.0], "[0.5    0.7311]";
            Softplus, softplus, "ln(1 + eˣ), without overflow", [0.0, 1.0], "[0.6931 1.3133]";
            Erf, erf, "error function", [0.0, 1.0], "[0.     0.8427]";
            Gelu, gelu, "x·Φ(x), exact GELU (Hendrycks & Gimpel, arXiv:1606.08415)", [-1.0, 1.0], "[-0.1587  0.8413]";
            GeluTanh, gelu_tanh, "GELU by the approximation 0.5x(1 + tanh(√(2/π)(x + 0.044715x³)))", [-1.0, 1.0], "[-0.1588  0.8412]";
            Relu, relu, "max(x, 0)", [-2.0, 0.5], "[0.  0.5]";
            Silu, silu, "x·sigmoid(x), also called swish", [-1.0, 1.0], "[-0.2689  0.7311]";
            Floor, floor, "largest integer not above x", [-1.5, 1.5], "[-2.  1.]";
            Ceil, ceil, "smallest integer not below x", [-1.5, 1.5], "[-1.  2.]";
            Round, round, "nearest integer, halves to even", [0.5, 1.5], "[0. 2.]";
        }
    };
}
macro_rules! define {
    ($($variant:ident, $name:ident, $doc:literal, $x:expr, $y:literal;)*) => {
        /// A function applied to every element. Each has its kernel in `tensor/cpu/src/unary.rs`;
        /// [`UnaryOp::has_fused_backward`] names those with a fused derivative kernel.
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
    ///
    /// ```
    /// # use gradus_base::op::unary::UnaryOp;
    /// assert!(UnaryOp::Gelu.has_fused_backward());
    /// assert!(!UnaryOp::Exp.has_fused_backward()); // its derivative is its output
    /// ```
    pub fn has_fused_backward(self) -> bool {
        matches!(
            self,
            UnaryOp::Gelu | UnaryOp::GeluTanh | UnaryOp::Silu | UnaryOp::Sigmoid | UnaryOp::Tanh
        )
    }
}
