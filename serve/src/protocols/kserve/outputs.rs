//! Output tensors: which a request wants, and what they hold.

use serde::Serialize;
use serde_json::{Value, json};

use super::about;
use super::bytes;
use super::inputs::no_shared_memory;
use crate::error::{Kind, Problem, Result};
use crate::json::{Fields, string};
use crate::protocols::shared::rows::Row;
use crate::served::Served;

/// An output that a request wants.
pub struct Wanted {
    name: String,
    binary: bool,
    /// How many classes to answer as `value:index:label`, instead of the values.
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
pub enum Data {
    Numbers(Vec<f32>),
    Texts(Vec<String>),
}

/// An output of an answer.
#[derive(Serialize)]
pub struct Output {
    name: String,
    datatype: &'static str,
    shape: Vec<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Data>,
}

/// The outputs that a request wants: all of the model's if it names none.
pub fn wanted_outputs(served: &Served, outputs: Vec<Value>, binary: bool) -> Result<Vec<Wanted>> {
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
    let message = format!("has `{name}`; the model has {}", names.join(", "));
    Err(Problem::field("outputs", message))
}

/// An output. Values in bytes go to the end of `after`.
pub fn output(served: &Served, want: &Wanted, rows: &[Row], after: &mut Vec<u8>) -> Result<Output> {
    let (datatype, shape, data) = values(served, want, rows)?;
    let name = want.name.clone();
    if !want.binary {
        return Ok(Output { name, datatype, shape, parameters: None, data: Some(data) });
    }
    let start = after.len();
    match data {
        Data::Numbers(numbers) => numbers.iter().for_each(|x| after.extend(x.to_le_bytes())),
        Data::Texts(texts) => texts.iter().for_each(|text| bytes::push(after, text.as_bytes())),
    }
    let parameters = Some(json!({"binary_data_size": after.len() - start}));
    Ok(Output { name, datatype, shape, parameters, data: None })
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
            let message =
                format!("`{}` is not a tensor of numbers, so it has no classes", want.name);
            return Err(Problem::field("outputs", message));
        };
        if want.name == "LABEL" {
            return Err(Problem::field(
                "outputs",
                "`LABEL` has no classes; ask for those of `SCORES`",
            ));
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
