//! Inputs for the functions of one element.

use gradus_tensor::ops::unary::UnaryOp;
use gradus_tensor::{Result, Tensor};

use super::{Case, Gen};
use crate::op::Op;
use crate::var::Var;

/// Values where `op` is defined and smooth.
fn domain(op: UnaryOp, g: &Gen, shape: &[usize]) -> Tensor {
    use UnaryOp::*;
    match op {
        Neg
        | Affine { .. }
        | Exp
        | Square
        | Sin
        | Cos
        | Tanh
        | Sigmoid
        | Softplus
        | Erf
        | Gelu
        | GeluTanh
        | Silu => g.any(shape),
        Abs | Sign | Relu => g.away_from(shape, &[0.0]),
        // Between the integers, and between the halves.
        Floor | Ceil | Round => g.map(shape, |u| {
            let x = 8.0 * u - 4.0;
            x.floor() + 0.1 + 0.3 * x.fract().abs() + if x.fract() > 0.5 { 0.5 } else { 0.0 }
        }),
        Log | Sqrt | Rsqrt => g.uniform(shape, 0.2, 3.0),
        Log1p => g.uniform(shape, -0.6, 2.0),
        Reciprocal => g.map(shape, |u| if u < 0.5 { u - 1.0 } else { u + 0.2 }),
        Powf(e) if e.fract() == 0.0 && e >= 0.0 => g.any(shape),
        Powf(_) => g.uniform(shape, 0.3, 2.0),
        Clamp { min, max } => g.away_from(shape, &[min, max]),
    }
}

/// The same function of others, where the kernel computes the derivative in one pass.
fn composed(op: UnaryOp, x: &Var) -> Option<Result<Var>> {
    use UnaryOp::*;
    let logistic = |x: &Var| x.neg()?.exp()?.add_scalar(1.0)?.reciprocal();
    match op {
        Gelu => Some((|| {
            x.mul(&x.mul_scalar(std::f64::consts::FRAC_1_SQRT_2)?.erf()?.affine(0.5, 0.5)?)
        })()),
        GeluTanh => Some((|| {
            let u = x.add(&x.powf(3.0)?.mul_scalar(0.044715)?)?;
            let t = u.mul_scalar((2.0 / std::f64::consts::PI).sqrt())?.tanh()?;
            x.mul(&t.affine(0.5, 0.5)?)
        })()),
        Silu => Some((|| x.mul(&logistic(x)?))()),
        Sigmoid => Some(logistic(x)),
        Tanh => Some((|| logistic(&x.mul_scalar(2.0)?)?.affine(2.0, -1.0))()),
        Softplus => Some((|| x.exp()?.add_scalar(1.0)?.log())()),
        Neg
        | Abs
        | Sign
        | Exp
        | Log
        | Log1p
        | Sqrt
        | Rsqrt
        | Reciprocal
        | Square
        | Sin
        | Cos
        | Erf
        | Relu
        | Floor
        | Ceil
        | Round
        | Affine { .. }
        | Powf(_)
        | Clamp { .. } => None,
    }
}

pub(super) fn cases(op: UnaryOp, g: &Gen) -> Vec<Case> {
    let ops = match op {
        UnaryOp::Powf(e) => {
            vec![e, 0.0, 1.0, 2.0, 2.5, -1.5].into_iter().map(UnaryOp::Powf).collect()
        }
        UnaryOp::Clamp { .. } => vec![op, UnaryOp::Clamp { min: f64::NEG_INFINITY, max: 0.5 }],
        _ => vec![op],
    };
    let mut cases = Vec::new();
    for op in ops {
        for shape in g.shapes(0) {
            let x = domain(op, g, &shape);
            let case =
                Case::new(Op::Unary(op), format!("{op:?}"), vec![x], move |v| v[0].unary(op));
            let has_composed = composed(op, &Var::constant(Tensor::scalar(0f32))).is_some();
            cases.push(if has_composed {
                case.composed(move |v| composed(op, &v[0]).expect("checked above"))
            } else {
                case
            });
        }
    }
    cases
}
