//! The schemas of the OpenAPI document.

use serde_json::{Value, json};

use crate::protocols::Protocol;

/// A reference to a named schema.
pub fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

/// The name of the schema of a protocol's errors.
pub fn error(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tei => "TeiError",
        Protocol::Cohere => "CohereError",
        Protocol::OpenAi => "OpenAiError",
        Protocol::TorchServe => "TorchServeError",
        Protocol::TfServing | Protocol::KServe => "PlainError",
    }
}

/// An object with these fields. A field whose name ends in `?` may be missing or null.
pub fn object<const N: usize>(fields: [(&str, Value); N]) -> Value {
    object_of(fields.into())
}

/// As [`object`].
pub fn object_of(fields: Vec<(&str, Value)>) -> Value {
    let mut properties = serde_json::Map::new();
    let mut required = Vec::new();
    for (field, schema) in fields {
        let name = field.strip_suffix('?').unwrap_or(field);
        let mut schema = match field == name {
            true => schema,
            false => json!({"anyOf": [schema, {"type": "null"}]}),
        };
        if let Some(about) = super::fields::about(name) {
            schema["description"] = about.into();
        }
        properties.insert(name.into(), schema);
        if field == name {
            required.push(name);
        }
    }
    json!({"type": "object", "properties": properties, "required": required})
}

/// A list.
pub fn list(items: Value) -> Value {
    json!({"type": "array", "items": items})
}

/// A list of at least one item.
pub fn some(items: Value) -> Value {
    json!({"type": "array", "items": items, "minItems": 1})
}

/// One of several schemas.
pub fn any_of<const N: usize>(schemas: [Value; N]) -> Value {
    json!({"anyOf": schemas.to_vec()})
}

/// A string.
pub fn string() -> Value {
    json!({"type": "string"})
}

/// A boolean.
pub fn boolean() -> Value {
    json!({"type": "boolean"})
}

/// A number.
pub fn number() -> Value {
    json!({"type": "number"})
}

/// A whole number of at least `least`.
pub fn count(least: u64) -> Value {
    json!({"type": "integer", "minimum": least})
}

/// An object that has no other fields.
pub fn closed(mut schema: Value) -> Value {
    schema["additionalProperties"] = false.into();
    schema
}

/// One of these words.
pub fn words<const N: usize>(words: [&str; N]) -> Value {
    json!({"type": "string", "enum": words.to_vec()})
}

/// A schema with an example.
pub fn example(mut schema: Value, example: Value) -> Value {
    schema["example"] = example;
    schema
}

/// All named schemas.
pub fn all() -> Value {
    let text = json!({"type": "string", "minLength": 1});
    let id = json!({"type": "integer", "minimum": 0, "maximum": u32::MAX});
    let (input, ids) = (reference("Text"), reference("TokenIds"));
    json!({
        "Text": text,
        "TokenIds": {
            "type": "array", "items": id, "minItems": 1,
            "description": "Ids of the model's tokenizer; missing [CLS] and [SEP] are added",
        },
        "Inputs": {
            "description": "A text, texts, token ids, or lists of token ids",
            "anyOf": [input, some(any_of([input.clone(), ids.clone()])), ids],
        },
        "ModelName": {
            "type": "string",
            "description": "The name of a model; by default the first model with the right task",
        },
        "Vector": list(number()),
        "Vectors": list(reference("Vector")),
        "Scores": list(object([("label", string()), ("score", number())])),
        "Answer": {
            "description": "The model's answer to an input: a vector, labels with scores, filled masks, or tagged words",
        },
        "Tensor": object([
            ("name", string()),
            ("shape", json!({"type": "array", "items": count(0), "minItems": 1, "maxItems": 2})),
            ("datatype", words(["BYTES"])),
            ("data?", list(any_of([string(), list(string())]))),
            ("parameters?", object([("binary_data_size?", count(0))])),
        ]),
        "TeiError": object([("error", string()), ("error_type", string())]),
        "CohereError": object([("message", string())]),
        "OpenAiError": object([(
            "error",
            object([("message", string()), ("type", string()), ("param?", string()), ("code?", string())]),
        )]),
        "TorchServeError": object([("code", count(400)), ("type", string()), ("message", string())]),
        "PlainError": object([("error", string())]),
    })
}
