//! Functions of one element at a time.

use crate::{Result, Tensor, bail, cpu};

/// A function applied to every element. Each has its kernel in `cpu/unary.rs`; those with a fused
/// derivative kernel say so in [`UnaryOp::has_fused_backward`].
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum UnaryOp {
    /// −x
    Neg,
    /// |x|
    Abs,
    /// −1, 0 or 1; NaN stays NaN
    Sign,
    /// eˣ
    Exp,
    /// natural logarithm
    Log,
    /// ln(1 + x), exact for small x
    Log1p,
    /// √x
    Sqrt,
    /// 1/√x
    Rsqrt,
    /// 1/x
    Reciprocal,
    /// x²
    Square,
    /// sine (radians)
    Sin,
    /// cosine (radians)
    Cos,
    /// hyperbolic tangent
    Tanh,
    /// 1/(1 + e⁻ˣ)
    Sigmoid,
    /// ln(1 + eˣ)
    Softplus,
    /// error function
    Erf,
    /// exact GELU, x·Φ(x) (Hendrycks & Gimpel, arXiv:1606.08415)
    Gelu,
    /// GELU's tanh approximation, 0.5x(1 + tanh(√(2/π)(x + 0.044715x³)))
    GeluTanh,
    /// max(x, 0)
    Relu,
    /// x·sigmoid(x) (also called swish)
    Silu,
    /// largest integer not above x
    Floor,
    /// smallest integer not below x
    Ceil,
    /// nearest integer, halves to even
    Round,
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
    /// PyTorch's name of the operation.
    pub fn name(self) -> &'static str {
        match self {
            UnaryOp::Neg => "neg",
            UnaryOp::Abs => "abs",
            UnaryOp::Sign => "sign",
            UnaryOp::Exp => "exp",
            UnaryOp::Log => "log",
            UnaryOp::Log1p => "log1p",
            UnaryOp::Sqrt => "sqrt",
            UnaryOp::Rsqrt => "rsqrt",
            UnaryOp::Reciprocal => "reciprocal",
            UnaryOp::Square => "square",
            UnaryOp::Sin => "sin",
            UnaryOp::Cos => "cos",
            UnaryOp::Tanh => "tanh",
            UnaryOp::Sigmoid => "sigmoid",
            UnaryOp::Softplus => "softplus",
            UnaryOp::Erf => "erf",
            UnaryOp::Gelu => "gelu",
            UnaryOp::GeluTanh => "gelu_tanh",
            UnaryOp::Relu => "relu",
            UnaryOp::Silu => "silu",
            UnaryOp::Floor => "floor",
            UnaryOp::Ceil => "ceil",
            UnaryOp::Round => "round",
            UnaryOp::Affine { .. } => "affine",
            UnaryOp::Powf(_) => "powf",
            UnaryOp::Clamp { .. } => "clamp",
        }
    }

    /// Whether [`Tensor::unary_backward`] computes the derivative in one pass.
    pub fn has_fused_backward(self) -> bool {
        matches!(
            self,
            UnaryOp::Gelu | UnaryOp::GeluTanh | UnaryOp::Silu | UnaryOp::Sigmoid | UnaryOp::Tanh
        )
    }
}

macro_rules! methods {
    ($($(#[$doc:meta])* $name:ident => $op:ident;)*) => {
        impl Tensor {$(
            $(#[$doc])*
            pub fn $name(&self) -> Result<Tensor> { self.unary(UnaryOp::$op) }
        )*}
    };
}
methods! {
    /// −x.
    neg => Neg;
    /// Absolute value.
    abs => Abs;
    /// −1, 0 or 1 by sign.
    sign => Sign;
    /// eˣ.
    exp => Exp;
    /// Natural logarithm (NaN below 0, −∞ at 0).
    log => Log;
    /// ln(1 + x).
    log1p => Log1p;
    /// Square root (NaN below 0).
    sqrt => Sqrt;
    /// 1/√x.
    rsqrt => Rsqrt;
    /// 1/x.
    reciprocal => Reciprocal;
    /// x².
    square => Square;
    /// Sine, x in radians.
    sin => Sin;
    /// Cosine, x in radians.
    cos => Cos;
    /// Hyperbolic tangent.
    tanh => Tanh;
    /// Logistic function 1/(1 + e⁻ˣ).
    sigmoid => Sigmoid;
    /// ln(1 + eˣ), without overflow.
    softplus => Softplus;
    /// Error function.
    erf => Erf;
    /// Exact GELU, x·Φ(x).
    gelu => Gelu;
    /// GELU by the tanh approximation.
    gelu_tanh => GeluTanh;
    /// max(x, 0).
    relu => Relu;
    /// x·sigmoid(x).
    silu => Silu;
    /// Largest integer not above x.
    floor => Floor;
    /// Smallest integer not below x.
    ceil => Ceil;
    /// Nearest integer, halves to even.
    round => Round;
}

impl Tensor {
    /// Applies `op` to every element; floats only. The result is row-major.
    pub fn unary(&self, op: UnaryOp) -> Result<Tensor> {
        cpu::unary::forward(self, op)
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
        cpu::unary::backward(self, op, grad)
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
        self.affine(value, 0.0)
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
        cpu::unary::is_not_finite(self)
    }
}
