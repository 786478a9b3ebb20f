//! Functions of one element at a time.

use crate::device::on_device;
use crate::{Result, Tensor, bail};

/// Defines [`UnaryOp`] and a method of [`Tensor`] for each member, from one table:
/// variant, method (PyTorch's name), meaning.
macro_rules! unary_ops {
    ($($variant:ident, $name:ident, $doc:literal;)*) => {
        /// A function applied to every element. Each has its kernel in `cpu/unary.rs`; those with a
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

        impl Tensor {$(
            #[doc = concat!("`", stringify!($name), "`: ", $doc, ".")]
            pub fn $name(&self) -> Result<Tensor> { self.unary(UnaryOp::$variant) }
        )*}
    };
}
unary_ops! {
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

impl UnaryOp {
    /// Whether [`Tensor::unary_backward`] computes the derivative in one pass.
    pub fn has_fused_backward(self) -> bool {
        matches!(
            self,
            UnaryOp::Gelu | UnaryOp::GeluTanh | UnaryOp::Silu | UnaryOp::Sigmoid | UnaryOp::Tanh
        )
    }
}

impl Tensor {
    /// Applies `op` to every element; floats only. The result is row-major.
    pub fn unary(&self, op: UnaryOp) -> Result<Tensor> {
        on_device!(op.name(), [self], unary::forward(self, op))
    }

    /// `grad · op'(x)` in one pass, for the operations with a fused derivative; `self` is x.
    pub fn unary_backward(&self, op: UnaryOp, grad: &Tensor) -> Result<Tensor> {
        if self.shape() != grad.shape() || self.dtype() != grad.dtype() {
            bail!(
                op.name(),
                "the gradient is {:?} {}, the input {:?} {}; both must match",
                grad.shape(),
                grad.dtype(),
                self.shape(),
                self.dtype()
            );
        }
        on_device!(op.name(), [self, grad], unary::backward(self, op, grad))
    }

    /// x·mul + add.
    pub fn affine(&self, mul: f64, add: f64) -> Result<Tensor> {
        self.unary(UnaryOp::Affine { mul, add })
    }

    /// x + value.
    pub fn add_scalar(&self, value: f64) -> Result<Tensor> {
        self.affine(1.0, value)
    }

    /// x·value.
    pub fn mul_scalar(&self, value: f64) -> Result<Tensor> {
        // −0 is the number that changes none: 0 would take the sign of −0.
        self.affine(value, -0.0)
    }

    /// xᵉ for a constant e.
    pub fn powf(&self, e: f64) -> Result<Tensor> {
        self.unary(UnaryOp::Powf(e))
    }

    /// x limited to `[min, max]` (use infinities for one-sided limits).
    pub fn clamp(&self, min: f64, max: f64) -> Result<Tensor> {
        if min > max || min.is_nan() || max.is_nan() {
            bail!("clamp", "the limits {min} and {max} are no range");
        }
        self.unary(UnaryOp::Clamp { min, max })
    }

    /// 1 where the element is NaN or infinite, else 0 (u8).
    pub fn is_not_finite(&self) -> Result<Tensor> {
        on_device!("is_not_finite", [self], unary::is_not_finite(self))
    }
}
