//! Shapes, dtypes, copies.

use super::{Operation, one, value};

pub fn operations() -> Vec<Operation> {
    vec![
        one("alias", |c| c.x()?.alias()),
        one("to_dtype", |c| c.x()?.to_dtype(c.dtype()?)),
        one("reshape", |c| c.x()?.reshape(&c.get::<Vec<usize>>("shape")?)),
        one("permute", |c| c.x()?.permute(&c.dims()?)),
        one("transpose", |c| c.x()?.transpose(c.get("dim0")?, c.get("dim1")?)),
        one("t", |c| c.x()?.t()),
        one("narrow", |c| c.x()?.narrow(c.dim()?, c.get("start")?, c.get("length")?)),
        one("select", |c| c.x()?.select(c.dim()?, c.get("index")?)),
        one("unsqueeze", |c| c.x()?.unsqueeze(c.dim()?)),
        one("squeeze", |c| c.x()?.squeeze(c.dim()?)),
        one("flatten", |c| c.x()?.flatten(c.get("start")?, c.get("end")?)),
        one("broadcast_to", |c| c.x()?.broadcast_to(&c.get::<Vec<usize>>("shape")?)),
        value("contiguous", |c| c.tensor(0)?.contiguous()),
        value("copy", |c| c.tensor(0)?.copy()),
        value("copy_", |c| {
            let mut copy = c.tensor(0)?.clone();
            copy.copy_(c.tensor(1)?)?;
            Ok(copy)
        }),
    ]
}
