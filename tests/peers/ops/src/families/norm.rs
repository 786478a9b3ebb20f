//! Softmax and layer norm.

use super::{Operation, one};

pub fn operations() -> Vec<Operation> {
    vec![
        one("softmax", |c| c.x()?.softmax(c.dim()?)),
        one("log_softmax", |c| c.x()?.log_softmax(c.dim()?)),
        one("layer_norm", |c| c.x()?.layer_norm(c.var(1)?, c.var(2)?, c.number("eps")?)),
        one("dropout_add_layer_norm", |c| {
            let (residual, weight, bias) = (c.var(1)?, c.var(2)?, c.var(3)?);
            let (eps, dropout) = (c.number("eps")?, c.dropout()?);
            c.x()?.dropout_add_layer_norm(residual, weight, bias, eps, dropout)
        }),
    ]
}
