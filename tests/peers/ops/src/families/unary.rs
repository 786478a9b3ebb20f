//! Functions of one element.

use gradus_tensor::Result;
use gradus_tensor::ops::unary::UnaryOp;

use super::{Operation, one, value};
use crate::call::Call;

/// `op` with the requested parameters.
fn with_parameters(op: UnaryOp, c: &Call) -> Result<UnaryOp> {
    Ok(match op {
        UnaryOp::Affine { .. } => UnaryOp::Affine { mul: c.number("mul")?, add: c.number("add")? },
        UnaryOp::Powf(_) => UnaryOp::Powf(c.number("e")?),
        plain => plain,
    })
}

pub fn operations() -> Vec<Operation> {
    let of_one_element = |&op: &UnaryOp| match op {
        // Its method checks the limits.
        UnaryOp::Clamp { .. } => one(op.name(), |c| {
            let (min, max) = (f64::NEG_INFINITY, f64::INFINITY);
            c.x()?.clamp(c.number_or("min", min)?, c.number_or("max", max)?)
        }),
        _ => one(op.name(), move |c| c.x()?.unary(with_parameters(op, c)?)),
    };
    let mut all: Vec<Operation> = UnaryOp::ALL.iter().map(of_one_element).collect();
    all.extend([
        one("add_scalar", |c| c.x()?.add_scalar(c.number("value")?)),
        one("mul_scalar", |c| c.x()?.mul_scalar(c.number("value")?)),
        one("dropout", |c| c.x()?.dropout(c.number("p")?, c.key()?)),
        value("is_not_finite", |c| c.tensor(0)?.is_not_finite()),
    ]);
    all
}
