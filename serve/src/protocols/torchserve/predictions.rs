//! Predictions. A body is a raw text; a form with the text in `data`, `body` or `text`; or JSON: a
//! text, a list of texts, or an object with `data`, `text`, `inputs` or `instances`. The answer to
//! a list is a list. A classifier answers `{label: probability}`, as TorchServe's text classifier
//! does.

use std::sync::Arc;

use axum::extract::Path;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;

use super::version;
use crate::answer::{Computed, OneOrMany};
use crate::call::Call;
use crate::error::{Kind, Problem, Result};
use crate::json::{self, Fields, expected};
use crate::media::{Media, Part, urlencoded};
use crate::protocols::shared::rows::{Row, rows};
use crate::question::Text;
use crate::registry::Version;
use crate::served::Served;

/// An answer as TorchServe's handlers give it.
struct Handled(Row, Arc<Served>);

impl Serialize for Handled {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Row::Label { scores, .. } => {
                let mut map = serializer.serialize_map(Some(scores.len()))?;
                for score in self.1.ranked(scores) {
                    map.serialize_entry(&score.label, &score.score)?;
                }
                map.end()
            }
            row => row.serialize(serializer),
        }
    }
}

/// `POST /predictions/{model}`.
pub async fn predict(Path(model): Path<String>, call: Call) -> Result<Computed> {
    let served = call.app.models.get(&model, &Version::Default)?;
    predicted(served, call).await
}

/// `POST /predictions/{model}/{version}`.
pub async fn predict_version(
    Path((model, version)): Path<(String, String)>,
    call: Call,
) -> Result<Computed> {
    let served = version::find(&call.app, &model, &version)?;
    predicted(served, call).await
}

async fn predicted(served: Arc<Served>, call: Call) -> Result<Computed> {
    let (texts, single) = inputs(&call).await?;
    call.count(texts.len(), "data")?;
    let asked = rows(&served, texts, &call).await?;
    let numbers = asked.answers.iter().map(Row::size).sum();
    let handled = asked.answers.into_iter().map(|row| Handled(row, Arc::clone(&served)));
    Computed::json(OneOrMany::new(handled.collect(), single), numbers, asked.usage).await
}

/// The inputs of a prediction, and whether the input is a single one outside a list.
async fn inputs(call: &Call) -> Result<(Vec<Text>, bool)> {
    if call.body.is_empty() {
        return Err(Problem::new(Kind::Empty, "the body is empty; send a text, or JSON"));
    }
    let media = Media::of(&call.headers);
    if media.has_parts() {
        return from_parts(media.parts(call.body.clone()).await?);
    }
    if media.is("application/json") {
        return from_json(call.json().await?, "data");
    }
    let text = media.text(&call.body)?;
    // `curl -d` calls every body a form. So a body is a form only if it begins with a known field,
    // and it is JSON if it parses as an object or a list.
    let form = media.is("application/x-www-form-urlencoded");
    if form && ["data=", "body=", "text=", "text_pair="].iter().any(|name| text.starts_with(name)) {
        return from_form(urlencoded(&text)?);
    }
    let looks = text.trim_start().starts_with(['{', '[']);
    match looks.then(|| json::parse(text.as_bytes())) {
        Some(Ok(value)) => from_json(value, "data"),
        Some(Err(problem)) if text.trim_start().starts_with("{\"") => Err(problem),
        _ => Ok((vec![Text::Plain(text.into_owned())], true)),
    }
}

/// Reads a form in parts, such as `requests.post(url, files={"data": …})` sends. A part in JSON
/// must be the only one.
fn from_parts(parts: Vec<Part>) -> Result<(Vec<Text>, bool)> {
    let json = |part: &&Part| part.media.is("application/json");
    if let [part] = &parts[..]
        && json(&part)
    {
        return from_json(json::parse(&part.body)?, "data");
    }
    if let Some(part) = parts.iter().find(json) {
        let name: String = part.name.chars().take(64).collect();
        return Err(Problem::field(&name, "is JSON, but there are other parts; send it alone"));
    }
    let pairs =
        parts.into_iter().map(|part| Ok((part.name, part.media.text(&part.body)?.into_owned())));
    from_form(pairs.collect::<Result<_>>()?)
}

/// Reads a form: the text is in `data`, `body` or `text`, the second text of a pair in `text_pair`.
/// Other fields are refused, for a raw text that begins like a form must not lose its end.
fn from_form(pairs: Vec<(String, String)>) -> Result<(Vec<Text>, bool)> {
    let (mut text, mut second) = (None, None);
    for (name, value) in pairs {
        let shown: String = name.chars().take(64).collect();
        let place = match name.as_str() {
            "data" | "body" | "text" => &mut text,
            "text_pair" => &mut second,
            _ => {
                let message =
                    "is not a field here; the fields are data (or body, text) and text_pair";
                return Err(Problem::field(&shown, message));
            }
        };
        if place.replace(value).is_some() {
            let message = "is one field too many; send several texts as a list in JSON";
            return Err(Problem::field(&shown, message));
        }
    }
    match (text, second) {
        (None, _) => Err(Problem::field("data", "is missing; send a text")),
        (Some(text), _) if text.is_empty() => {
            Err(Problem::new(Kind::Empty, "`data` is empty; send a text"))
        }
        (Some(text), None) => Ok((vec![Text::Plain(text)], true)),
        (Some(text), Some(second)) => Ok((vec![Text::Pair(text, second)], true)),
    }
}

fn from_json(value: Value, at: &str) -> Result<(Vec<Text>, bool)> {
    match value {
        Value::String(text) if text.is_empty() => {
            Err(Problem::new(Kind::Empty, format!("`{at}` is empty; send a text")))
        }
        Value::String(text) => Ok((vec![Text::Plain(text)], true)),
        Value::Array(items) => {
            let texts =
                items.into_iter().enumerate().map(|(i, item)| one(item, &format!("{at}[{i}]")));
            Ok((texts.collect::<Result<_>>()?, false))
        }
        Value::Object(_) => {
            let mut fields = Fields::of(value, "")?;
            for key in ["instances", "inputs", "data"] {
                let Some(value) = fields.take(key) else { continue };
                if let (Value::String(_), true) = (&value, fields.has("text_pair")) {
                    fields.take("text");
                    fields.put("text", value);
                    break;
                }
                fields.refuse(&["text_pair"], "goes with a single text")?;
                return from_json(value, key);
            }
            Ok((vec![from_fields(fields, "text")?], true))
        }
        other => Err(expected(at, "a text, a list, or an object", &other)),
    }
}

fn one(value: Value, at: &str) -> Result<Text> {
    match value {
        Value::String(text) => Ok(Text::Plain(text)),
        Value::Object(_) => {
            let mut fields = Fields::of(value, at)?;
            if let Some(text) = fields.string("data")? {
                fields.take("text");
                fields.put("text", text.into());
            }
            from_fields(fields, &format!("{at}.text"))
        }
        other => Err(expected(at, "a text, or an object with `text`", &other)),
    }
}

fn from_fields(mut fields: Fields, at: &str) -> Result<Text> {
    let text = fields.string("text")?.or(fields.string("body")?);
    let text = text.ok_or_else(|| Problem::field(at, "is missing; send a text"))?;
    match fields.string("text_pair")? {
        Some(pair) => Ok(Text::Pair(text, pair)),
        None => Ok(Text::Plain(text)),
    }
}
