//! Functions of two elements, and `where`. Gradients of broadcast operands are summed back.

use gradus_tensor::ops::binary::BinaryOp;
use gradus_tensor::{Operand, Result, Tensor};

use super::unary::kept;
use crate::op::Op;
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

macro_rules! methods {
    ($($name:ident => $op:ident;)*) => {
        impl Var {$(
            #[doc = concat!("See [`Tensor::", stringify!($name), "`](gradus_tensor::Tensor::", stringify!($name), "); broadcasts.")]
            pub fn $name(&self, other: &Var) -> Result<Var> { self.binary(BinaryOp::$op, other) }
        )*}
    };
}
methods! {
    add => Add; sub => Sub; mul => Mul; div => Div; pow => Pow; maximum => Maximum;
    minimum => Minimum;
}

impl Var {
    /// Applies `op` to two variables, broadcast to each other.
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
    pub fn where_(&self, condition: &Tensor, other: &Var) -> Result<Var> {
        let (a, b) = &wider(self, other)?;
        let y = a.tensor().where_(condition, b.tensor())?;
        let condition = condition.clone();
        Var::record(Op::Where, y, &[a, b], move |c| {
            let g = c.grad();
            let zero = Var::constant(zero_of(g)?);
            c.each(&[&|| g.where_(&condition, &zero)?.sum_to(c.input_shape(0)), &|| {
                zero.where_(&condition, g)?.sum_to(c.input_shape(1))
            }])
        })
    }
}

/// `condition` (u8) chooses: `a` where it is not 0, else `b`; all broadcast. As `torch.where`.
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

macro_rules! comparisons {
    ($($name:ident)*) => {
        /// Comparisons with a variable's value or a number: masks (u8), without a gradient.
        impl Var {$(
            #[doc = concat!("See [`Tensor::", stringify!($name), "`](gradus_tensor::Tensor::", stringify!($name), ").")]
            pub fn $name<'a>(&self, other: impl Into<Operand<'a>>) -> Result<Tensor> {
                self.tensor().$name(other)
            }
        )*}
    };
}
comparisons! { eq ne lt le gt ge }

impl<'a> From<&'a Var> for Operand<'a> {
    fn from(var: &'a Var) -> Self {
        Operand::Tensor(var.tensor())
    }
}
