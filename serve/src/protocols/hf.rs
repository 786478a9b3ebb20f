//! The shapes of Hugging Face's pipelines, for `InferenceClient`: `POST /` for the first model,
//! `POST /models/{model}` for one by name.
//!
//! `{"inputs": …, "parameters": {…}}`: text classification is nested (`[[{"label","score"}]]`, of
//! which the client takes the first), fill-mask a list of
//! `{"score","token","token_str","sequence"}` (a list a mask where there are several), feature
//! extraction a vector a text, sentence similarity a list of numbers, token classification a list
//! of words or spans.

use std::sync::Arc;

use axum::Router;
use axum::extract::Path;
use axum::response::Response;
use axum::routing::post;
use gradus_models::pipelines::{ClassificationFunction, Fill, Tag, WordLabel, groups};
use serde::Serialize;
use serde_json::Value;

use super::tei;
use super::values::FILLS;
use crate::app::App;
use crate::ask::{Encode, Question, Scores, Text, offload};
use crate::call::{Call, answer, with_usage};
use crate::error::{Problem, Result};
use crate::json::{Fields, expected, string, strings};
use crate::pipeline::Task;
use crate::registry::{Served, Version, no_model};

/// The paths; `/models/{model}` stands with TorchServe's, which has other methods there.
pub fn routes() -> Router<Arc<App>> {
    Router::new().route("/", post(first))
}

async fn first(call: Call) -> Result<Response> {
    let mut fields = call.fields().await?;
    let served = tei::named_or_any(&call, &mut fields)?;
    pipeline(served, call, fields).await
}

/// `POST /models/{model}`.
pub async fn named(Path(model): Path<String>, call: Call) -> Result<Response> {
    let served = call.app.models.get(&model, &Version::Default)?;
    let fields = call.fields().await?;
    pipeline(served, call, fields).await
}

/// `POST /models/{organisation}/{model}`, where no model has such a name: those that are known come
/// as one part.
pub async fn named_of_hub(Path((organisation, model)): Path<(String, String)>) -> Problem {
    no_model(&format!("{organisation}/{model}"))
}

/// How logits become scores.
pub const FUNCTIONS: [&str; 3] = ["none", "softmax", "sigmoid"];
/// How words are labelled and grouped: `none` leaves them single; `simple` is here what `first` is,
/// for a word has one label.
pub const STRATEGIES: [&str; 5] = ["none", "simple", "first", "average", "max"];

/// The parameters that a model of a task takes. Others are refused, as `transformers` refuses them.
pub fn parameters(task: Task) -> &'static [&'static str] {
    match task {
        Task::Embed => {
            &["normalize", "dimensions", "prompt_name", "truncate", "truncation_direction"]
        }
        Task::Classify => &["function_to_apply", "top_k", "truncate", "truncation_direction"],
        Task::FillMask => &["top_k", "targets", "truncate", "truncation_direction"],
        Task::Tag => &["aggregation_strategy", "ignore_labels", "truncate", "truncation_direction"],
    }
}

/// A question to a pipeline.
struct Ask {
    served: Arc<Served>,
    call: Call,
    inputs: Value,
    parameters: Fields,
    options: Encode,
}

impl Ask {
    /// Refuses the parameters that are left.
    fn end(&mut self) -> Result<()> {
        std::mem::take(&mut self.parameters).end(parameters(self.served.task()))
    }
}

async fn pipeline(served: Arc<Served>, call: Call, mut fields: Fields) -> Result<Response> {
    let mut parameters = fields.object("parameters")?;
    let inputs = fields.required("inputs")?;
    // A task's options may stand beside the inputs too, as text-embeddings-inference has them.
    for key in self::parameters(served.task()) {
        let Some(value) = fields.take(key) else { continue };
        if parameters.has(key) {
            return Err(Problem::field(key, "stands in `parameters` too; send it once"));
        }
        parameters.put(key, value);
    }
    let options = Encode {
        prompt: match served.task() {
            Task::Embed => parameters.string("prompt_name")?,
            _ => None,
        },
        ..tei::truncation(&call, &mut parameters)?
    };
    parameters.refuse(&["stride"], "asks for parts of a long text; texts are cut here")?;
    let ask = Ask { served, call, inputs, parameters, options };
    match ask.served.task() {
        Task::Embed if ask.inputs.is_object() => similarity(ask).await,
        Task::Embed => embed(ask).await,
        Task::Classify => classify(ask).await,
        Task::FillMask => fill_mask(ask).await,
        Task::Tag => tag(ask).await,
    }
}

async fn embed(mut ask: Ask) -> Result<Response> {
    let normalize = ask.parameters.bool("normalize")?.unwrap_or(true);
    let dimensions = ask.parameters.count("dimensions")?;
    ask.end()?;
    let Ask { served, call, inputs, options, .. } = ask;
    let texts = tei::inputs(&call, inputs, "inputs")?;
    call.count(texts.len(), "inputs")?;
    let question = Question::new(texts, options, call.caller);
    let asked = served.embed(question, normalize, dimensions).await?;
    let numbers = asked.answers.iter().map(Vec::len).sum();
    Ok(with_usage(answer(asked.answers, numbers).await?, &asked.usage))
}

async fn similarity(mut ask: Ask) -> Result<Response> {
    // The cosine is of vectors of length 1, whole ones.
    ask.parameters.take("normalize");
    ask.parameters
        .refuse(&["dimensions"], "is of single vectors; similarities are of whole ones")?;
    ask.end()?;
    let Ask { served, call, inputs, options, .. } = ask;
    tei::similarities(&call, &served, inputs, options).await
}

/// A text, or `{"text", "text_pair"}`.
fn text(value: Value, at: &str) -> Result<Text> {
    match value {
        Value::String(text) => Ok(Text::Plain(text)),
        Value::Object(_) => {
            let mut fields = Fields::of(value, at)?;
            let text = string(fields.required("text")?, &fields.at("text"))?;
            match fields.string("text_pair")? {
                Some(pair) => Ok(Text::Pair(text, pair)),
                None => Ok(Text::Plain(text)),
            }
        }
        other => Err(expected(at, "a text, or an object with `text`", &other)),
    }
}

/// Texts, and whether there is one by itself.
fn texts(inputs: Value) -> Result<(Vec<Text>, bool)> {
    match inputs {
        Value::Array(items) => {
            let items = items.into_iter().enumerate();
            let texts = items.map(|(i, item)| text(item, &format!("inputs[{i}]")));
            Ok((texts.collect::<Result<_>>()?, false))
        }
        other => Ok((vec![text(other, "inputs")?], true)),
    }
}

/// A parameter that is one of some words, in capitals or not.
fn one_of(parameters: &mut Fields, key: &str, words: &[&str]) -> Result<Option<String>> {
    match parameters.string(key)?.map(|word| word.to_lowercase()) {
        Some(word) if !words.contains(&word.as_str()) => {
            let message = format!("must be one of {}", words.join(", "));
            Err(Problem::field(&parameters.at(key), message))
        }
        word => Ok(word),
    }
}

/// How many answers are wanted, at least one.
fn top_k(parameters: &mut Fields) -> Result<Option<usize>> {
    match parameters.count("top_k")? {
        Some(0) => Err(Problem::field(&parameters.at("top_k"), "is 0; it must be 1 or more")),
        count => Ok(count),
    }
}

async fn classify(mut ask: Ask) -> Result<Response> {
    let scores = match one_of(&mut ask.parameters, "function_to_apply", &FUNCTIONS)?.as_deref() {
        Some("none") => Scores::By(ClassificationFunction::None),
        Some("softmax") => Scores::By(ClassificationFunction::Softmax),
        Some("sigmoid") => Scores::By(ClassificationFunction::Sigmoid),
        _ => Scores::Model,
    };
    let top_k = top_k(&mut ask.parameters)?.unwrap_or(usize::MAX);
    ask.end()?;
    let Ask { served, call, inputs, options, .. } = ask;
    let (texts, _) = texts(inputs)?;
    call.count(texts.len(), "inputs")?;
    let asked = served.classify(Question::new(texts, options, call.caller), scores).await?;
    let mut answers = asked.answers;
    answers.iter_mut().for_each(|labels| labels.truncate(top_k));
    let numbers = 10 * answers.iter().map(Vec::len).sum::<usize>();
    Ok(with_usage(answer(answers, numbers).await?, &asked.usage))
}

/// A word for a mask.
#[derive(Serialize)]
struct Filled {
    score: f32,
    token: u32,
    token_str: String,
    sequence: String,
}

impl From<Fill> for Filled {
    fn from(fill: Fill) -> Filled {
        Filled { score: fill.score, token: fill.id, token_str: fill.token, sequence: fill.sequence }
    }
}

/// A list a mask; of a single mask the list itself.
#[derive(Serialize)]
#[serde(untagged)]
enum Masks {
    One(Vec<Filled>),
    Several(Vec<Vec<Filled>>),
}

impl From<Vec<Vec<Fill>>> for Masks {
    fn from(masks: Vec<Vec<Fill>>) -> Masks {
        let mut masks: Vec<Vec<Filled>> =
            masks.into_iter().map(|fills| fills.into_iter().map(Filled::from).collect()).collect();
        match masks.len() {
            1 => Masks::One(masks.pop().unwrap_or_default()),
            _ => Masks::Several(masks),
        }
    }
}

/// The ids of the words that alone may stand for a mask.
async fn targets(ask: &mut Ask) -> Result<Option<Arc<[u32]>>> {
    let at = ask.parameters.at("targets");
    let words = match ask.parameters.take("targets") {
        None => return Ok(None),
        Some(Value::String(word)) => vec![word],
        Some(other) => strings(other, &at)?,
    };
    ask.call.count(words.len(), &at)?;
    let served = Arc::clone(&ask.served);
    let bytes = words.iter().map(String::len).sum();
    offload(bytes, move || {
        let mut ids = Vec::new();
        for (i, word) in words.iter().enumerate() {
            let id = token(&served, word, &format!("{at}[{i}]"))?;
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        Ok(Some(ids.into()))
    })
    .await
}

/// The id of a word that is a single token.
fn token(served: &Served, word: &str, at: &str) -> Result<u32> {
    let tokenizer = served.pipeline().tokenizer();
    // As the vocabulary spells it, or as a text would.
    let encoded = || {
        // A token more than is right, and the special ones.
        let encoding = tokenizer.encode(word, None, 4).ok()?;
        let tokens = encoding.ids.iter().zip(&encoding.special);
        let own: Vec<u32> = tokens.filter(|(_, special)| !**special).map(|(&id, _)| id).collect();
        <[u32; 1]>::try_from(own).ok().map(|[id]| id)
    };
    let known = tokenizer.id(word).or_else(encoded).filter(|&id| Some(id) != tokenizer.unk_id());
    known.ok_or_else(|| {
        let word: String = word.chars().take(64).collect();
        let message = format!("`{word}` is no single token of the model `{}`", served.name);
        Problem::field(at, message)
    })
}

async fn fill_mask(mut ask: Ask) -> Result<Response> {
    let top_k = top_k(&mut ask.parameters)?.unwrap_or(FILLS);
    let targets = targets(&mut ask).await?;
    ask.end()?;
    let Ask { served, call, inputs, options, .. } = ask;
    let (texts, single) = texts(inputs)?;
    call.count(texts.len(), "inputs")?;
    let question = Question::new(texts, options, call.caller);
    let asked = served.fill_mask(question, top_k, targets).await?;
    let numbers = 20 * asked.answers.iter().flatten().map(Vec::len).sum::<usize>();
    let mut answers = asked.answers.into_iter().map(Masks::from);
    let response = match (single, answers.next()) {
        (true, Some(one)) => answer(one, numbers).await?,
        (_, first) => answer(first.into_iter().chain(answers).collect::<Vec<_>>(), numbers).await?,
    };
    Ok(with_usage(response, &asked.usage))
}

/// A word by itself, or a span.
#[derive(Serialize)]
#[serde(untagged)]
enum Tagged {
    Word { entity: String, score: f32, index: usize, word: String, start: usize, end: usize },
    Span { entity_group: String, score: f32, word: String, start: usize, end: usize },
}

async fn tag(mut ask: Ask) -> Result<Response> {
    let strategy = one_of(&mut ask.parameters, "aggregation_strategy", &STRATEGIES)?;
    // InferenceClient's default is `simple`.
    let group = strategy.as_deref() != Some("none");
    let label = match strategy.as_deref() {
        Some("average") => WordLabel::Average,
        Some("max") => WordLabel::Max,
        _ => WordLabel::First,
    };
    let ignored = match ask.parameters.take("ignore_labels") {
        None => vec!["O".to_string()],
        Some(labels) => strings(labels, &ask.parameters.at("ignore_labels"))?,
    };
    ask.end()?;
    let Ask { served, call, inputs, options, .. } = ask;
    let (texts, single) = texts(inputs)?;
    call.count(texts.len(), "inputs")?;
    let plain: Vec<String> = texts
        .iter()
        .map(|text| match text {
            Text::Plain(text) | Text::Pair(text, _) => text.clone(),
            Text::Ids(_) => String::new(),
        })
        .collect();
    let asked = served.tag(Question::new(texts, options, call.caller), label).await?;
    let kept = |tag: &Tag| !ignored.contains(&tag.label);
    let word = |(index, tag): (usize, Tag)| Tagged::Word {
        entity: tag.label,
        score: tag.score,
        index: index + 1,
        word: tag.text,
        start: tag.start,
        end: tag.end,
    };
    let span = |tag: Tag| Tagged::Span {
        entity_group: tag.label,
        score: tag.score,
        word: tag.text,
        start: tag.start,
        end: tag.end,
    };
    let mut answers = plain.iter().zip(asked.answers).map(|(text, words)| match group {
        true => groups(text, &words).into_iter().filter(kept).map(span).collect::<Vec<_>>(),
        false => words.into_iter().enumerate().filter(|(_, tag)| kept(tag)).map(word).collect(),
    });
    let numbers = 20 * plain.iter().map(String::len).sum::<usize>();
    let response = match (single, answers.next()) {
        (true, Some(one)) => answer(one, numbers).await?,
        (_, first) => answer(first.into_iter().chain(answers).collect::<Vec<_>>(), numbers).await?,
    };
    Ok(with_usage(response, &asked.usage))
}
