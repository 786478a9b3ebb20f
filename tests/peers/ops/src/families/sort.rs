//! Sorting: values, then indices.

use gradus_autograd::Var;
use gradus_tensor::Tensor;

use super::{Operation, several, value};

fn both((values, indices): (Var, Tensor)) -> Vec<Var> {
    vec![values, Var::constant(indices)]
}

pub fn operations() -> Vec<Operation> {
    vec![
        several("sort", |c| c.x()?.sort(c.dim()?, c.flag("descending")?).map(both)),
        several("topk", |c| c.x()?.topk(c.get("k")?, c.dim()?, c.flag("largest")?).map(both)),
        value("argsort", |c| c.tensor(0)?.argsort(c.dim()?, c.flag("descending")?)),
    ]
}
