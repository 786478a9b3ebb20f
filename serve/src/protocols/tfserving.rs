//! TensorFlow Serving's REST paths: `/v1/models/{m}[/versions/{v}|/labels/{l}]`, with `:predict`,
//! `:classify` and `/metadata`.
//!
//! A model for embeddings has one output, `embedding`, so a prediction is the vector itself; a
//! classifier has `label` and `scores`, so a prediction is an object, as TensorFlow Serving does
//! it.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use serde::Serialize;
use serde_json::{Value, json};

use super::openai;
use crate::app::App;
use crate::ask::{Asked, Encode, Question, Scores, Text, check_copies};
use crate::call::{Call, answer, small, with_usage};
use crate::error::{Kind, Problem, Result};
use crate::json::{Fields, expected, list};
use crate::pipeline::Task;
use crate::protocols::values::{Row, rows};
use crate::registry::{Served, Version};

/// The paths. A colon is part of a path's last segment, so that one route takes the status and the
/// questions.
pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/v1/models/{model}", get(status).post(ask))
        .route("/v1/models/{model}/versions/{version}", get(status_of_version).post(ask_version))
        .route("/v1/models/{model}/labels/{label}", get(status_of_label).post(ask_label))
        .route("/v1/models/{model}/metadata", get(metadata))
        .route("/v1/models/{model}/versions/{version}/metadata", get(metadata_of_version))
        .route("/v1/models/{model}/labels/{label}/metadata", get(metadata_of_label))
}

/// `{"error"}`.
pub fn error(problem: &Problem) -> (StatusCode, Value) {
    (problem.kind.status(), json!({"error": problem.message}))
}

async fn status(State(app): State<Arc<App>>, Path(model): Path<String>) -> Result<Response> {
    let listed = app.models.versions(&model)?;
    let status = listed.versions.iter().rev().map(|served| state(served.version)).collect();
    let mut body = openai::model(&app, &model)?;
    if let Some(body) = body.as_object_mut() {
        body.insert("model_version_status".into(), Value::Array(status));
    }
    Ok(small(&body))
}

fn state(version: u64) -> Value {
    json!({
        "version": version.to_string(),
        "state": "AVAILABLE",
        "status": {"error_code": "OK", "error_message": ""},
    })
}

fn one(served: &Served) -> Response {
    small(&json!({"model_version_status": [state(served.version)]}))
}

async fn status_of_version(
    State(app): State<Arc<App>>,
    Path((model, version)): Path<(String, String)>,
) -> Result<Response> {
    Ok(one(&*app.models.get(&model, &Version::parse(&version)?)?))
}

async fn status_of_label(
    State(app): State<Arc<App>>,
    Path((model, label)): Path<(String, String)>,
) -> Result<Response> {
    Ok(one(&*app.models.get(&model, &Version::Label(label))?))
}

async fn metadata(State(app): State<Arc<App>>, Path(model): Path<String>) -> Result<Response> {
    described(&*app.models.get(&model, &Version::Default)?)
}

async fn metadata_of_version(
    State(app): State<Arc<App>>,
    Path((model, version)): Path<(String, String)>,
) -> Result<Response> {
    described(&*app.models.get(&model, &Version::parse(&version)?)?)
}

async fn metadata_of_label(
    State(app): State<Arc<App>>,
    Path((model, label)): Path<(String, String)>,
) -> Result<Response> {
    described(&*app.models.get(&model, &Version::Label(label))?)
}

fn described(served: &Served) -> Result<Response> {
    let tensor = |name: &str, dtype: &str, last: Option<usize>| {
        let sizes = std::iter::once("-1".to_string()).chain(last.map(|n| n.to_string()));
        let dim: Vec<Value> = sizes.map(|size| json!({"size": size, "name": ""})).collect();
        let shape = json!({"dim": dim, "unknown_rank": false});
        json!({"dtype": dtype, "tensor_shape": shape, "name": format!("{name}:0")})
    };
    let outputs = match served.task() {
        Task::Embed => {
            let hidden = served.pipeline().width();
            json!({"embedding": tensor("embedding", "DT_FLOAT", Some(hidden))})
        }
        Task::Classify => json!({
            "label": tensor("label", "DT_STRING", None),
            "scores": tensor("scores", "DT_FLOAT", Some(served.pipeline().labels().len())),
        }),
        Task::FillMask => json!({"masks": tensor("masks", "DT_STRING", None)}),
        Task::Tag => json!({"words": tensor("words", "DT_STRING", None)}),
    };
    Ok(small(&json!({
        "model_spec": {
            "name": served.name, "signature_name": "", "version": served.version.to_string(),
        },
        "metadata": {"signature_def": {"signature_def": {"serving_default": {
            "inputs": {"text": tensor("text", "DT_STRING", None)},
            "outputs": outputs,
            "method_name": "tensorflow/serving/predict",
        }}}},
    })))
}

async fn ask(State(_): State<Arc<App>>, Path(last): Path<String>, call: Call) -> Result<Response> {
    let (model, verb) = verb(&last)?;
    let served = call.app.models.get(model, &Version::Default)?;
    question(&served, verb, call).await
}

async fn ask_version(Path((model, last)): Path<(String, String)>, call: Call) -> Result<Response> {
    let (version, verb) = verb(&last)?;
    let served = call.app.models.get(&model, &Version::parse(version)?)?;
    question(&served, verb, call).await
}

async fn ask_label(Path((model, last)): Path<(String, String)>, call: Call) -> Result<Response> {
    let (label, verb) = verb(&last)?;
    let served = call.app.models.get(&model, &Version::Label(label.to_string()))?;
    question(&served, verb, call).await
}

/// The methods of a path. The router takes a verb for a part of the name, so it does not know.
pub fn allow(path: &str) -> &'static str {
    match path.rsplit('/').next().is_some_and(|last| last.contains(':')) {
        true => "POST",
        false => "GET,HEAD",
    }
}

/// `name:predict` → `name`, `predict`.
fn verb(last: &str) -> Result<(&str, &str)> {
    last.rsplit_once(':').ok_or_else(|| {
        Problem::new(
            Kind::Method,
            "a question needs a verb: `:predict` or `:classify` after the model",
        )
    })
}

async fn question(served: &Arc<Served>, verb: &str, call: Call) -> Result<Response> {
    match verb {
        "predict" => predict(served, call).await,
        "classify" => classify(served, call).await,
        "regress" => Err(Problem::new(Kind::Invalid, "no model here has a `regress` signature")),
        _ => {
            let verb: String = verb.chars().take(64).collect();
            Err(Problem::new(
                Kind::NotFound,
                format!("`:{verb}` is no verb; use :predict or :classify"),
            ))
        }
    }
}

/// An instance: a text, `{"text": …}` with `text_pair` perhaps, or `[a, b]`, a pair.
fn instance(value: Value, at: &str) -> Result<Text> {
    match value {
        Value::String(text) => Ok(Text::Plain(text)),
        Value::Object(_) => {
            let mut fields = Fields::of(value, at)?;
            let text = example(&mut fields, at)?;
            // An input that the signature does not have is an error of TensorFlow Serving's too.
            fields.end(&["text", "text_pair"])?;
            Ok(text)
        }
        Value::Array(mut items) if items.len() == 1 => {
            instance(items.pop().unwrap_or_default(), &format!("{at}[0]"))
        }
        Value::Array(items) if items.len() == 2 => {
            let mut texts = crate::json::strings(Value::Array(items), at)?;
            let pair = texts.pop().unwrap_or_default();
            Ok(Text::Pair(texts.pop().unwrap_or_default(), pair))
        }
        other => Err(expected(at, "a text, an object with `text`, or a pair", &other)),
    }
}

/// A text, or a pair, by its fields.
fn example(fields: &mut Fields, at: &str) -> Result<Text> {
    let text = ["text", "TEXT", "input", "inputs"].iter().find_map(|key| fields.take(key));
    let text = text.ok_or_else(|| Problem::field(at, "has no field `text`"))?;
    let text = crate::json::string(scalar(text), &format!("{at}.text"))?;
    match fields.take("text_pair") {
        None => Ok(Text::Plain(text)),
        Some(pair) => {
            let pair = crate::json::string(scalar(pair), &format!("{at}.text_pair"))?;
            Ok(Text::Pair(text, pair))
        }
    }
}

/// There is one signature.
fn signature(fields: &mut Fields) -> Result<()> {
    match fields.string("signature_name")?.as_deref() {
        None | Some("" | "serving_default") => Ok(()),
        Some(_) => Err(Problem::field("signature_name", "must be `serving_default`")),
    }
}

/// A list of one is as good as the one.
fn scalar(value: Value) -> Value {
    match value {
        Value::Array(mut items) if items.len() == 1 => items.pop().unwrap_or_default(),
        other => other,
    }
}

/// Predictions row by row, or an output a column.
#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Predictions {
    Predictions(Vec<Row>),
    Outputs(Columns),
}

/// The columns of the outputs: of a single one the list itself.
#[derive(Serialize)]
#[serde(untagged)]
enum Columns {
    Named { label: Vec<String>, scores: Vec<Vec<f32>> },
    Single(Vec<Row>),
}

async fn predict(served: &Arc<Served>, call: Call) -> Result<Response> {
    let mut fields = call.fields().await?;
    signature(&mut fields)?;
    fields.refuse(&["output_filter"], "is not obeyed: all outputs are answered")?;
    let columns = match (fields.take("instances"), fields.take("inputs")) {
        (Some(_), Some(_)) => {
            return Err(Problem::invalid("send `instances` or `inputs`, not both"));
        }
        (Some(instances), None) => {
            let items = list(instances, "instances")?.into_iter().enumerate();
            let texts = items.map(|(i, item)| instance(item, &format!("instances[{i}]")));
            (texts.collect::<Result<Vec<_>>>()?, false)
        }
        (None, Some(inputs)) => (column(inputs)?, true),
        (None, None) => return Err(Problem::invalid("`instances` or `inputs` is missing")),
    };
    let (texts, columnar) = columns;
    call.count(texts.len(), if columnar { "inputs" } else { "instances" })?;
    let options = Encode { truncate: call.app.limits.truncate, ..Encode::default() };
    let Asked { answers, usage } = rows(served, texts, options, call.caller).await?;
    let numbers = answers.iter().map(Row::size).sum();
    let predictions = match columnar {
        false => Predictions::Predictions(answers),
        true => Predictions::Outputs(columns_of(answers)),
    };
    Ok(with_usage(answer(predictions, numbers).await?, &usage))
}

/// `inputs`: a text, texts, or columns by name.
fn column(inputs: Value) -> Result<Vec<Text>> {
    match inputs {
        Value::Object(_) => {
            let mut fields = Fields::of(inputs, "inputs")?;
            let key = ["text", "TEXT", "input", "inputs"].into_iter();
            let texts = key.filter_map(|key| fields.take(key)).next();
            let texts = texts.ok_or_else(|| Problem::field("inputs", "has no field `text`"))?;
            let texts = flat(texts, "inputs.text")?;
            let pairs = fields.take("text_pair");
            fields.end(&["text", "text_pair"])?;
            let Some(pairs) = pairs else {
                return Ok(texts.into_iter().map(Text::Plain).collect());
            };
            let pairs = flat(pairs, "inputs.text_pair")?;
            if pairs.len() != texts.len() {
                let message = format!("has {} texts for {}", pairs.len(), texts.len());
                return Err(Problem::field("inputs.text_pair", message));
            }
            Ok(texts.into_iter().zip(pairs).map(|(a, b)| Text::Pair(a, b)).collect())
        }
        other => Ok(flat(other, "inputs")?.into_iter().map(Text::Plain).collect()),
    }
}

/// A text, texts, or lists of one text.
fn flat(value: Value, at: &str) -> Result<Vec<String>> {
    match value {
        Value::String(text) => Ok(vec![text]),
        other => {
            let items = list(other, at)?.into_iter().enumerate();
            items
                .map(|(i, item)| crate::json::string(scalar(item), &format!("{at}[{i}]")))
                .collect()
        }
    }
}

fn columns_of(rows: Vec<Row>) -> Columns {
    if !rows.iter().all(|row| matches!(row, Row::Label { .. })) {
        return Columns::Single(rows);
    }
    let split = rows.into_iter().filter_map(|row| match row {
        Row::Label { label, scores } => Some((label, scores)),
        _ => None,
    });
    let (label, scores) = split.unzip();
    Columns::Named { label, scores }
}

async fn classify(served: &Arc<Served>, call: Call) -> Result<Response> {
    let mut fields = call.fields().await?;
    signature(&mut fields)?;
    // The context's features stand for those that an example does not have.
    let context = fields.take("context");
    if let Some(other) = context.as_ref().filter(|context| !context.is_object()) {
        return Err(expected("context", "an object", other));
    }
    let examples = list(fields.required("examples")?, "examples")?;
    call.count(examples.len(), "examples")?;
    let shared =
        context.iter().flat_map(|context| context.as_object()).flat_map(|map| map.values());
    let bytes = shared.map(|value| value.to_string().len()).sum();
    check_copies(bytes, examples.len(), "context")?;
    let texts = examples.into_iter().enumerate().map(|(i, mut example)| {
        let at = format!("examples[{i}]");
        if let (Some(Value::Object(shared)), Value::Object(own)) = (&context, &mut example) {
            shared.iter().for_each(|(key, value)| {
                own.entry(key.clone()).or_insert_with(|| value.clone());
            });
        }
        match example {
            // Features that the model does not read are passed over, as TensorFlow Serving does.
            Value::Object(_) => self::example(&mut Fields::of(example, &at)?, &at),
            other => Err(expected(&at, "an object with `text`", &other)),
        }
    });
    let texts = texts.collect::<Result<Vec<_>>>()?;
    let options = Encode { truncate: call.app.limits.truncate, ..Encode::default() };
    let asked = served.classify(Question::new(texts, options, call.caller), Scores::Model).await?;
    let results = asked.answers.into_iter();
    let results: Vec<Vec<(String, f32)>> =
        results.map(|scores| scores.into_iter().map(|s| (s.label, s.score)).collect()).collect();
    let numbers = 10 * results.iter().map(Vec::len).sum::<usize>();
    #[derive(Serialize)]
    struct Results {
        results: Vec<Vec<(String, f32)>>,
    }
    Ok(with_usage(answer(Results { results }, numbers).await?, &asked.usage))
}
