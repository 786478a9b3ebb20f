//! Turns a line with a request into the answer.

use std::panic::{AssertUnwindSafe, catch_unwind};

use gradus_autograd::{BackwardOptions, Var, grad};
use gradus_tensor::{Device, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::array::Array;
use crate::families;

/// Gradients, one for each variable; null where there is none.
type Arrays = Vec<Option<Array>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    op: String,
    #[serde(default)]
    attributes: Map<String, Value>,
    #[serde(default)]
    inputs: Vec<Array>,
    /// Gradients of the outputs.
    grads: Option<Arrays>,
    /// Gradients of the inputs' gradients.
    second: Option<Arrays>,
}

#[derive(Default, Serialize)]
pub struct Answer {
    #[serde(skip_serializing_if = "Option::is_none")]
    outputs: Option<Vec<Array>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    grads: Option<Arrays>,
    #[serde(skip_serializing_if = "Option::is_none")]
    second: Option<Arrays>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// A panic of the engine, which is always a fault: the engine must refuse with errors.
    #[serde(skip_serializing_if = "Option::is_none")]
    panic: Option<String>,
}

/// The answer to one line.
pub fn answer(line: &str, device: Device) -> Answer {
    let request: Request = match serde_json::from_str(line) {
        Ok(request) => request,
        Err(error) => return refused(format!("the line is no request: {error}")),
    };
    match catch_unwind(AssertUnwindSafe(|| run(&request, device))) {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => refused(error.to_string()),
        Err(payload) => Answer { panic: Some(told(payload.as_ref())), ..Answer::default() },
    }
}

fn refused(error: String) -> Answer {
    Answer { error: Some(error), ..Answer::default() }
}

fn told(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| text.to_string());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or("a panic".into())
}

fn run(request: &Request, device: Device) -> Result<Answer> {
    let tensors = request.inputs.iter().map(|input| input.tensor(device));
    let inputs = tensors.map(|tensor| tensor.map(Var::leaf)).collect::<Result<Vec<_>>>()?;
    let outputs = families::run(&request.op, &inputs, &request.attributes, device)?;
    let mut answer = Answer {
        outputs: Some(outputs.iter().map(|y| Array::of(y.tensor())).collect::<Result<_>>()?),
        ..Answer::default()
    };
    let Some(seeds) = &request.grads else { return Ok(answer) };
    let seeds = variables("grads", seeds, outputs.len(), device)?;
    let options = BackwardOptions { create_graph: request.second.is_some(), retain_graph: false };
    let first = gradients(&outputs, &seeds, &inputs, options)?;
    answer.grads = Some(arrays(&first)?);
    if let Some(second) = &request.second {
        let again = variables("second", second, inputs.len(), device)?;
        let (first, again): (Vec<_>, Vec<_>) =
            first.into_iter().zip(again).filter_map(|(first, again)| Some((first?, again))).unzip();
        let of: Vec<Var> = inputs.iter().chain(seeds.iter().flatten()).cloned().collect();
        answer.second = Some(arrays(&gradients(&first, &again, &of, BackwardOptions::default())?)?);
    }
    Ok(answer)
}

/// Leaves with the given arrays.
fn variables(
    what: &'static str,
    given: &[Option<Array>],
    count: usize,
    device: Device,
) -> Result<Vec<Option<Var>>> {
    if given.len() != count {
        bail!("ops", "{what} are {}, they must be {count}: null where there is none", given.len());
    }
    let leaf = |array: &Array| array.tensor(device).map(Var::leaf);
    given.iter().map(|array| array.as_ref().map(leaf).transpose()).collect()
}

/// The gradients of the inputs, from the outputs that require one and are given one.
fn gradients(
    outputs: &[Var],
    seeds: &[Option<Var>],
    inputs: &[Var],
    options: BackwardOptions,
) -> Result<Vec<Option<Var>>> {
    let (outputs, seeds): (Vec<Var>, Vec<Var>) = outputs
        .iter()
        .zip(seeds)
        .filter(|(output, _)| output.requires_grad())
        .filter_map(|(output, seed)| Some((output.clone(), seed.clone()?)))
        .unzip();
    if outputs.is_empty() {
        return Ok(vec![None; inputs.len()]);
    }
    grad(&outputs, inputs, Some(&seeds), options)
}

fn arrays(variables: &[Option<Var>]) -> Result<Arrays> {
    let array = |var: &Var| Array::of(var.tensor());
    variables.iter().map(|var| var.as_ref().map(array).transpose()).collect()
}
