//! Reading input tensors.

use serde_json::Value;

use super::bytes as tensor_bytes;
use crate::error::{Problem, Result};
use crate::json::{Fields, expected, list, string};
use crate::question::Text;

/// The texts of the inputs, or the pairs of texts. `bytes` are those after the JSON.
pub fn texts(inputs: Vec<Value>, mut bytes: &[u8]) -> Result<Vec<Text>> {
    let (mut texts, mut pairs) = (None, None);
    for (i, value) in inputs.into_iter().enumerate() {
        let at = format!("inputs[{i}]");
        let input = input(value, &at, &mut bytes)?;
        let slot = if input.name == "TEXT_PAIR" { &mut pairs } else { &mut texts };
        if slot.replace(input.texts).is_some() {
            return Err(Problem::field(
                &at,
                "is one input too many; the inputs are TEXT and TEXT_PAIR",
            ));
        }
    }
    if !bytes.is_empty() {
        let message = format!("{} bytes after the last tensor belong to no tensor", bytes.len());
        return Err(Problem::invalid(message));
    }
    let texts = texts.ok_or_else(|| Problem::field("inputs", "has no tensor TEXT"))?;
    match pairs {
        None => Ok(texts.into_iter().map(Text::Plain).collect()),
        Some(pairs) if pairs.len() == texts.len() => {
            Ok(texts.into_iter().zip(pairs).map(|(a, b)| Text::Pair(a, b)).collect())
        }
        Some(pairs) => {
            let message = format!(
                "has {} in TEXT, but {} in TEXT_PAIR; send pairs",
                texts.len(),
                pairs.len()
            );
            Err(Problem::field("inputs", message))
        }
    }
}

/// An input tensor of texts.
struct Texts {
    name: String,
    texts: Vec<String>,
}

/// Reads an input. Its bytes, if it has any, are taken from the front of `bytes`.
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
    // A tensor's bytes are taken before it may be refused, so that errors name the right tensor.
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

/// Takes `size` bytes from the front.
fn taken<'a>(size: usize, at: &str, bytes: &mut &'a [u8]) -> Result<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(size).ok_or_else(|| {
        let message = format!("is {size}, but {} bytes are left after the JSON", bytes.len());
        Problem::field(&format!("{at}.parameters.binary_data_size"), message)
    })?;
    *bytes = rest;
    Ok(taken)
}

/// The texts of an input, from its bytes or from `data`.
fn elements(taken: Option<&[u8]>, data: Option<Value>, at: &str) -> Result<Vec<String>> {
    match (taken, data) {
        (Some(_), Some(_)) => {
            Err(Problem::field(at, "has `data` and `binary_data_size`; send one of them"))
        }
        (None, None) => Err(Problem::field(at, "has no `data`")),
        (Some(taken), None) => {
            let elements = tensor_bytes::elements(taken).map_err(|e| Problem::field(at, e))?;
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

/// Refuses shared memory, which Triton offers to clients on the same machine.
pub fn no_shared_memory(parameters: &mut Fields) -> Result<()> {
    let names = ["shared_memory_region", "shared_memory_offset", "shared_memory_byte_size"];
    parameters
        .refuse(&names, "asks for shared memory, which this server does not have; send the data")
}

/// Collects the texts of `data`, which may be nested like the shape, or flat.
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
