//! Paths of no other server: `GET /describe` lists the models, `POST /attention` shows what the
//! tokens of a text attend to, and `POST /trace` what a model does with a text. The page at `/` uses
//! all.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use gradus_models::Encoding;
use gradus_models::tokenizer::char_offsets;
use serde::Serialize;
use serde_json::{Value, json};

use super::shared::texts::plain;
use super::shared::{model, options, token};
use super::trace;
use crate::answer::{Computed, small_json};
use crate::app::App;
use crate::ask::MAX_ATTENTION;
use crate::call::Call;
use crate::error::{Kind, Problem, Result};
use crate::json::{Fields, expected, string};
use crate::pipeline::{Pipeline, View};
use crate::question::{Question, Text};
use crate::served::Served;

/// The fields of a question about attention.
const FIELDS: [&str; 7] =
    ["inputs", "model", "layer", "head", "truncate", "truncation_direction", "prompt_name"];

/// The paths.
pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/describe", get(describe))
        .route("/attention", post(attention))
        .route("/trace", post(trace::trace))
}

async fn describe(State(app): State<Arc<App>>) -> Response {
    let described = |served: &Arc<Served>| {
        let (pipeline, config) = (served.pipeline(), served.pipeline().config());
        json!({
            "name": served.name,
            "version": served.version.to_string(),
            "task": served.task().name(),
            "layers": config.num_hidden_layers,
            "heads": config.num_attention_heads,
            "hidden": config.hidden_size,
            "vocabulary": config.vocab_size,
            "max_length": pipeline.max_length(),
            "labels": pipeline.labels().len(),
            "mask": match pipeline {
                Pipeline::FillMask(p) => Some(p.mask()),
                _ => None,
            },
        })
    };
    let models: Vec<Value> = app
        .models
        .list()
        .iter()
        .filter_map(|listed| listed.versions.iter().find(|s| s.version == listed.default))
        .map(described)
        .collect();
    small_json(&json!({
        "models": models,
        "most_attention": MAX_ATTENTION,
        "metrics": !app.separate_metrics,
        "traces": app.access.traces,
        "version": env!("CARGO_PKG_VERSION"),
    }))
}

/// A token of a text, or of a pair.
#[derive(Serialize)]
struct Token {
    #[serde(flatten)]
    token: token::Token,
    /// 0, or 1 in the second text of a pair.
    segment: u32,
}

#[derive(Serialize)]
struct Attention {
    model: String,
    version: String,
    tokens: Vec<Token>,
    /// Whether the text was cut.
    truncated: bool,
    /// The layers of `attention`.
    layers: Vec<usize>,
    /// The heads of `attention`.
    heads: Vec<usize>,
    /// By layer, head and token: how much the token attends to each token.
    attention: Vec<Vec<Vec<Vec<f32>>>>,
}

/// A text, or a pair in a list.
pub(super) fn text(value: Value) -> Result<Text> {
    match value {
        Value::String(text) => plain(text, "inputs"),
        Value::Array(items) if items.len() == 2 => {
            let mut items = items.into_iter();
            let mut next = |at: &str| string(items.next().unwrap_or_default(), at);
            Ok(Text::Pair(next("inputs[0]")?, next("inputs[1]")?))
        }
        other => Err(expected("inputs", "a text, or a pair in a list", &other)),
    }
}

/// The tokens with their places in characters. Each segment has its own text.
fn tokens(texts: [&str; 2], encoding: Encoding) -> Vec<Token> {
    let places = texts.map(|text| char_offsets(text, &encoding.offsets));
    let all = encoding.ids.into_iter().zip(encoding.tokens).enumerate();
    all.map(|(i, (id, text))| {
        let (segment, special) = (encoding.type_ids[i], encoding.special[i]);
        let place = places[usize::from(segment == 1)][i];
        Token { token: token::Token::new(id, text, special, place), segment }
    })
    .collect()
}

/// Five decimals make the answer half as long, and rows still sum to 1 to the eye.
fn rounded(x: f32) -> f32 {
    (f64::from(x) * 1e5).round() as f32 / 1e5
}

async fn attention(call: Call) -> Result<Computed> {
    let mut fields: Fields = call.fields().await?;
    let served = model::any(&call, &mut fields)?;
    let options = options::encoding(&call, &mut fields)?;
    let view = View { layer: fields.count("layer")?, head: fields.count("head")? };
    let text = text(fields.required("inputs")?)?;
    fields.end(&FIELDS)?;
    let second = match &text {
        Text::Pair(_, second) => second.clone(),
        _ => String::new(),
    };
    let asked = served.attention(Question::new(vec![text], options, call.caller), view).await?;
    let attended = asked.answers.into_iter().next();
    let attended = attended
        .ok_or_else(|| Problem::new(Kind::Internal, "the model gave no answer, which is a bug"))?;
    let count = attended.encoding.len();
    let numbers = attended.heads.iter().flatten().map(Vec::len).sum();
    let config = served.pipeline().config();
    let rows = |head: Vec<f32>| -> Vec<Vec<f32>> {
        head.chunks(count).map(|row| row.iter().copied().map(rounded).collect()).collect()
    };
    let body = Attention {
        model: served.name.clone(),
        version: served.version.to_string(),
        truncated: attended.encoding.truncated,
        layers: view.layers(config.num_hidden_layers).collect(),
        heads: view.heads(config.num_attention_heads).collect(),
        tokens: tokens([&attended.text, &second], attended.encoding),
        attention: attended
            .heads
            .into_iter()
            .map(|layer| layer.into_iter().map(rows).collect())
            .collect(),
    };
    Computed::json(body, numbers, asked.usage).await
}
