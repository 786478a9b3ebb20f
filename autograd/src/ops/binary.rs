//! Functions of two elements, and `where`. Gradients of broadcast operands are summed back.

use gradus_tensor::ops::binary::BinaryOp;
use gradus_tensor::{Result, Tensor};

use super::unary::mask;
use crate::op::{Op, Saves};
use crate::var::Var;

/// What each function keeps for its derivative.
pub(crate) fn saves(op: BinaryOp) -> Saves {
    match op {
        BinaryOp::Add | BinaryOp::Sub => Saves::Nothing,
        BinaryOp::Mul | BinaryOp::Div | BinaryOp::Pow | BinaryOp::Maximum | BinaryOp::Minimum => {
            Saves::Inputs
        }
    }
}

/// What each function computes.
pub(crate) fn formula(op: BinaryOp) -> &'static str {
    match op {
        BinaryOp::Add => "a + b",
        BinaryOp::Sub => "a − b",
        BinaryOp::Mul => "a·b",
        BinaryOp::Div => "a/b",
        BinaryOp::Pow => "aᵇ",
        BinaryOp::Maximum => "the larger of two; equal ones share the gradient",
        BinaryOp::Minimum => "the smaller of two; equal ones share the gradient",
    }
}

/// 1 where a wins, ½ where both are equal, 0 where b wins.
fn share(op: BinaryOp, a: &Var, b: &Var) -> Result<Var> {
    let (a, b) = (a.tensor(), b.tensor());
    let wins = if op == BinaryOp::Maximum { a.gt(b)? } else { a.lt(b)? };
    let tie = a.eq(b)?.to_dtype(a.dtype())?.mul_scalar(0.5)?;
    Ok(Var::constant(wins.to_dtype(a.dtype())?.add(&tie)?))
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
                BinaryOp::Div => c.each(&[&|| to(0, g.div(b())?), &|| {
                    to(1, g.mul(a())?.div(&b().square()?)?.neg()?)
                }]),
                BinaryOp::Pow => c.each(&[
                    // b·a^(b−1), and 0 where b is 0 (also at a = 0, where the power is infinite).
                    &|| {
                        let slope = b().mul(&a().pow(&b().add_scalar(-1.0)?)?)?;
                        let zero = mask(b(), |b| b.eq(&b.zeros_like()?))?;
                        let zero = zero.tensor().to_dtype(gradus_tensor::DType::U8)?;
                        let zeros = Var::constant(b().tensor().zeros_like()?);
                        to(0, g.mul(&zeros.where_(&zero, &slope)?)?)
                    },
                    // aᵇ·ln a, and 0 where a is 0.
                    &|| {
                        let zero = a().tensor().eq(&a().tensor().zeros_like()?)?;
                        let zeros = Var::constant(a().tensor().zeros_like()?);
                        let ones = Var::constant(a().tensor().ones_like()?);
                        let log = ones.where_(&zero, a())?.log()?;
                        let slope = a().pow(b())?.mul(&log)?;
                        to(1, g.mul(&zeros.where_(&zero, &slope)?)?)
                    },
                ]),
                BinaryOp::Maximum | BinaryOp::Minimum => c
                    .each(&[&|| to(0, g.mul(&share(op, a(), b())?)?), &|| {
                        to(1, g.mul(&share(op, a(), b())?.affine(-1.0, 1.0)?)?)
                    }]),
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
            let zero = Var::constant(g.tensor().zeros_like()?);
            c.each(&[&|| g.where_(&condition, &zero)?.sum_to(c.input_shape(0)), &|| {
                zero.where_(&condition, g)?.sum_to(c.input_shape(1))
            }])
        })
    }
}

/// `&a + &b` and so on, returning `Result<Var>`: `(&a * &b)?`.
macro_rules! operators {
    ($($trait:ident $method:ident $name:ident;)*) => {$(
        impl std::ops::$trait<&Var> for &Var {
            type Output = Result<Var>;
            fn $method(self, other: &Var) -> Result<Var> {
                Var::$name(self, other)
            }
        }
    )*};
}
operators! {
    Add add add;
    Sub sub sub;
    Mul mul mul;
    Div div div;
}
