//! Attention over packed sequences. Their offsets are the input after the values; a bias of the
//! scores may come after them.

use gradus_tensor::ops::attention::Attention;
use gradus_tensor::{Result, Tensor};

use super::{Operation, one, value};
use crate::call::Call;

fn options(c: &Call) -> Result<Attention> {
    Ok(Attention {
        heads: c.get("heads")?,
        scale: c.number("scale")?,
        dropout: c.dropout()?,
        causal: c.flag("causal")?,
        window: c.option("window")?,
        ..Default::default()
    })
}

pub fn operations() -> Vec<Operation> {
    vec![
        one("attention", |c| {
            let (key, value, bias) = (c.var(1)?, c.var(2)?, c.maybe(4));
            c.x()?.attention(key, value, bias, c.tensor(3)?, &options(c)?)
        }),
        one("attention_qkvpacked", |c| {
            c.x()?.attention_qkvpacked(c.maybe(2), c.tensor(1)?, &options(c)?)
        }),
        value("attention_dropout_mask", |c| {
            let (start, length, heads) = (c.get("start")?, c.get("length")?, c.get("heads")?);
            Tensor::attention_dropout_mask(start, length, heads, c.number("p")?, c.key()?)
        }),
    ]
}
