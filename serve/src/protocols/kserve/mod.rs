//! KServe v2 (Triton, `tritonclient`): `/v2…`.
//!
//! A model takes a BYTES tensor of texts (any name; `TEXT` in the metadata) and, for pairs, a
//! second one named `TEXT_PAIR`; the shape is `[n]` or `[n, 1]`. Inputs and outputs may be JSON
//! (`data`) or bytes after the JSON (see [`binary`]); `tritonclient` sends bytes, and no
//! Content-Type.

mod about;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::binary;
use super::values::{Row, rows};
use crate::app::App;
use crate::ask::{Caller, Encode, Text};
use crate::call::{Call, answer, small, with_usage};
use crate::error::{Kind, Problem, Result};
use crate::json::{Fields, expected, list, string};
use crate::registry::{Registry, Served, Version};

const HEADER_LENGTH: &str = "inference-header-content-length";

/// The paths.
pub fn routes() -> Router<Arc<App>> {
    let model = Router::new()
        .route("/", get(about::metadata))
        .route("/ready", get(about::ready))
        .route("/config", get(about::config))
        .route("/stats", get(about::stats))
        .route("/infer", post(infer));
    Router::new()
        .route("/v2", get(about::server))
        .route("/v2/", get(about::server))
        .route("/v2/health/live", get(about::live))
        .route("/v2/health/ready", get(about::server_ready))
        .route("/v2/models/stats", get(about::all_stats))
        .nest("/v2/models/{model}", model.clone())
        .nest("/v2/models/{model}/versions/{version}", model)
        .route("/v2/repository/index", post(index))
        .route("/v2/repository/models/{model}/load", post(load))
        .route("/v2/repository/models/{model}/unload", post(unload))
}

/// `{"error"}`.
pub fn error(problem: &Problem) -> (StatusCode, Value) {
    (problem.kind.status(), json!({"error": problem.message}))
}

/// The model of a path, and its version where it has one.
#[derive(serde::Deserialize)]
struct Which {
    model: String,
    version: Option<String>,
}

impl Which {
    fn find(&self, models: &Registry) -> Result<Arc<Served>> {
        match self.version.as_deref() {
            None | Some("") => models.get(&self.model, &Version::Default),
            Some(version) => models.get(&self.model, &Version::parse(version)?),
        }
    }
}

/// An input tensor of texts.
struct Texts {
    name: String,
    texts: Vec<String>,
}

/// The header and the bytes after it.
fn split(call: &Call) -> Result<(&[u8], &[u8])> {
    let Some(value) = call.headers.get(HEADER_LENGTH) else { return Ok((&call.body, &[])) };
    let length = value.to_str().ok().and_then(|v| v.trim().parse::<usize>().ok());
    let length = length.ok_or_else(|| {
        Problem::invalid("the header Inference-Header-Content-Length must be a number of bytes")
    })?;
    call.body.split_at_checked(length).ok_or_else(|| {
        Problem::invalid(format!(
            "Inference-Header-Content-Length is {length}, and the body has {} bytes",
            call.body.len()
        ))
    })
}

/// Reads an input; its bytes, if it has any, are taken from the front of `bytes`.
fn input(value: Value, at: &str, bytes: &mut &[u8]) -> Result<Texts> {
    let mut fields = Fields::of(value, at)?;
    let name = string(fields.required("name")?, &fields.at("name"))?;
    let datatype = string(fields.required("datatype")?, &fields.at("datatype"))?;
    let shape = list(fields.required("shape")?, &fields.at("shape"))?;
    let shape: Option<Vec<usize>> =
        shape.iter().map(|n| n.as_u64().and_then(|n| usize::try_from(n).ok())).collect();
    let shape =
        shape.ok_or_else(|| Problem::field(&fields.at("shape"), "must be sizes, whole numbers"))?;
    let mut parameters = fields.object("parameters")?;
    no_shared_memory(&mut parameters)?;
    // All of a tensor's bytes are taken before it may be refused, so that errors name the right
    // tensor.
    let size = parameters.count("binary_data_size")?;
    let taken = size.map(|size| taken(size, at, bytes)).transpose()?;
    if datatype != "BYTES" {
        let message = format!("is {datatype}; the inputs of this server's models are BYTES");
        return Err(Problem::field(&fields.at("datatype"), message));
    }
    let texts = elements(taken, fields.take("data"), at)?;
    let count = shape.iter().try_fold(1usize, |product, &n| product.checked_mul(n));
    if count != Some(texts.len()) {
        let message = format!("{shape:?} does not fit the {} elements", texts.len());
        return Err(Problem::field(&fields.at("shape"), message));
    }
    if shape.len() > 2 || (shape.len() == 2 && shape[1] != 1) {
        let message = format!("is {shape:?}; it must be [n] or [n, 1]");
        return Err(Problem::field(&fields.at("shape"), message));
    }
    Ok(Texts { name, texts })
}

/// Takes so many bytes from the front.
fn taken<'a>(size: usize, at: &str, bytes: &mut &'a [u8]) -> Result<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(size).ok_or_else(|| {
        let message = format!("is {size}, and {} bytes are left after the JSON", bytes.len());
        Problem::field(&format!("{at}.parameters.binary_data_size"), message)
    })?;
    *bytes = rest;
    Ok(taken)
}

/// The texts of an input, which stand in its bytes or in `data`.
fn elements(taken: Option<&[u8]>, data: Option<Value>, at: &str) -> Result<Vec<String>> {
    match (taken, data) {
        (Some(_), Some(_)) => {
            Err(Problem::field(at, "has `data` and `binary_data_size`; send one of them"))
        }
        (None, None) => Err(Problem::field(at, "has no `data`")),
        (Some(taken), None) => {
            let elements = binary::elements(taken).map_err(|e| Problem::field(at, e))?;
            let utf8 = |(i, element): (usize, &[u8])| {
                let text = std::str::from_utf8(element).map(str::to_string);
                text.map_err(|e| Problem::field(at, format!("element {i} is not UTF-8: {e}")))
            };
            elements.into_iter().enumerate().map(utf8).collect()
        }
        (None, Some(data)) => {
            let mut texts = Vec::new();
            flatten(data, &format!("{at}.data"), &mut texts)?;
            Ok(texts)
        }
    }
}

/// Refuses shared memory, which Triton has for clients on the same machine.
fn no_shared_memory(parameters: &mut Fields) -> Result<()> {
    let names = ["shared_memory_region", "shared_memory_offset", "shared_memory_byte_size"];
    parameters
        .refuse(&names, "asks for shared memory, which this server does not have; send the data")
}

/// `data` may be nested as the shape is, or flat.
fn flatten(value: Value, at: &str, texts: &mut Vec<String>) -> Result<()> {
    match value {
        Value::String(text) => texts.push(text),
        Value::Array(items) => {
            for (i, item) in items.into_iter().enumerate() {
                flatten(item, &format!("{at}[{i}]"), texts)?;
            }
        }
        other => return Err(expected(at, "texts", &other)),
    }
    Ok(())
}

/// An output that is asked for.
struct Wanted {
    name: String,
    binary: bool,
    /// So many classes as `value:index:label`, instead of the values.
    classes: Option<usize>,
}

fn wanted(value: Value, at: &str, binary: bool) -> Result<Wanted> {
    let mut fields = Fields::of(value, at)?;
    let name = string(fields.required("name")?, &fields.at("name"))?;
    let mut parameters = fields.object("parameters")?;
    no_shared_memory(&mut parameters)?;
    let binary = parameters.bool("binary_data")?.unwrap_or(binary);
    let classes = parameters.count("classification")?.filter(|&k| k > 0);
    Ok(Wanted { name, binary, classes })
}

/// The values of an output.
#[derive(Serialize)]
#[serde(untagged)]
enum Data {
    Numbers(Vec<f32>),
    Texts(Vec<String>),
}

#[derive(Serialize)]
struct Output {
    name: String,
    datatype: &'static str,
    shape: Vec<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Data>,
}

#[derive(Serialize)]
struct Answered {
    model_name: String,
    model_version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    outputs: Vec<Output>,
}

/// A question as it is asked.
struct Inference {
    id: Option<String>,
    /// Who asks, and until when.
    caller: Caller,
    texts: Vec<Text>,
    outputs: Vec<Wanted>,
}

async fn infer(Path(which): Path<Which>, call: Call) -> Result<Response> {
    let served = which.find(&call.app.models)?;
    let Inference { id, caller, texts, outputs: asks } = inference(&call, &served)?;
    let options = Encode { truncate: call.app.limits.truncate, ..Encode::default() };
    let asked = rows(&served, texts, options, caller).await?;
    let numbers = asked.answers.iter().map(Row::size).sum::<usize>() * asks.len();
    let (mut outputs, mut after) = (Vec::new(), Vec::new());
    for want in &asks {
        outputs.push(output(&served, want, &asked.answers, &mut after)?);
    }
    let body = Answered {
        model_name: served.name.clone(),
        model_version: served.version.to_string(),
        id,
        outputs,
    };
    let response = match after.is_empty() {
        true => answer(body, numbers).await?,
        false => with_bytes(&body, after)?,
    };
    Ok(with_usage(response, &asked.usage))
}

/// Reads a question.
fn inference(call: &Call, served: &Served) -> Result<Inference> {
    let (header, bytes) = split(call)?;
    let mut fields = Fields::of(crate::json::parse(header)?, "")?;
    let id = fields.string("id")?;
    let mut parameters = fields.object("parameters")?;
    let all_binary = parameters.bool("binary_data_output")?.unwrap_or(false);
    let caller = terms(call.caller, &mut parameters)?;
    let texts = texts(list(fields.required("inputs")?, "inputs")?, bytes)?;
    call.count(texts.len(), "inputs")?;
    let outputs = match fields.take("outputs") {
        None => Vec::new(),
        Some(value) => list(value, "outputs")?,
    };
    Ok(Inference { id, caller, texts, outputs: asks(served, outputs, all_binary)? })
}

/// Who asks, with what the request's parameters say of time and order.
fn terms(mut caller: Caller, parameters: &mut Fields) -> Result<Caller> {
    let why = "asks for a sequence, and these models keep nothing from one request to the next";
    parameters.refuse(&["sequence_id", "sequence_start", "sequence_end"], why)?;
    parameters.refuse(&["priority"], "is not kept: requests take turns")?;
    if let Some(key) = parameters.keys().find(|key| key.starts_with("triton_")) {
        let key: String = key.chars().take(64).collect();
        let message = "is a name that Triton keeps for itself";
        return Err(Problem::field(&parameters.at(&key), message));
    }
    // Triton's timeout is in microseconds.
    if let Some(timeout) = parameters.count("timeout")?.filter(|&us| us > 0) {
        let timeout = Duration::from_micros(timeout.min(1 << 40) as u64);
        caller.deadline = caller.deadline.min(caller.arrived + timeout);
    }
    Ok(caller)
}

/// The texts of the inputs, or their pairs.
fn texts(inputs: Vec<Value>, mut bytes: &[u8]) -> Result<Vec<Text>> {
    let (mut texts, mut pairs) = (None, None);
    for (i, value) in inputs.into_iter().enumerate() {
        let at = format!("inputs[{i}]");
        let input = input(value, &at, &mut bytes)?;
        let slot = if input.name == "TEXT_PAIR" { &mut pairs } else { &mut texts };
        if slot.replace(input.texts).is_some() {
            return Err(Problem::field(&at, "is one input too many; there are TEXT and TEXT_PAIR"));
        }
    }
    if !bytes.is_empty() {
        let message = format!("{} bytes after the last tensor belong to none", bytes.len());
        return Err(Problem::invalid(message));
    }
    let texts = texts.ok_or_else(|| Problem::field("inputs", "has no tensor TEXT"))?;
    match pairs {
        None => Ok(texts.into_iter().map(Text::Plain).collect()),
        Some(pairs) if pairs.len() == texts.len() => {
            Ok(texts.into_iter().zip(pairs).map(|(a, b)| Text::Pair(a, b)).collect())
        }
        Some(pairs) => {
            let message = format!("has {} texts and {} in TEXT_PAIR", texts.len(), pairs.len());
            Err(Problem::field("inputs", message))
        }
    }
}

/// The outputs that are asked for: all of the model's where none is.
fn asks(served: &Served, outputs: Vec<Value>, binary: bool) -> Result<Vec<Wanted>> {
    let known = about::outputs(served);
    if outputs.is_empty() {
        let all = known.iter().map(|(name, ..)| name.to_string());
        return Ok(all.map(|name| Wanted { name, binary, classes: None }).collect());
    }
    let outputs = outputs.into_iter().enumerate();
    let asks = outputs.map(|(i, value)| wanted(value, &format!("outputs[{i}]"), binary));
    let asks = asks.collect::<Result<Vec<_>>>()?;
    let unknown = asks.iter().find(|want| known.iter().all(|(name, ..)| *name != want.name));
    let Some(other) = unknown else { return Ok(asks) };
    let names: Vec<&str> = known.iter().map(|(name, ..)| *name).collect();
    let name: String = other.name.chars().take(64).collect();
    let message = format!("has no `{name}`; there are {}", names.join(", "));
    Err(Problem::field("outputs", message))
}

/// An output; as bytes its values go to the end of `after`.
fn output(served: &Served, want: &Wanted, rows: &[Row], after: &mut Vec<u8>) -> Result<Output> {
    let (datatype, shape, data) = values(served, want, rows)?;
    let name = want.name.clone();
    if !want.binary {
        return Ok(Output { name, datatype, shape, parameters: None, data: Some(data) });
    }
    let start = after.len();
    match data {
        Data::Numbers(numbers) => numbers.iter().for_each(|x| after.extend(x.to_le_bytes())),
        Data::Texts(texts) => texts.iter().for_each(|text| binary::push(after, text.as_bytes())),
    }
    let parameters = Some(json!({"binary_data_size": after.len() - start}));
    Ok(Output { name, datatype, shape, parameters, data: None })
}

/// An answer with bytes after the JSON.
fn with_bytes(body: &Answered, mut after: Vec<u8>) -> Result<Response> {
    let mut whole =
        serde_json::to_vec(body).map_err(|e| Problem::new(Kind::Internal, e.to_string()))?;
    let length = whole.len();
    whole.append(&mut after);
    let mut response = whole.into_response();
    let octets = HeaderValue::from_static("application/octet-stream");
    response.headers_mut().insert(header::CONTENT_TYPE, octets);
    response.headers_mut().insert(HEADER_LENGTH, HeaderValue::from(length));
    Ok(response)
}

/// One output of all rows: datatype, shape, values.
fn values(
    served: &Served,
    want: &Wanted,
    rows: &[Row],
) -> Result<(&'static str, Vec<usize>, Data)> {
    let count = rows.len();
    let as_json = |row: &Row| {
        serde_json::to_string(row).map_err(|e| Problem::new(Kind::Internal, e.to_string()))
    };
    let numbers = |row: &Row| match row {
        Row::Vector(numbers) | Row::Label { scores: numbers, .. } => Some(numbers.clone()),
        Row::Masks(_) | Row::Words(_) => None,
    };
    if let Some(k) = want.classes {
        let Some(rows) = rows.iter().map(numbers).collect::<Option<Vec<_>>>() else {
            let message = format!("`{}` is no tensor of numbers, so it has no classes", want.name);
            return Err(Problem::field("outputs", message));
        };
        if want.name == "LABEL" {
            return Err(Problem::field("outputs", "`LABEL` has no classes; ask them of `SCORES`"));
        }
        let width = rows.first().map_or(0, Vec::len).min(k);
        let labels = served.pipeline().labels();
        let classes = rows.iter().flat_map(|row| classes(row, labels, k));
        return Ok(("BYTES", vec![count, width], Data::Texts(classes.collect())));
    }
    let texts = |texts: Vec<String>| Ok(("BYTES", vec![count], Data::Texts(texts)));
    if want.name == "LABEL" {
        let label = |row: &Row| match row {
            Row::Label { label, .. } => label.clone(),
            _ => String::new(),
        };
        return texts(rows.iter().map(label).collect());
    }
    match rows.iter().map(numbers).collect::<Option<Vec<_>>>() {
        Some(rows) => {
            let width = rows.first().map_or(0, Vec::len);
            Ok(("FP32", vec![count, width], Data::Numbers(rows.concat())))
        }
        None => texts(rows.iter().map(as_json).collect::<Result<_>>()?),
    }
}

/// The `k` largest of a row as `value:index:label`, the largest first; without labels
/// `value:index`.
fn classes(row: &[f32], labels: &[String], k: usize) -> Vec<String> {
    let mut order: Vec<usize> = (0..row.len()).collect();
    order.sort_by(|&a, &b| row[b].total_cmp(&row[a]));
    let class = |&i: &usize| match labels.get(i) {
        Some(label) => format!("{:.6}:{i}:{label}", row[i]),
        None => format!("{:.6}:{i}", row[i]),
    };
    order.iter().take(k).map(class).collect()
}

async fn index(call: Call) -> Result<Response> {
    if !call.body.is_empty() {
        call.fields().await?.bool("ready")?;
    }
    let mut index = Vec::new();
    for listed in call.app.models.list() {
        for served in listed.versions {
            index.push(json!({
                "name": served.name, "version": served.version.to_string(), "state": "READY", "reason": "",
            }));
        }
    }
    Ok(small(&Value::Array(index)))
}

async fn load(Path(which): Path<Which>, call: Call) -> Result<Response> {
    super::manage::allowed(&call)?;
    if !call.body.is_empty() {
        let mut fields = call.fields().await?;
        let parameters = fields.object("parameters")?;
        if parameters.keys().any(|key| key == "config" || key.starts_with("file:")) {
            let message =
                "has a model's files or configuration; models are loaded from --model-store only";
            return Err(Problem::field("parameters", message));
        }
    }
    super::manage::reload(&call.app, &which.model).await?;
    Ok(small(&Value::Object(Map::new())))
}

async fn unload(Path(which): Path<Which>, call: Call) -> Result<Response> {
    super::manage::allowed(&call)?;
    if !call.body.is_empty() {
        // `unload_dependents` and the like: there is nothing that depends on a model.
        call.fields().await?.object("parameters")?;
    }
    super::manage::unload(&call.app, &which.model, None)?;
    Ok(small(&Value::Object(Map::new())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_the_largest_first() {
        let labels = ["a".to_string(), "b".into(), "c".into()];
        let classes = classes(&[0.25, 0.5, 0.25], &labels, 2);
        assert_eq!(classes, ["0.500000:1:b", "0.250000:0:a"]);
        assert_eq!(super::classes(&[1.5], &[], 9), ["1.500000:0"]);
    }
}
