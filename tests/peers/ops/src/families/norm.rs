//! Softmax, layer norm and RMS norm.

use super::{Operation, one};

pub fn operations() -> Vec<Operation> {
    vec![
        one("softmax", |c| c.x()?.softmax(c.dim()?)),
        one("log_softmax", |c| c.x()?.log_softmax(c.dim()?)),
        one("layer_norm", |c| c.x()?.layer_norm(c.var(1)?, c.maybe(2), c.number("eps")?)),
        one("dropout_add_layer_norm", |c| {
            let (residual, weight, bias) = (c.var(1)?, c.var(2)?, c.maybe(3));
            let (eps, dropout) = (c.number("eps")?, c.dropout()?);
            c.x()?.dropout_add_layer_norm(residual, weight, bias, eps, dropout)
        }),
        one("rms_norm", |c| c.x()?.rms_norm(c.var(1)?, c.number("eps")?)),
        one("dropout_add_rms_norm", |c| {
            let (residual, weight) = (c.var(1)?, c.var(2)?);
            c.x()?.dropout_add_rms_norm(residual, weight, c.number("eps")?, c.dropout()?)
        }),
    ]
}
