//! Functions of one element: `f` and `df` side by side.

use gradus_tensor::ops::unary::UnaryOp;
use gradus_tensor::{Result, Tensor, bail};

use crate::context::Context;
use crate::op::Op;
use crate::var::Var;

/// 2/√π, the slope of erf at 0.
const FRAC_2_SQRT_PI: f64 = std::f64::consts::FRAC_2_SQRT_PI;
/// 1/√(2π), the height of the normal density.
const FRAC_1_SQRT_TAU: f64 = 0.398_942_280_401_432_7;
/// √(2/π) and the cubic coefficient of GELU's tanh approximation.
const GELU_TANH: (f64, f64) = (0.797_884_560_802_865_4, 0.044_715);

/// What autocast computes in f32: what leaves the range of f16 soon, or loses its digits.
fn leaves_f16(op: UnaryOp) -> bool {
    use UnaryOp::*;
    matches!(op, Exp | Log | Log1p | Square | Rsqrt | Reciprocal | Softplus | Powf(_))
}

/// The gradient `g` where the mask `kept` (u8) holds, else 0. Times a mask of zeros, an infinite
/// gradient would be NaN.
pub(crate) fn kept(g: &Var, kept: &Tensor) -> Result<Var> {
    g.where_(kept, &nothing(g, &[])?)
}

/// Zeros of the gradient's dtype.
fn nothing(g: &Var, shape: &[usize]) -> Result<Var> {
    Ok(Var::constant(Tensor::zeros_on(shape, g.dtype(), g.device())?))
}

/// 1 where x lies between the limits of `clamp`, else 0. An infinite limit is none.
fn between(x: &Tensor, min: f64, max: f64) -> Result<Tensor> {
    match (min > f64::NEG_INFINITY, max < f64::INFINITY) {
        (true, true) => x.gt(min)?.mul(&x.lt(max)?),
        (true, false) => x.gt(min),
        (false, true) => x.lt(max),
        (false, false) => x.eq(x),
    }
}

/// The derivative f′ in `Var` operations, times the gradient.
fn derivative(op: UnaryOp, c: &Context) -> Result<Var> {
    use UnaryOp::*;
    let g = c.grad();
    let x = || c.input(0);
    let y = || c.output();
    match op {
        Neg => g.neg(),
        Affine { mul, .. } => g.mul_scalar(mul),
        Sign | Floor | Ceil | Round | Powf(0.0) => nothing(g, g.shape()),
        Exp => g.mul(&y()),
        Sqrt => g.div(&y().mul_scalar(2.0)?),
        Rsqrt => g.mul(&y().powf(3.0)?)?.mul_scalar(-0.5),
        Reciprocal => g.mul(&y().square()?)?.neg(),
        Abs => g.mul(&x().sign()?),
        Log => g.div(x()),
        Log1p => g.div(&x().add_scalar(1.0)?),
        Square => g.mul(x())?.mul_scalar(2.0),
        Sin => g.mul(&x().cos()?),
        Cos => g.mul(&x().sin()?.neg()?),
        Tanh => g.mul(&x().tanh()?.square()?.affine(-1.0, 1.0)?),
        Sigmoid => {
            let s = x().sigmoid()?;
            g.mul(&s)?.mul(&s.affine(-1.0, 1.0)?)
        }
        Softplus => g.mul(&x().sigmoid()?),
        Erf => g.mul(&x().square()?.neg()?.exp()?)?.mul_scalar(FRAC_2_SQRT_PI),
        Gelu => {
            let cdf = x().mul_scalar(std::f64::consts::FRAC_1_SQRT_2)?.erf()?.affine(0.5, 0.5)?;
            let pdf = x().square()?.mul_scalar(-0.5)?.exp()?.mul_scalar(FRAC_1_SQRT_TAU)?;
            g.mul(&cdf.add(&x().mul(&pdf)?)?)
        }
        GeluTanh => {
            let (a, b) = GELU_TANH;
            // Far out the slope is 0 or 1; the powers of x would be infinite there.
            let x = x().clamp(-1e3, 1e3)?;
            let square = x.square()?;
            let t = x.mul(&square.affine(b, 1.0)?)?.mul_scalar(a)?.tanh()?;
            let du = square.affine(3.0 * b, 1.0)?.mul_scalar(a)?;
            let slope = t.square()?.affine(-1.0, 1.0)?.mul(&du)?.mul(&x)?;
            g.mul(&t.add_scalar(1.0)?.add(&slope)?)?.mul_scalar(0.5)
        }
        // PyTorch's choices: no slope at 0, and that of the inside at NaN.
        Relu => {
            let off = x().le(0.0)?;
            nothing(g, &[])?.where_(&off, g)
        }
        Silu => {
            let s = x().sigmoid()?;
            let slope = x().mul(&s.affine(-1.0, 1.0)?)?.add_scalar(1.0)?;
            g.mul(&s.mul(&slope)?)
        }
        Powf(e) => g.mul(&x().powf(e - 1.0)?)?.mul_scalar(e),
        // PyTorch's choice at the limits, since 2.15: no slope.
        Clamp { min, max } => kept(g, &between(x().tensor(), min, max)?),
    }
}

macro_rules! methods {
    ($($name:ident => $op:ident;)*) => {
        impl Var {$(
            #[doc = concat!("See [`Tensor::", stringify!($name), "`](gradus_tensor::Tensor::", stringify!($name), ").")]
            pub fn $name(&self) -> Result<Var> { self.unary(UnaryOp::$op) }
        )*}
    };
}
methods! {
    neg => Neg; abs => Abs; sign => Sign; exp => Exp; log => Log; log1p => Log1p; sqrt => Sqrt;
    rsqrt => Rsqrt; reciprocal => Reciprocal; square => Square; sin => Sin; cos => Cos;
    tanh => Tanh; sigmoid => Sigmoid; softplus => Softplus; erf => Erf; gelu => Gelu;
    gelu_tanh => GeluTanh; relu => Relu; silu => Silu; floor => Floor; ceil => Ceil;
    round => Round;
}

impl Var {
    /// Applies `op` to every element.
    pub fn unary(&self, op: UnaryOp) -> Result<Var> {
        let x = &if leaves_f16(op) { self.raised()? } else { self.clone() };
        Var::record(Op::Unary(op), x.tensor().unary(op)?, &[x], move |c| {
            if op.has_fused_backward() && !c.create_graph() {
                let grad = c.input(0).tensor().unary_backward(op, c.grad().tensor())?;
                return Ok(vec![Some(Var::constant(grad))]);
            }
            c.each(&[&|| derivative(op, c)])
        })
    }

    /// x·mul + add.
    pub fn affine(&self, mul: f64, add: f64) -> Result<Var> {
        self.unary(UnaryOp::Affine { mul, add })
    }

    /// x + value.
    pub fn add_scalar(&self, value: f64) -> Result<Var> {
        self.affine(1.0, value)
    }

    /// x·value.
    pub fn mul_scalar(&self, value: f64) -> Result<Var> {
        self.affine(value, 0.0)
    }

    /// xᵉ for a constant e.
    pub fn powf(&self, e: f64) -> Result<Var> {
        self.unary(UnaryOp::Powf(e))
    }

    /// x limited to `[min, max]` (use infinities for one-sided limits). There is no slope at the
    /// limits.
    ///
    /// # Errors
    /// If the limits are no range.
    pub fn clamp(&self, min: f64, max: f64) -> Result<Var> {
        if min > max || min.is_nan() || max.is_nan() {
            bail!("clamp", "the limits {min} and {max} are no range");
        }
        self.unary(UnaryOp::Clamp { min, max })
    }
}
