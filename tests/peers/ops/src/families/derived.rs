//! Operations composed of others, and masks.

use gradus_autograd::Var;
use gradus_tensor::Tensor;

use super::{Operation, one, several, value};

const KEEPDIM: &str = "keepdim";

fn functions() -> Vec<Operation> {
    vec![
        one("expm1", |c| c.x()?.expm1()),
        one("exp2", |c| c.x()?.exp2()),
        one("log2", |c| c.x()?.log2()),
        one("leaky_relu", |c| c.x()?.leaky_relu(c.number("slope")?)),
        one("elu", |c| c.x()?.elu(c.number("alpha")?)),
        one("softsign", |c| c.x()?.softsign()),
        one("quick_gelu", |c| c.x()?.quick_gelu()),
    ]
}

fn reductions() -> Vec<Operation> {
    vec![
        one("std", |c| c.x()?.std(&c.dims()?, c.flag(KEEPDIM)?, c.get("correction")?)),
        one("norm", |c| c.x()?.norm(c.number("p")?, &c.dims()?, c.flag(KEEPDIM)?)),
        one("cumsum", |c| c.x()?.cumsum(c.dim()?)),
        several("max_with_index", |c| {
            let (values, index) = c.x()?.max_with_index(c.dim()?, c.flag(KEEPDIM)?)?;
            Ok(vec![values, Var::constant(index)])
        }),
        several("min_with_index", |c| {
            let (values, index) = c.x()?.min_with_index(c.dim()?, c.flag(KEEPDIM)?)?;
            Ok(vec![values, Var::constant(index)])
        }),
    ]
}

fn places() -> Vec<Operation> {
    vec![
        one("tril", |c| c.x()?.tril(c.get("diagonal")?)),
        one("triu", |c| c.x()?.triu(c.get("diagonal")?)),
        one("masked_fill", |c| c.x()?.masked_fill(c.tensor(1)?, c.number("value")?)),
        one("scatter", |c| c.x()?.scatter(c.dim()?, c.tensor(1)?, c.var(2)?)),
    ]
}

fn masks() -> Vec<Operation> {
    vec![
        value("isnan", |c| c.tensor(0)?.isnan()),
        value("isinf", |c| c.tensor(0)?.isinf()),
        value("logical_not", |c| c.tensor(0)?.logical_not()),
        value("logical_and", |c| c.tensor(0)?.logical_and(c.tensor(1)?)),
        value("logical_or", |c| c.tensor(0)?.logical_or(c.tensor(1)?)),
        value("logical_xor", |c| c.tensor(0)?.logical_xor(c.tensor(1)?)),
        value("any", |c| Tensor::any(c.tensor(0)?, &c.dims()?, c.flag(KEEPDIM)?)),
        value("all", |c| Tensor::all(c.tensor(0)?, &c.dims()?, c.flag(KEEPDIM)?)),
        value("one_hot", |c| c.tensor(0)?.one_hot(c.get("classes")?)),
    ]
}

pub fn operations() -> Vec<Operation> {
    [functions(), reductions(), places(), masks()].into_iter().flatten().collect()
}
