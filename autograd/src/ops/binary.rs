//! Functions of two elements, and `where`. Gradients of broadcast operands are summed back.

use gradus_tensor::ops::binary::BinaryOp;
use gradus_tensor::{Operand, Result, Tensor};

use super::unary::kept;
use crate::op::Op;
use crate::trace::{Told, numbers};
use crate::var::Var;

/// The gradient of one operand of a maximum or a minimum: nothing where it `loses` (u8), half where
/// both are equal. A NaN neither loses nor is equal.
fn won(g: &Var, loses: &Tensor, a: &Var, b: &Var) -> Result<Var> {
    let g = g.mul_scalar(0.5)?.where_(&a.tensor().eq(b.tensor())?, g)?;
    Var::constant(zero_of(&g)?).where_(loses, &g)
}

/// The gradient of the base of aᵇ: g·b·a^(b−1), and 0 where b is 0, for every a and g.
fn base_gradient(g: &Var, a: &Var, b: &Var) -> Result<Var> {
    let grad = g.mul(&b.mul(&a.pow(&b.add_scalar(-1.0)?)?)?)?;
    kept(&grad, &b.ne(0.0)?)
}

/// The slope of aᵇ in the exponent: aᵇ·ln a, and 0 where a is 0 and b is not negative.
fn exponent_slope(a: &Var, b: &Var) -> Result<Var> {
    let flat = a.eq(0.0)?.mul(&b.ge(0.0)?)?;
    let nothing = Var::constant(zero_of(a)?);
    let one = Var::constant(a.tensor().scalar_like(1.0)?);
    let slope = a.pow(b)?.mul(&one.where_(&flat, a)?.log()?)?;
    nothing.where_(&flat, &slope)
}

/// 0, in the dtype and on the device of `x`.
fn zero_of(x: &Var) -> Result<Tensor> {
    x.tensor().scalar_like(0.0)
}

/// Both operands; under autocast, in f32 where they differ.
pub(super) fn wider(a: &Var, b: &Var) -> Result<(Var, Var)> {
    if a.dtype() == b.dtype() { Ok((a.clone(), b.clone())) } else { Ok((a.raised()?, b.raised()?)) }
}

/// A method for each row of a table: name, variant of [`BinaryOp`], and for the example in its docs
/// the value at a = [1, 4], b = 2 and the gradients of a and b, as they are printed.
macro_rules! methods {
    ($($name:ident => $op:ident, $value:literal, $grad_a:literal, $grad_b:literal;)*) => {
        impl Var {$(
            #[doc = concat!("See [`Tensor::", stringify!($name), "`](gradus_tensor::Tensor::", stringify!($name), "); broadcasts.")]
            ///
            /// ```
            /// # use gradus_autograd::Var;
            /// # use gradus_tensor::Tensor;
            /// let a = Var::leaf(Tensor::from_slice(&[1f32, 4.0], &[2])?);
            /// let b = Var::leaf(Tensor::from_slice(&[2f32], &[1])?);
            #[doc = concat!("let y = a.", stringify!($name), "(&b)?;")]
            #[doc = concat!("assert_eq!(y.to_string(), \"", $value, "\");")]
            /// let grads = y.sum_all()?.backward()?;
            #[doc = concat!("assert_eq!(grads.get(&a).unwrap().to_string(), \"", $grad_a, "\");")]
            #[doc = concat!("assert_eq!(grads.get(&b).unwrap().to_string(), \"", $grad_b, "\");")]
            /// # Ok::<(), gradus_tensor::Error>(())
            /// ```
            pub fn $name(&self, other: &Var) -> Result<Var> { self.binary(BinaryOp::$op, other) }
        )*}
    };
}
methods! {
    add => Add, "[3. 6.]", "[1. 1.]", "[2.]";
    sub => Sub, "[-1.  2.]", "[1. 1.]", "[-2.]";
    mul => Mul, "[2. 8.]", "[2. 2.]", "[5.]";
    div => Div, "[0.5 2. ]", "[0.5 0.5]", "[-1.25]";
    pow => Pow, "[ 1. 16.]", "[2. 8.]", "[22.1807]";
    maximum => Maximum, "[2. 4.]", "[0. 1.]", "[1.]";
    minimum => Minimum, "[1. 2.]", "[1. 0.]", "[1.]";
}

impl Var {
    /// Applies `op` to two variables, broadcast to each other.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::ops::binary::BinaryOp;
    /// # use gradus_tensor::Tensor;
    /// let a = Var::constant(Tensor::from_slice(&[1f32, 4.0], &[2])?);
    /// let b = Var::constant(Tensor::scalar(2f32));
    /// assert_eq!(a.binary(BinaryOp::Sub, &b)?.tensor().to_vec::<f32>()?, [-1.0, 2.0]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn binary(&self, op: BinaryOp, other: &Var) -> Result<Var> {
        let (a, b) = &wider(self, other)?;
        let y = a.tensor().binary(op, b.tensor())?;
        Var::record(Op::Binary(op), y, &[a, b], move |c| {
            let g = c.grad();
            let to = |i: usize, grad: Var| grad.sum_to(c.input_shape(i));
            let (a, b) = (|| c.input(0), || c.input(1));
            match op {
                BinaryOp::Add => c.each(&[&|| to(0, g.clone()), &|| to(1, g.clone())]),
                BinaryOp::Sub => c.each(&[&|| to(0, g.clone()), &|| to(1, g.neg()?)]),
                BinaryOp::Mul => c.each(&[&|| to(0, g.mul(b())?), &|| to(1, g.mul(a())?)]),
                // a/b/b, for b² may be out of range.
                BinaryOp::Div => c.each(&[&|| to(0, g.div(b())?), &|| {
                    to(1, g.mul(&a().div(b())?.div(b())?)?.neg()?)
                }]),
                BinaryOp::Pow => c.each(&[&|| to(0, base_gradient(g, a(), b())?), &|| {
                    to(1, g.mul(&exponent_slope(a(), b())?)?)
                }]),
                BinaryOp::Maximum | BinaryOp::Minimum => {
                    let loses = |x: &Var, other: &Var| match op {
                        BinaryOp::Maximum => x.tensor().lt(other.tensor()),
                        _ => x.tensor().gt(other.tensor()),
                    };
                    c.each(&[&|| to(0, won(g, &loses(a(), b())?, a(), b())?), &|| {
                        to(1, won(g, &loses(b(), a())?, a(), b())?)
                    }])
                }
            }
        })
    }

    /// `self[i]` where `condition[i]` (u8) is not 0, else `other[i]`; all broadcast.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let a = Var::leaf(Tensor::from_slice(&[1f32, 2.0], &[2])?);
    /// let b = Var::leaf(Tensor::scalar(9f32));
    /// let y = a.where_(&a.gt(1.5)?, &b)?; // a where it is above 1.5, else b
    /// assert_eq!(y.tensor().to_vec::<f32>()?, [9.0, 2.0]);
    /// let grads = y.sum_all()?.backward()?;
    /// assert_eq!(grads.get(&a).unwrap().to_vec::<f32>()?, [0.0, 1.0]);
    /// assert_eq!(grads.get(&b).unwrap().item()?, 1.0);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn where_(&self, condition: &Tensor, other: &Var) -> Result<Var> {
        let (a, b) = &wider(self, other)?;
        let y = a.tensor().where_(condition, b.tensor())?;
        let condition = condition.clone();
        let told = Told::new().set("condition", || numbers(&condition));
        Var::record_told(Op::Where, y, &[a, b], told, move |c| {
            let g = c.grad();
            let zero = Var::constant(zero_of(g)?);
            c.each(&[&|| g.where_(&condition, &zero)?.sum_to(c.input_shape(0)), &|| {
                zero.where_(&condition, g)?.sum_to(c.input_shape(1))
            }])
        })
    }
}

/// `a` where `condition` (u8) is not 0, else `b`; all broadcast. As `torch.where`.
///
/// ```
/// # use gradus_autograd::Var;
/// # use gradus_tensor::Tensor;
/// # use gradus_autograd::where_;
/// let x = Var::constant(Tensor::from_slice(&[-1f32, 4.0], &[2])?);
/// let y = where_(&x.lt(0.0)?, &x.neg()?, &x)?; // |x|
/// assert_eq!(y.tensor().to_vec::<f32>()?, [1.0, 4.0]);
/// # Ok::<(), gradus_tensor::Error>(())
/// ```
pub fn where_(condition: &Tensor, a: &Var, b: &Var) -> Result<Var> {
    a.where_(condition, b)
}

gradus_tensor::impl_operators!(Var);

impl Var {
    /// `self op number`.
    fn with_number(&self, op: BinaryOp, number: f64) -> Result<Var> {
        match op {
            BinaryOp::Add => self.add_scalar(number),
            BinaryOp::Sub => self.add_scalar(-number),
            BinaryOp::Mul => self.mul_scalar(number),
            _ => self.binary(op, &Var::constant(self.tensor().scalar_like(number)?)),
        }
    }

    /// `number op self`.
    fn number_with(&self, number: f64, op: BinaryOp) -> Result<Var> {
        Var::constant(self.tensor().scalar_like(number)?).binary(op, self)
    }
}

/// A method for each row of a table: name, and for the example in its docs what 1, 2 and 3 give
/// against 2.
macro_rules! comparisons {
    ($($name:ident, $mask:literal;)*) => {
        /// Comparisons with a variable's value or a number: masks (u8), without a gradient.
        impl Var {$(
            #[doc = concat!("See [`Tensor::", stringify!($name), "`](gradus_tensor::Tensor::", stringify!($name), ").")]
            ///
            /// ```
            /// # use gradus_autograd::Var;
            /// # use gradus_tensor::Tensor;
            /// let x = Var::leaf(Tensor::from_slice(&[1f32, 2.0, 3.0], &[3])?);
            #[doc = concat!("assert_eq!(x.", stringify!($name), "(2.0)?.to_string(), \"", $mask, "\");")]
            /// # Ok::<(), gradus_tensor::Error>(())
            /// ```
            pub fn $name<'a>(&self, other: impl Into<Operand<'a>>) -> Result<Tensor> {
                self.tensor().$name(other)
            }
        )*}
    };
}
comparisons! {
    eq, "[0 1 0]";
    ne, "[1 0 1]";
    lt, "[1 0 0]";
    le, "[1 1 0]";
    gt, "[0 0 1]";
    ge, "[0 1 1]";
}

impl<'a> From<&'a Var> for Operand<'a> {
    fn from(var: &'a Var) -> Self {
        Operand::Tensor(var.tensor())
    }
}
