//! Reductions.

use super::{Operation, one, value};

const KEEPDIM: &str = "keepdim";

pub fn operations() -> Vec<Operation> {
    vec![
        one("sum", |c| c.x()?.sum(&c.dims()?, c.flag(KEEPDIM)?)),
        one("sum_all", |c| c.x()?.sum_all()),
        one("mean", |c| c.x()?.mean(&c.dims()?, c.flag(KEEPDIM)?)),
        one("mean_all", |c| c.x()?.mean_all()),
        one("prod", |c| c.x()?.prod(&c.dims()?, c.flag(KEEPDIM)?)),
        one("max", |c| c.x()?.max(&c.dims()?, c.flag(KEEPDIM)?)),
        one("min", |c| c.x()?.min(&c.dims()?, c.flag(KEEPDIM)?)),
        one("var", |c| c.x()?.var(&c.dims()?, c.flag(KEEPDIM)?, c.get("correction")?)),
        one("logsumexp", |c| c.x()?.logsumexp(&c.dims()?, c.flag(KEEPDIM)?)),
        one("sum_to", |c| c.x()?.sum_to(&c.get::<Vec<usize>>("shape")?)),
        value("sum_in", |c| c.tensor(0)?.sum_in(&c.dims()?, c.flag(KEEPDIM)?, c.dtype()?)),
        value("argmax", |c| c.tensor(0)?.argmax(c.dim()?, c.flag(KEEPDIM)?)),
        value("argmin", |c| c.tensor(0)?.argmin(c.dim()?, c.flag(KEEPDIM)?)),
    ]
}
