//! Another operation, run again in backward.

use gradus_autograd::{Var, checkpoint};
use gradus_tensor::{Result, bail};
use serde_json::{Map, Value};

use super::{Operation, one, run};
use crate::call::Call;

/// The attribute `of` names the operation, the attribute `with` is its attributes.
fn again(c: &Call) -> Result<Var> {
    let of: String = c.get("of")?;
    let with: Map<String, Value> = c.option("with")?.unwrap_or_default();
    let inputs: Vec<Var> = c.rest(0).into_iter().cloned().collect();
    let device = c.device();
    checkpoint(move || {
        let outputs: Result<[Var; 1], _> = run(&of, &inputs, &with, device)?.try_into();
        match outputs {
            Ok([output]) => Ok(output),
            Err(outputs) => bail!("checkpoint", "{of} has {} outputs, not one", outputs.len()),
        }
    })
}

pub fn operations() -> Vec<Operation> {
    vec![one("checkpoint", again)]
}
