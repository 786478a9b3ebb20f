//! The page at `/docs`: the document for people. It is complete without JavaScript; `docs.js` adds
//! forms to try the operations.

use std::fmt::Write;

use serde_json::Value;

use super::operation::TAGS;

/// The page of a document.
pub fn page(document: &Value) -> String {
    let mut operations = String::new();
    for tag in TAGS {
        let _ = writeln!(operations, "<h2>{tag}</h2>");
        for (path, methods) in document["paths"].as_object().into_iter().flatten() {
            for (method, operation) in methods.as_object().into_iter().flatten() {
                if operation["tags"][0] == tag {
                    operations.push_str(&one(document, method, path, operation));
                }
            }
        }
    }
    include_str!("docs.html").replace("<!-- operations -->", &operations)
}

/// One operation. Closed it shows its method, path and summary; opened also its fields, and a form
/// to try it.
fn one(document: &Value, method: &str, path: &str, operation: &Value) -> String {
    let mut html = String::new();
    let summary = marked(operation["summary"].as_str().unwrap_or_default());
    let _ = writeln!(
        html,
        "<details class=operation data-method={} data-path=\"{path}\"><summary><span class=method>{}</span> \
         <code>{path}</code> <span class=about>{summary}</span></summary>",
        method.to_uppercase(),
        method.to_uppercase(),
    );
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    let parameters: Vec<Field> = parameters.map(|p| of_parameter(document, p)).collect();
    html.push_str(&table("In the path and the query", &parameters));
    let kinds = operation["requestBody"]["content"].as_object();
    for (kind, body) in kinds.into_iter().flatten() {
        for (i, schema) in shapes(document, &body["schema"]).into_iter().enumerate() {
            let mut fields = Vec::new();
            collect(document, schema, "", 0, &mut fields);
            let which = if i == 0 { "Body" } else { "or" };
            match fields.is_empty() {
                true => {
                    let kind_of = escaped(&kind_of(document, schema));
                    let _ = writeln!(html, "<h3>{which}: {kind}</h3><p>{kind_of}</p>");
                }
                false => html.push_str(&table(&format!("{which}: {kind}"), &fields)),
            }
        }
    }
    let example = &operation["requestBody"]["content"]["application/json"]["schema"]["example"];
    if !example.is_null() {
        let _ = writeln!(
            html,
            "<h3>Example</h3><pre class=example>{}</pre>",
            escaped(&example.to_string())
        );
    }
    html.push_str("</details>\n");
    html
}

/// A row of a table.
struct Field {
    name: String,
    kind: String,
    required: bool,
    about: String,
    place: &'static str,
}

fn table(title: &str, fields: &[Field]) -> String {
    if fields.is_empty() {
        return String::new();
    }
    let mut html = format!(
        "<h3>{title}</h3>\n<table><thead><tr><th>Field<th>Is<th>Means</tr></thead><tbody>\n"
    );
    for Field { name, kind, required, about, place } in fields {
        let mark = if *required { " <b title=\"required\">*</b>" } else { "" };
        let _ = writeln!(
            html,
            "<tr data-field=\"{}\" data-in={place}><td><code>{}</code>{mark}<td>{}<td>{}</tr>",
            escaped(name),
            escaped(name),
            escaped(kind),
            marked(about)
        );
    }
    html + "</tbody></table>\n"
}

fn of_parameter(document: &Value, parameter: &Value) -> Field {
    let name = parameter["name"].as_str().unwrap_or_default();
    let (place, about) = match parameter["in"].as_str() {
        Some("path") => ("path", in_path(name)),
        _ => ("query", parameter["description"].as_str().unwrap_or_default()),
    };
    Field {
        name: name.to_string(),
        kind: kind_of(document, &parameter["schema"]),
        required: parameter["required"] == true,
        about: about.to_string(),
        place,
    }
}

fn in_path(name: &str) -> &'static str {
    match name {
        "version" => "A version's number",
        "label" => "`stable` or `latest`",
        _ => "A model's name or alias; a slash in it may be `%2F`",
    }
}

/// The schema that a `$ref` leads to, or the schema itself.
fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    let target = schema["$ref"].as_str().and_then(|target| target.strip_prefix('#'));
    target.and_then(|pointer| document.pointer(pointer)).unwrap_or(schema)
}

/// The alternatives of a schema, without `null`, or the schema itself if it has none.
fn shapes<'a>(document: &'a Value, schema: &'a Value) -> Vec<&'a Value> {
    let schema = resolved(document, schema);
    match schema["anyOf"].as_array() {
        None => vec![schema],
        Some(all) => {
            let all = all.iter().filter(|shape| shape["type"] != "null");
            all.flat_map(|shape| shapes(document, shape)).collect()
        }
    }
}

/// Collects the fields of an object, and those of the objects in it.
fn collect(document: &Value, schema: &Value, prefix: &str, depth: usize, fields: &mut Vec<Field>) {
    let required = schema["required"].as_array();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{prefix}{name}");
        fields.push(Field {
            name: path.clone(),
            kind: kind_of(document, field),
            required: required.is_some_and(|names| names.iter().any(|n| n == name)),
            about: field["description"].as_str().unwrap_or_default().to_string(),
            place: "body",
        });
        if depth > 2 {
            continue;
        }
        for shape in shapes(document, field) {
            let items = resolved(document, &shape["items"]);
            let (shape, prefix) = match items["properties"].is_object() {
                true => (items, format!("{path}[].")),
                false => (shape, format!("{path}.")),
            };
            collect(document, shape, &prefix, depth + 1, fields);
        }
    }
}

/// A schema in words.
fn kind_of(document: &Value, schema: &Value) -> String {
    let shapes = shapes(document, schema);
    if shapes.len() > 1 {
        let mut kinds: Vec<String> = Vec::new();
        for shape in shapes {
            let kind = kind_of(document, shape);
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        return kinds.join(", or ");
    }
    let Some(schema) = shapes.first() else { return String::new() };
    if let Some(words) = schema["enum"].as_array() {
        let words: Vec<String> = words.iter().map(Value::to_string).collect();
        return words.join(" or ");
    }
    match schema["type"].as_str() {
        Some("array") => format!("list of {}", kind_of(document, &schema["items"])),
        Some("string") => "text".into(),
        Some("boolean") => "true or false".into(),
        Some("integer") => match (schema["minimum"].as_u64(), schema["maximum"].as_u64()) {
            (Some(least), Some(most)) if least == most => format!("{least}"),
            (Some(least), Some(most)) if most < u64::from(u32::MAX) => {
                format!("whole number, {least} to {most}")
            }
            (Some(least), _) => format!("whole number, {least} or more"),
            _ => "whole number".into(),
        },
        Some(kind) => kind.to_string(),
        None => "anything".into(),
    }
}

/// Text whose parts between backticks are code.
fn marked(text: &str) -> String {
    let parts = text.split('`').enumerate();
    let part = |(i, part): (usize, &str)| match i % 2 {
        0 => escaped(part),
        _ => format!("<code>{}</code>", escaped(part)),
    };
    parts.map(part).collect()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
