//! Tensors from numbers alone.

use gradus_tensor::Tensor;

use super::{Operation, value};

pub fn operations() -> Vec<Operation> {
    vec![
        value("full", |c| {
            let shape: Vec<usize> = c.get("shape")?;
            Tensor::full_on(&shape, c.number("value")?, c.dtype()?, c.device())
        }),
        value("arange", |c| {
            Tensor::arange(c.number("start")?, c.number("end")?, c.number("step")?, c.dtype()?)
        }),
        value("linspace", |c| {
            Tensor::linspace(c.number("start")?, c.number("end")?, c.get("steps")?, c.dtype()?)
        }),
        value("eye", |c| Tensor::eye(c.get("n")?, c.dtype()?)),
        value("bernoulli_mask", |c| {
            let shape: Vec<usize> = c.get("shape")?;
            Tensor::bernoulli_mask_on(&shape, c.number("p")?, c.key()?, c.device())
        }),
    ]
}
