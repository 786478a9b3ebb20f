//! Reading and adding by index.

use super::{Operation, one};

pub fn operations() -> Vec<Operation> {
    vec![
        one("index_select", |c| c.x()?.index_select(c.dim()?, c.tensor(1)?)),
        one("index_add", |c| c.x()?.index_add(c.dim()?, c.tensor(1)?, c.var(2)?)),
        one("gather", |c| c.x()?.gather(c.dim()?, c.tensor(1)?)),
        one("scatter_add", |c| c.x()?.scatter_add(c.dim()?, c.tensor(1)?, c.var(2)?)),
        one("embedding", |c| c.x()?.embedding(c.tensor(1)?)),
    ]
}
