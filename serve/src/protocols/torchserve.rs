//! TorchServe: `/predictions/{m}[/{v}]`, `/ping`, and management under `/models`.
//!
//! A body is a raw text, a form with the text in `data`, `body` or `text`, or JSON: a text, a list
//! of texts, or an object with `data`, `text`, `inputs` or `instances`. A single input is answered
//! by itself, several in a list. A classifier answers `{label: probability}`, as TorchServe's text
//! classifier does.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Value, json};

use super::manage;
use super::values::{Row, rows};
use crate::app::App;
use crate::ask::{Encode, Text};
use crate::call::{Call, answer, small, with_usage};
use crate::error::{Kind, Problem, Result};
use crate::json::{self, Fields, expected};
use crate::media::{Media, Part, urlencoded};
use crate::registry::{Served, Version, no_model};

/// The paths.
pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/ping", get(ping))
        .route("/predictions/{model}", post(predict).put(predict))
        .route("/predictions/{model}/{version}", post(predict_version).put(predict_version))
        .route("/models", get(list).post(register))
        .route(
            "/models/{model}",
            get(describe).put(scale).delete(unregister).post(super::hf::named),
        )
        .route(
            "/models/{model}/{version}",
            get(describe_version)
                .put(scale_version)
                .delete(unregister_version)
                .post(super::hf::named_of_hub),
        )
        .route("/models/{model}/{version}/set-default", put(set_default))
}

/// `{"code","type","message"}`.
pub fn error(problem: &Problem) -> (StatusCode, Value) {
    let status = problem.kind.status();
    let name = match problem.kind {
        Kind::NoModel => "ModelNotFoundException",
        Kind::NoVersion => "ModelVersionNotFoundException",
        Kind::NotFound => "ResourceNotFoundException",
        Kind::Method => "MethodNotAllowedException",
        Kind::Conflict => "ConflictStatusException",
        Kind::Overloaded | Kind::Unavailable => "ServiceUnavailableException",
        Kind::Timeout | Kind::SlowRequest => "RequestTimeoutException",
        Kind::Unauthorized => "InvalidKeyException",
        Kind::Forbidden => "ForbiddenException",
        Kind::TooLarge => "TooLargeRequestException",
        Kind::Internal => "InternalServerException",
        Kind::Invalid | Kind::Empty | Kind::TooLong | Kind::MediaType | Kind::WrongTask => {
            "BadRequestException"
        }
    };
    (status, json!({"code": status.as_u16(), "type": name, "message": problem.message}))
}

async fn ping(State(app): State<Arc<App>>) -> Response {
    match app.ready() {
        true => small(&json!({"status": "Healthy"})),
        false => {
            let unhealthy = small(&json!({"status": "Unhealthy"}));
            (StatusCode::SERVICE_UNAVAILABLE, unhealthy).into_response()
        }
    }
}

/// A row as TorchServe's handlers answer it.
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

async fn predict(Path(model): Path<String>, call: Call) -> Result<Response> {
    let served = call.app.models.get(&model, &Version::Default)?;
    predicted(served, call).await
}

async fn predict_version(
    Path((model, version)): Path<(String, String)>,
    call: Call,
) -> Result<Response> {
    let served = of_version(&call.app, &model, &version)?;
    predicted(served, call).await
}

/// A version of a model. What is neither may be a name of two parts that no model has.
fn of_version(app: &App, model: &str, version: &str) -> Result<Arc<Served>> {
    match Version::parse(version) {
        Ok(version) => app.models.get(model, &version),
        Err(_) if !app.models.knows(model) => Err(no_model(&format!("{model}/{version}"))),
        Err(problem) => Err(problem),
    }
}

async fn predicted(served: Arc<Served>, call: Call) -> Result<Response> {
    let (texts, single) = inputs(&call).await?;
    call.count(texts.len(), "data")?;
    let options = Encode { truncate: call.app.limits.truncate, ..Encode::default() };
    let asked = rows(&served, texts, options, call.caller).await?;
    let numbers = asked.answers.iter().map(Row::size).sum();
    let mut handled = asked.answers.into_iter().map(|row| Handled(row, Arc::clone(&served)));
    let response = match (single, handled.next()) {
        (true, Some(one)) => answer(one, numbers).await?,
        (_, first) => answer(first.into_iter().chain(handled).collect::<Vec<_>>(), numbers).await?,
    };
    Ok(with_usage(response, &asked.usage))
}

/// The inputs of a prediction, and whether there is one by itself.
async fn inputs(call: &Call) -> Result<(Vec<Text>, bool)> {
    if call.body.is_empty() {
        return Err(Problem::new(Kind::Empty, "the body is empty; send a text, or JSON"));
    }
    let media = Media::of(&call.headers);
    if media.has_parts() {
        return of_parts(media.parts(call.body.clone()).await?);
    }
    if media.is("application/json") {
        return from_json(call.json().await?, "data");
    }
    let text = media.text(&call.body)?;
    // curl calls everything a form unless told otherwise, so a form is known by the name of its
    // first field, and what parses as an object or a list is JSON.
    let form = media.is("application/x-www-form-urlencoded");
    if form && ["data=", "body=", "text=", "text_pair="].iter().any(|name| text.starts_with(name)) {
        return of_form(urlencoded(&text)?);
    }
    let looks = text.trim_start().starts_with(['{', '[']);
    match looks.then(|| json::parse(text.as_bytes())) {
        Some(Ok(value)) => from_json(value, "data"),
        Some(Err(problem)) if text.trim_start().starts_with("{\"") => Err(problem),
        _ => Ok((vec![Text::Plain(text.into_owned())], true)),
    }
}

/// A form in parts: that of `requests.post(url, files={"data": …})`. A part may be JSON if it says
/// so.
fn of_parts(parts: Vec<Part>) -> Result<(Vec<Text>, bool)> {
    let json = |part: &&Part| part.media.is("application/json");
    if let [part] = &parts[..]
        && json(&part)
    {
        return from_json(json::parse(&part.body)?, "data");
    }
    if let Some(part) = parts.iter().find(json) {
        let name: String = part.name.chars().take(64).collect();
        return Err(Problem::field(&name, "is JSON, and there are other parts; send it alone"));
    }
    let pairs =
        parts.into_iter().map(|part| Ok((part.name, part.media.text(&part.body)?.into_owned())));
    of_form(pairs.collect::<Result<_>>()?)
}

/// A form: the text in `data`, `body` or `text`, the second one of a pair in `text_pair`. A text
/// whose beginning looks like a form must not lose its end, so other fields are refused.
fn of_form(pairs: Vec<(String, String)>) -> Result<(Vec<Text>, bool)> {
    let (mut text, mut second) = (None, None);
    for (name, value) in pairs {
        let shown: String = name.chars().take(64).collect();
        let place = match name.as_str() {
            "data" | "body" | "text" => &mut text,
            "text_pair" => &mut second,
            _ => {
                let message =
                    "is no field of a form here; there are data (or body, text) and text_pair";
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
            Ok((vec![of_fields(fields, "text")?], true))
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
            of_fields(fields, &format!("{at}.text"))
        }
        other => Err(expected(at, "a text, or an object with `text`", &other)),
    }
}

fn of_fields(mut fields: Fields, at: &str) -> Result<Text> {
    let text = fields.string("text")?.or(fields.string("body")?);
    let text = text.ok_or_else(|| Problem::field(at, "is missing; send a text"))?;
    match fields.string("text_pair")? {
        Some(pair) => Ok(Text::Pair(text, pair)),
        None => Ok(Text::Plain(text)),
    }
}

async fn list(call: Call) -> Result<Response> {
    let number = |name: &str, default: usize| match call.query(name) {
        None => Ok(default),
        Some(text) => text
            .parse::<usize>()
            .map_err(|_| Problem::field(name, "must be a whole number, not negative")),
    };
    let (limit, start) = (number("limit", 100)?, number("next_page_token", 0)?);
    if limit == 0 {
        return Err(Problem::field("limit", "is 0; it must be 1 or more"));
    }
    let all = call.app.models.list();
    let page: Vec<Value> = all
        .iter()
        .skip(start)
        .take(limit)
        .map(|l| json!({"modelName": l.name, "modelUrl": l.origin(call.app.store.as_deref())}))
        .collect();
    let mut body = json!({"models": page});
    let next = start.saturating_add(limit);
    if let Some(map) = body.as_object_mut().filter(|_| next < all.len()) {
        map.insert("nextPageToken".into(), next.to_string().into());
    }
    Ok(small(&body))
}

fn described(app: &App, served: &Served, default: bool) -> Value {
    let load = served.scheduler.load();
    let options = app.models.options();
    let started = served.loaded.duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs();
    let workers: Vec<Value> = (0..load.workers)
        .map(|i| json!({"id": (9000 + i).to_string(), "startTime": started.to_string(), "status": "READY", "gpu": false}))
        .collect();
    json!({
        "modelName": served.name,
        "modelVersion": format!("{}.0", served.version),
        "modelUrl": served.origin(app.store.as_deref()),
        "runtime": "gradus",
        "minWorkers": load.workers,
        "maxWorkers": load.workers,
        "batchSize": app.limits.inputs,
        "maxBatchDelay": options.max_delay.as_millis() as u64,
        "loadedAtStartup": true,
        "defaultVersion": default,
        "workers": workers,
        "jobQueueStatus": {
            "remainingCapacity": options.max_queue.saturating_sub(load.requests),
            "pendingRequests": load.requests,
        },
    })
}

async fn describe(State(app): State<Arc<App>>, Path(model): Path<String>) -> Result<Response> {
    let served = app.models.get(&model, &Version::Default)?;
    Ok(small(&json!([described(&app, &served, true)])))
}

async fn describe_version(
    State(app): State<Arc<App>>,
    Path((model, version)): Path<(String, String)>,
) -> Result<Response> {
    let of = |served: &Arc<Served>, default| described(&app, served, served.version == default);
    if version == "all" {
        let listed = app.models.versions(&model)?;
        let all = listed.versions.iter().map(|served| of(served, listed.default));
        return Ok(small(&Value::Array(all.collect())));
    }
    let served = of_version(&app, &model, &version)?;
    let default = app.models.versions(&model)?.default;
    Ok(small(&json!([of(&served, default)])))
}

/// The number of workers that a query asks for.
fn workers(call: &Call, name: &str) -> Result<Option<usize>> {
    let Some(text) = call.query(name) else { return Ok(None) };
    let most = 64;
    match text.parse::<usize>() {
        Ok(count) if (1..=most).contains(&count) => Ok(Some(count)),
        _ => Err(Problem::field(name, format!("must be from 1 to {most}"))),
    }
}

fn status(message: String, synchronous: bool) -> Response {
    let code = if synchronous { StatusCode::OK } else { StatusCode::ACCEPTED };
    (code, small(&json!({"status": message}))).into_response()
}

fn synchronous(call: &Call) -> Result<bool> {
    match call.query("synchronous").map(|v| v.to_ascii_lowercase()).as_deref() {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(Problem::field("synchronous", "must be `true` or `false`")),
    }
}

/// Registering is always done when the answer comes, so that a failure is never silent.
async fn register(call: Call) -> Result<Response> {
    manage::allowed(&call)?;
    let folder = call
        .query("url")
        .ok_or_else(|| Problem::field("url", "is missing; name a folder of the store"))?;
    let last = folder.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_string();
    let name = call.query("model_name").unwrap_or(last);
    call.refuse_query(
        &["handler", "runtime"],
        "is not chosen here: the model's folder says what it is",
    )?;
    let why = "is the server's, for all models: --max-batch-tokens, --max-delay, --timeout";
    call.refuse_query(
        &["batch_size", "max_batch_delay", "response_timeout", "startup_timeout"],
        why,
    )?;
    call.refuse_query(&["s3_sse_kms"], "is for models from S3; these come from --model-store")?;
    synchronous(&call)?;
    let count = workers(&call, "initial_workers")?;
    let versions = manage::register(&call.app, &name, &folder).await?;
    for &version in &versions {
        if let (Some(count), Ok(served)) =
            (count, call.app.models.get(&name, &Version::Number(version)))
        {
            served.scheduler.set_workers(count);
        }
    }
    let version = versions.last().copied().unwrap_or(1);
    let served = call.app.models.get(&name, &Version::Number(version))?;
    let count = served.scheduler.load().workers;
    let message =
        format!("Model \"{name}\" Version: {version}.0 registered with {count} initial workers");
    Ok(status(message, true))
}

async fn scale(Path(model): Path<String>, call: Call) -> Result<Response> {
    manage::allowed(&call)?;
    let served = call.app.models.get(&model, &Version::Default)?;
    scaled(&served, &call)
}

async fn scale_version(
    Path((model, version)): Path<(String, String)>,
    call: Call,
) -> Result<Response> {
    manage::allowed(&call)?;
    let served = of_version(&call.app, &model, &version)?;
    scaled(&served, &call)
}

fn scaled(served: &Served, call: &Call) -> Result<Response> {
    let least = workers(call, "min_worker")?;
    let most = workers(call, "max_worker")?;
    if let (Some(least), Some(most)) = (least, most)
        && least > most
    {
        return Err(Problem::field("min_worker", format!("is {least}, and max_worker is {most}")));
    }
    let count = least.or(most).unwrap_or(1);
    call.refuse_query(&["number_gpu"], "is not counted here: --device says where models compute")?;
    let synchronous = synchronous(call)?;
    served.scheduler.set_workers(count);
    let message = match synchronous {
        true => format!("Workers scaled to {count} for model: {}", served.name),
        false => "Processing worker updates...".into(),
    };
    Ok(status(message, synchronous))
}

async fn set_default(
    Path((model, version)): Path<(String, String)>,
    call: Call,
) -> Result<Response> {
    manage::allowed(&call)?;
    let served = of_version(&call.app, &model, &version)?;
    call.app.models.set_default(&model, served.version)?;
    let message = format!(
        "Default version successfully updated for model \"{model}\" to \"{}.0\"",
        served.version
    );
    Ok(status(message, true))
}

async fn unregister(Path(model): Path<String>, call: Call) -> Result<Response> {
    manage::allowed(&call)?;
    manage::unload(&call.app, &model, None)?;
    Ok(status(format!("Model \"{model}\" unregistered"), true))
}

async fn unregister_version(
    Path((model, version)): Path<(String, String)>,
    call: Call,
) -> Result<Response> {
    manage::allowed(&call)?;
    let number = of_version(&call.app, &model, &version)?.version;
    manage::unload(&call.app, &model, Some(number))?;
    Ok(status(format!("Model \"{model}\" unregistered"), true))
}
