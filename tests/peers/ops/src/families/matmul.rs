//! Matrix products and linear layers.

use gradus_autograd::Var;
use gradus_tensor::{LowPrecision, Result, bail};

use super::{Operation, one, tensors, value};
use crate::call::Call;

/// The inputs after the first: the attribute `layers` gives the number of weights; biases follow.
fn weights_and_biases<'a>(c: &Call<'a>) -> Result<(Vec<&'a Var>, Vec<&'a Var>)> {
    let (layers, mut weights) = (c.get::<usize>("layers")?, c.rest(1));
    if layers > weights.len() {
        bail!("ops", "{layers} layers, but {} inputs after the first", weights.len());
    }
    let biases = weights.split_off(layers);
    Ok((weights, biases))
}

fn low(c: &Call) -> Result<LowPrecision> {
    match c.get::<String>("precision")?.as_str() {
        "int8" => Ok(LowPrecision::Int8),
        "bf16" => Ok(LowPrecision::Bf16),
        other => bail!("ops", "the precision is {other}; there are int8 and bf16"),
    }
}

pub fn operations() -> Vec<Operation> {
    vec![
        one("matmul", |c| c.x()?.matmul(c.var(1)?)),
        one("linear", |c| c.x()?.linear(c.var(1)?, c.maybe(2))),
        one("linear_gelu", |c| c.x()?.linear_gelu(c.var(1)?, c.maybe(2))),
        one("linear_cat", |c| {
            let (weights, biases) = weights_and_biases(c)?;
            c.x()?.linear_cat(&weights, &biases)
        }),
        value("matmul_out_dtype", |c| c.tensor(0)?.matmul_out_dtype(c.tensor(1)?, c.dtype()?)),
        value("linear_low", |c| {
            let bias = c.maybe(2).map(Var::tensor);
            c.tensor(0)?.linear_low(c.tensor(1)?, bias, low(c)?)
        }),
        value("linear_gelu_low", |c| {
            let bias = c.maybe(2).map(Var::tensor);
            Ok(c.tensor(0)?.linear_gelu_low(c.tensor(1)?, bias, false, low(c)?)?.0)
        }),
        value("matmul_bf16", |c| c.tensor(0)?.matmul_bf16(c.tensor(1)?)),
        value("linear_cat_low", |c| {
            let (weights, biases) = weights_and_biases(c)?;
            c.tensor(0)?.linear_cat_low(&tensors(&weights), &tensors(&biases), low(c)?)
        }),
    ]
}
