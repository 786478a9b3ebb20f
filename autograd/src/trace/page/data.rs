//! The data of a page: JSON, and beside it the numbers of tensors, packed.
//!
//! | bytes | what |
//! | --- | --- |
//! | 3 × 4 | the length of the JSON, and how many numbers of 4 and of 8 bytes there are (u32) |
//! | … | the JSON (UTF-8); in the place of a long list of numbers stands `{"at", "n", "bytes"}` |
//! | 4 × n | f32: the first bytes of all numbers, then all second bytes, and so on |
//! | 8 × m | f64, little-endian |
//!
//! All of it is deflated (zlib) and written in base64. A number is an f32 where that is exact. The
//! bytes of f32 lie apart because exponents are alike, which makes them small.

use std::collections::BTreeMap;
use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{Page, Step, limits, sources};
use crate::trace::{Cost, TraceNode};

/// Lists of fewer numbers stay in the JSON.
const LONG: usize = 12;

/// Numbers beside the JSON.
#[derive(Default)]
struct Numbers {
    single: Vec<f32>,
    double: Vec<f64>,
}

/// The data of a page, as base64.
pub(super) fn packed(page: &Page) -> String {
    let mut numbers = Numbers::default();
    let steps: Vec<Value> = page.steps.iter().map(|step| numbers.step(step)).collect();
    let header = json!({
        "title": page.title,
        "facts": page.facts,
        "sequences": page.sequences,
        "labels": page.labels,
        "steps": steps,
        "sources": sources_of(page),
        "machine": *limits::MACHINE,
    });
    STANDARD.encode(deflated(&numbers.beside(&header)))
}

fn deflated(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    // Writing to memory cannot fail.
    encoder.write_all(bytes).and_then(|()| encoder.finish()).unwrap_or_default()
}

impl Numbers {
    fn step(&mut self, step: &Step) -> Value {
        let nodes = step.trace.nodes.iter().map(|node| self.shortened(json!(node)));
        json!({
            "name": step.name,
            "nodes": nodes.collect::<Vec<_>>(),
            "update": step.update,
            "wall_ns": step.trace.profile.wall_ns,
        })
    }

    /// The same with long lists of numbers taken out.
    fn shortened(&mut self, value: Value) -> Value {
        match value {
            Value::Array(list) => match long(&list) {
                Some(numbers) => self.take(&numbers),
                None => list.into_iter().map(|value| self.shortened(value)).collect(),
            },
            Value::Object(fields) => {
                let fields = thinned(fields).into_iter();
                fields.map(|(name, value)| (name, self.shortened(value))).collect()
            }
            other => other,
        }
    }

    fn take(&mut self, numbers: &[f64]) -> Value {
        let exact = |x: f64| f64::from(x as f32) == x || x.is_nan();
        let single = numbers.iter().all(|&x| exact(x));
        let (at, bytes) = match single {
            true => (self.single.len(), 4),
            false => (self.double.len(), 8),
        };
        match single {
            true => self.single.extend(numbers.iter().map(|&x| x as f32)),
            false => self.double.extend(numbers),
        }
        json!({ "at": at, "n": numbers.len(), "bytes": bytes })
    }

    /// The JSON and the numbers, as the table at the top says.
    fn beside(&self, header: &Value) -> Vec<u8> {
        let text = header.to_string();
        let lengths = [text.len(), self.single.len(), self.double.len()];
        let mut all: Vec<u8> = lengths.iter().flat_map(|&n| (n as u32).to_le_bytes()).collect();
        all.extend(text.as_bytes());
        for byte in 0..4 {
            all.extend(self.single.iter().map(|x| x.to_le_bytes()[byte]));
        }
        all.extend(self.double.iter().flat_map(|x| x.to_le_bytes()));
        all
    }
}

/// Of the sample of a large tensor, as a [`Summary`](crate::trace::Summary) has it, the page gets every
/// fourth number: it shows the whole rows.
fn thinned(mut fields: Map<String, Value>) -> Map<String, Value> {
    const THIN: u64 = 4;
    let stride = fields.get("stride").and_then(Value::as_u64).unwrap_or(0);
    let Some(Value::Array(values)) = fields.get_mut("values").filter(|_| stride > 1) else {
        return fields;
    };
    *values = std::mem::take(values).into_iter().step_by(THIN as usize).collect();
    fields.insert("stride".into(), (stride * THIN).into());
    fields
}

/// The numbers of a long list of nothing else; NaN and infinities are texts in JSON.
fn long(list: &[Value]) -> Option<Vec<f64>> {
    let number = |value: &Value| match value {
        Value::String(text) => match text.as_str() {
            "NaN" => Some(f64::NAN),
            "inf" => Some(f64::INFINITY),
            "-inf" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        value => value.as_f64(),
    };
    (list.len() >= LONG).then(|| list.iter().map(number).collect()).flatten()
}

/// The sources of what ran, by family.
#[derive(Default, Serialize)]
struct Sources {
    rules: BTreeMap<&'static str, sources::File>,
    cpu: BTreeMap<&'static str, &'static [sources::File]>,
    wgsl: BTreeMap<String, sources::File>,
}

fn sources_of(page: &Page) -> Sources {
    let mut all = Sources::default();
    for node in page.steps.iter().flat_map(|step| &step.trace.nodes) {
        all.add(node);
    }
    all
}

impl Sources {
    fn add(&mut self, node: &TraceNode) {
        if let Some(file) = sources::rule(node.family) {
            self.rules.insert(node.family, file);
        }
        for Cost { families, kernels, .. } in [&node.forward, &node.backward] {
            for &family in families {
                self.cpu.insert(family, gradus_tensor::profile::cpu_sources(family));
            }
            // Products have shaders of several names.
            let labels = kernels.iter().filter_map(|kernel| kernel.split('.').next());
            for family in families.iter().copied().chain(labels) {
                if let Some(file) = gradus_tensor::profile::shader_source(family) {
                    self.wgsl.insert(family.to_string(), file);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_thinned_and_says_so() {
        let mut numbers = Numbers::default();
        let of = |stride: u64| json!({ "values": [0, 1, 2, 3, 4, 5, 6, 7, 8], "stride": stride });
        assert_eq!(numbers.shortened(of(1)), of(1));
        let thin = json!({ "values": [0, 4, 8], "stride": 12 });
        assert_eq!(numbers.shortened(of(3)), thin);
    }

    #[test]
    fn numbers_keep_every_bit() {
        let mut numbers = Numbers::default();
        let third: Vec<f64> = (0..LONG).map(|i| f64::from(1.0f32 / 3.0) * i as f64).collect();
        let singles: Vec<f64> = (0..LONG).map(|i| f64::from(i as f32 / 3.0)).collect();
        let value = json!({ "a": third, "b": singles, "c": [1, 2] });
        let short = numbers.shortened(value);
        assert_eq!(short["c"], json!([1, 2]));
        assert_eq!(short["a"], json!({ "at": 0, "n": LONG, "bytes": 8 }));
        assert_eq!(short["b"], json!({ "at": 0, "n": LONG, "bytes": 4 }));
        assert_eq!(numbers.double, third);
        let bytes = numbers.beside(&short);
        let text = short.to_string();
        let planes = &bytes[12 + text.len()..][..4 * LONG];
        let third_number: Vec<u8> = (0..4).map(|plane| planes[plane * LONG + 2]).collect();
        assert_eq!(third_number, (2f32 / 3.0).to_le_bytes());
        let special = long(&vec![json!("NaN"); LONG]).unwrap();
        assert!(special[0].is_nan() && long(&vec![json!("text"); LONG]).is_none());
    }
}
