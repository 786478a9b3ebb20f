//! TensorFlow Serving's REST paths: `/v1/models/{m}[/versions/{v}|/labels/{l}]`, with `:predict`,
//! `:classify` and `/metadata`.
//!
//! A model for embeddings has one output, `embedding`, so a prediction is the vector itself. A
//! classifier has `label` and `scores`, so a prediction is an object. TensorFlow Serving does the
//! same.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use gradus_models::pipelines::Score;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::openai;
use super::shared::rows::{Row, rows};
use crate::answer::{Computed, small_json};
use crate::app::App;
use crate::ask::{Asked, Scores};
use crate::call::Call;
use crate::error::{Kind, Problem, Result};
use crate::json::{self, Fields, expected, list};
use crate::pipeline::Task;
use crate::question::{Question, Text, check_copies};
use crate::registry::Version;
use crate::served::Served;

/// The paths. A colon is part of a path's last segment, so one route takes both the status and the
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
    let mut body = openai::described(&app, &model)?;
    if let Some(body) = body.as_object_mut() {
        body.insert("model_version_status".into(), Value::Array(status));
    }
    Ok(small_json(&body))
}

fn state(version: u64) -> Value {
    json!({
        "version": version.to_string(),
        "state": "AVAILABLE",
        "status": {"error_code": "OK", "error_message": ""},
    })
}

fn one(served: &Served) -> Response {
    small_json(&json!({"model_version_status": [state(served.version)]}))
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
        Task::Answer | Task::Generate => return Err(served.wrong_task("single texts")),
    };
    Ok(small_json(&json!({
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

async fn ask(Path(last): Path<String>, call: Call) -> Result<Computed> {
    let (model, verb) = verb(&last)?;
    let served = call.app.models.get(model, &Version::Default)?;
    question(&served, verb, call).await
}

async fn ask_version(Path((model, last)): Path<(String, String)>, call: Call) -> Result<Computed> {
    let (version, verb) = verb(&last)?;
    let served = call.app.models.get(&model, &Version::parse(version)?)?;
    question(&served, verb, call).await
}

async fn ask_label(Path((model, last)): Path<(String, String)>, call: Call) -> Result<Computed> {
    let (label, verb) = verb(&last)?;
    let served = call.app.models.get(&model, &Version::Label(label.to_string()))?;
    question(&served, verb, call).await
}

/// The methods of a path. The router does not know them, for it takes a verb as part of the name.
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
            "the path needs a verb after the model: `:predict` or `:classify`",
        )
    })
}

async fn question(served: &Arc<Served>, verb: &str, call: Call) -> Result<Computed> {
    match verb {
        "predict" => predict(served, call).await,
        "classify" => classify(served, call).await,
        "regress" => Err(Problem::invalid("no model here has a `regress` signature")),
        _ => {
            let verb: String = verb.chars().take(64).collect();
            Err(Problem::new(
                Kind::NotFound,
                format!("`:{verb}` is not a verb here; use :predict or :classify"),
            ))
        }
    }
}

/// Reads an instance: a text, `{"text": …}` that may have a `text_pair`, or a pair `[a, b]`.
fn instance(value: Value, at: &str) -> Result<Text> {
    match value {
        Value::String(text) => Ok(Text::Plain(text)),
        Value::Object(_) => {
            let mut fields = Fields::of(value, at)?;
            let text = example(&mut fields, at)?;
            // TensorFlow Serving refuses inputs that the signature does not have, too.
            fields.end(&["text", "text_pair"])?;
            Ok(text)
        }
        Value::Array(mut items) if items.len() == 1 => {
            instance(items.pop().unwrap_or_default(), &format!("{at}[0]"))
        }
        Value::Array(items) if items.len() == 2 => {
            let mut texts = json::strings(Value::Array(items), at)?;
            let pair = texts.pop().unwrap_or_default();
            Ok(Text::Pair(texts.pop().unwrap_or_default(), pair))
        }
        other => Err(expected(at, "a text, an object with `text`, or a pair", &other)),
    }
}

/// Reads the text, or the pair of texts, of an object.
fn example(fields: &mut Fields, at: &str) -> Result<Text> {
    let text = ["text", "TEXT", "input", "inputs"].iter().find_map(|key| fields.take(key));
    let text = text.ok_or_else(|| Problem::field(at, "has no field `text`"))?;
    let text = json::string(scalar(text), &format!("{at}.text"))?;
    match fields.take("text_pair") {
        None => Ok(Text::Plain(text)),
        Some(pair) => {
            let pair = json::string(scalar(pair), &format!("{at}.text_pair"))?;
            Ok(Text::Pair(text, pair))
        }
    }
}

/// Checks `signature_name`: there is one signature.
fn signature(fields: &mut Fields) -> Result<()> {
    match fields.string("signature_name")?.as_deref() {
        None | Some("" | "serving_default") => Ok(()),
        Some(_) => Err(Problem::field("signature_name", "must be `serving_default`")),
    }
}

/// The value, or the only item of a list.
fn scalar(value: Value) -> Value {
    match value {
        Value::Array(mut items) if items.len() == 1 => items.pop().unwrap_or_default(),
        other => other,
    }
}

/// Predictions row by row, or one column per output.
#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Predictions {
    Predictions(Vec<Row>),
    Outputs(Columns),
}

/// The columns of the outputs. A single output is the list itself.
#[derive(Serialize)]
#[serde(untagged)]
enum Columns {
    Named { label: Vec<String>, scores: Vec<Vec<f32>> },
    Single(Vec<Row>),
}

async fn predict(served: &Arc<Served>, call: Call) -> Result<Computed> {
    let mut fields = call.fields().await?;
    signature(&mut fields)?;
    fields.refuse(&["output_filter"], "is not obeyed: an answer has all outputs")?;
    let (texts, columnar) = match (fields.take("instances"), fields.take("inputs")) {
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
    call.count(texts.len(), if columnar { "inputs" } else { "instances" })?;
    let Asked { answers, usage } = rows(served, texts, &call).await?;
    let numbers = answers.iter().map(Row::size).sum();
    let predictions = match columnar {
        false => Predictions::Predictions(answers),
        true => Predictions::Outputs(columns_of(answers)),
    };
    Computed::json(predictions, numbers, usage).await
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
            items.map(|(i, item)| json::string(scalar(item), &format!("{at}[{i}]"))).collect()
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

/// Labels with scores, for each example.
#[derive(Serialize)]
struct Results {
    results: Vec<Vec<(String, f32)>>,
}

async fn classify(served: &Arc<Served>, call: Call) -> Result<Computed> {
    let mut fields = call.fields().await?;
    signature(&mut fields)?;
    let context = fields.take("context");
    let examples = list(fields.required("examples")?, "examples")?;
    call.count(examples.len(), "examples")?;
    let context = shared_features(context, examples.len())?;
    let examples = examples.into_iter().enumerate();
    let texts = examples.map(|(i, value)| with_context(value, &context, &format!("examples[{i}]")));
    let texts = texts.collect::<Result<Vec<_>>>()?;
    let question = Question::new(texts, call.default_options(), call.caller);
    let asked = served.classify(question, Scores::Model).await?;
    let pairs = |scores: Vec<Score>| scores.into_iter().map(|s| (s.label, s.score)).collect();
    let results: Vec<Vec<(String, f32)>> = asked.answers.into_iter().map(pairs).collect();
    let numbers = 10 * results.iter().map(Vec::len).sum::<usize>();
    Computed::json(Results { results }, numbers, asked.usage).await
}

/// The features of `context`, which are copied into each example.
fn shared_features(context: Option<Value>, examples: usize) -> Result<Map<String, Value>> {
    let features = match context {
        None => Map::new(),
        Some(Value::Object(features)) => features,
        Some(other) => return Err(expected("context", "an object", &other)),
    };
    let bytes = features.values().map(|value| value.to_string().len()).sum();
    check_copies(bytes, examples, "context")?;
    Ok(features)
}

/// Reads an example. It takes the features that it lacks from the context.
fn with_context(value: Value, context: &Map<String, Value>, at: &str) -> Result<Text> {
    let Value::Object(mut own) = value else {
        return Err(expected(at, "an object with `text`", &value));
    };
    for (key, value) in context {
        own.entry(key.clone()).or_insert_with(|| value.clone());
    }
    // Features that the model does not read are ignored, as in TensorFlow Serving.
    example(&mut Fields::of(Value::Object(own), at)?, at)
}
