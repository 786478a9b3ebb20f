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

/// Whether autocast computes `op` in f32: its result leaves the range of f16 soon, or loses digits.
fn leaves_f16(op: UnaryOp) -> bool {
    use UnaryOp::*;
    matches!(op, Exp | Log | Log1p | Square | Rsqrt | Reciprocal | Softplus | Powf(_))
}

/// The gradient `g` where the mask `kept` (u8) holds, else 0. A product with a mask of zeros would
/// make NaN of an infinite gradient.
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

/// A method for each row of a table: name, variant of [`UnaryOp`], and for the example in its docs
/// a number x with the value f(x) and the slope f′(x), to four decimals.
macro_rules! methods {
    ($($name:ident => $op:ident, $x:literal, $value:literal, $slope:literal;)*) => {
        impl Var {$(
            #[doc = concat!("See [`Tensor::", stringify!($name), "`](gradus_tensor::Tensor::", stringify!($name), ").")]
            ///
            /// ```
            /// # use gradus_autograd::Var;
            /// # use gradus_tensor::Tensor;
            #[doc = concat!("let x = Var::leaf(Tensor::scalar(", stringify!($x), "));")]
            #[doc = concat!("let y = x.", stringify!($name), "()?;")]
            #[doc = concat!("assert_eq!(format!(\"{:.4}\", y.item()?), \"", $value, "\");")]
            /// let slope = y.backward()?.get(&x).unwrap().item()?;
            #[doc = concat!("assert_eq!(format!(\"{slope:.4}\"), \"", $slope, "\");")]
            /// # Ok::<(), gradus_tensor::Error>(())
            /// ```
            pub fn $name(&self) -> Result<Var> { self.unary(UnaryOp::$op) }
        )*}
    };
}
methods! {
    neg => Neg, 2.0, "-2.0000", "-1.0000";
    abs => Abs, -3.0, "3.0000", "-1.0000";
    sign => Sign, -3.0, "-1.0000", "0.0000";
    exp => Exp, 1.0, "2.7183", "2.7183";
    log => Log, 2.0, "0.6931", "0.5000";
    log1p => Log1p, 1.0, "0.6931", "0.5000";
    sqrt => Sqrt, 4.0, "2.0000", "0.2500";
    rsqrt => Rsqrt, 4.0, "0.5000", "-0.0625";
    reciprocal => Reciprocal, 2.0, "0.5000", "-0.2500";
    square => Square, 3.0, "9.0000", "6.0000";
    sin => Sin, 1.0, "0.8415", "0.5403";
    cos => Cos, 1.0, "0.5403", "-0.8415";
    tanh => Tanh, 1.0, "0.7616", "0.4200";
    sigmoid => Sigmoid, 1.0, "0.7311", "0.1966";
    softplus => Softplus, 1.0, "1.3133", "0.7311";
    erf => Erf, 0.5, "0.5205", "0.8788";
    gelu => Gelu, 1.0, "0.8413", "1.0833";
    gelu_tanh => GeluTanh, 1.0, "0.8412", "1.0830";
    relu => Relu, -2.0, "0.0000", "0.0000";
    silu => Silu, 1.0, "0.7311", "0.9277";
    floor => Floor, -1.5, "-2.0000", "0.0000";
    ceil => Ceil, -1.5, "-1.0000", "0.0000";
    round => Round, 2.5, "2.0000", "0.0000";
}

impl Var {
    /// Applies `op` to every element.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::ops::unary::UnaryOp;
    /// # use gradus_tensor::Tensor;
    /// let x = Var::constant(Tensor::from_slice(&[1f32, -2.0], &[2])?);
    /// assert_eq!(x.unary(UnaryOp::Abs)?.tensor().to_vec::<f32>()?, [1.0, 2.0]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
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
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let x = Var::leaf(Tensor::scalar(3f32));
    /// let y = x.affine(2.0, 1.0)?;
    /// assert_eq!(y.item()?, 7.0);
    /// assert_eq!(y.backward()?.get(&x).unwrap().item()?, 2.0);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn affine(&self, mul: f64, add: f64) -> Result<Var> {
        self.unary(UnaryOp::Affine { mul, add })
    }

    /// x + value.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let x = Var::constant(Tensor::from_slice(&[1f32, 2.0], &[2])?);
    /// assert_eq!(x.add_scalar(0.5)?.tensor().to_vec::<f32>()?, [1.5, 2.5]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn add_scalar(&self, value: f64) -> Result<Var> {
        self.affine(1.0, value)
    }

    /// x·value.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let x = Var::leaf(Tensor::scalar(2f32));
    /// let y = x.mul_scalar(3.0)?;
    /// assert_eq!(y.item()?, 6.0);
    /// assert_eq!(y.backward()?.get(&x).unwrap().item()?, 3.0);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn mul_scalar(&self, value: f64) -> Result<Var> {
        self.affine(value, 0.0)
    }

    /// xᵉ for a constant e.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let x = Var::leaf(Tensor::scalar(2f64));
    /// let y = x.powf(3.0)?;
    /// assert_eq!(y.item()?, 8.0);
    /// assert_eq!(y.backward()?.get(&x).unwrap().item()?, 12.0); // 3x²
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn powf(&self, e: f64) -> Result<Var> {
        self.unary(UnaryOp::Powf(e))
    }

    /// x limited to `[min, max]`; an infinite limit is none. At the limits the slope is 0.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let x = Var::leaf(Tensor::from_slice(&[-2f32, 0.5, 2.0], &[3])?);
    /// let y = x.clamp(-1.0, 1.0)?;
    /// assert_eq!(y.tensor().to_vec::<f32>()?, [-1.0, 0.5, 1.0]);
    /// let grads = y.sum_all()?.backward()?;
    /// assert_eq!(grads.get(&x).unwrap().to_vec::<f32>()?, [0.0, 1.0, 0.0]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// If `min` is above `max`, or one of them is NaN.
    pub fn clamp(&self, min: f64, max: f64) -> Result<Var> {
        if min > max || min.is_nan() || max.is_nan() {
            bail!("clamp", "the limits {min} and {max} are no range");
        }
        self.unary(UnaryOp::Clamp { min, max })
    }
}
