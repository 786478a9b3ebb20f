//! Joining, splitting, padding, flipping.

use gradus_autograd::Var;

use super::{Operation, one, several};

pub fn operations() -> Vec<Operation> {
    vec![
        one("cat", |c| Var::cat(&c.rest(0), c.dim()?)),
        one("stack", |c| Var::stack(&c.rest(0), c.dim()?)),
        several("split", |c| c.x()?.split(c.get("size")?, c.dim()?)),
        several("split_with_sizes", |c| {
            c.x()?.split_with_sizes(&c.get::<Vec<usize>>("sizes")?, c.dim()?)
        }),
        several("chunk", |c| c.x()?.chunk(c.get("n")?, c.dim()?)),
        one("repeat", |c| c.x()?.repeat(&c.get::<Vec<usize>>("times")?)),
        one("pad_zeros", |c| c.x()?.pad_zeros(c.dim()?, c.get("before")?, c.get("after")?)),
        one("flip", |c| c.x()?.flip(&c.dims()?)),
    ]
}
