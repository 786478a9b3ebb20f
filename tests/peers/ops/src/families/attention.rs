//! Attention over packed sequences; the last input holds their offsets.

use gradus_tensor::ops::attention::Attention;
use gradus_tensor::{Result, Tensor};

use super::{Operation, one, value};
use crate::call::Call;

fn options(c: &Call) -> Result<Attention> {
    Ok(Attention { heads: c.get("heads")?, scale: c.number("scale")?, dropout: c.dropout()? })
}

pub fn operations() -> Vec<Operation> {
    vec![
        one("attention", |c| c.x()?.attention(c.var(1)?, c.var(2)?, c.tensor(3)?, &options(c)?)),
        one("attention_qkvpacked", |c| c.x()?.attention_qkvpacked(c.tensor(1)?, &options(c)?)),
        value("attention_dropout_mask", |c| {
            let (start, length, heads) = (c.get("start")?, c.get("length")?, c.get("heads")?);
            Tensor::attention_dropout_mask(start, length, heads, c.number("p")?, c.key()?)
        }),
    ]
}
