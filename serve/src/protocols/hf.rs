//! The shapes of Hugging Face's pipelines, for `InferenceClient`: `POST /` asks the first model,
//! `POST /models/{model}` a model by its name.
//!
//! A request is `{"inputs": …, "parameters": {…}}`. The answers:
//!
//! | task | answer |
//! | --- | --- |
//! | text classification | a list of `{"label","score"}` per text, always in a list |
//! | fill-mask | a list of `{"score","token","token_str","sequence"}`, or one list per mask |
//! | feature extraction | a vector per text |
//! | sentence similarity | a list of numbers |
//! | token classification | a list of words or spans |

use std::sync::Arc;

use axum::Router;
use axum::extract::Path;
use axum::routing::post;
use gradus_models::pipelines::{ClassificationFunction, Fill, Tag, WordLabel, groups};
use serde::Serialize;
use serde_json::Value;

use super::shared::rows::FILLS;
use super::shared::similarity::similarities;
use super::shared::texts::inputs;
use super::shared::{model, options};
use crate::answer::{Computed, OneOrMany};
use crate::app::App;
use crate::ask::Scores;
use crate::call::Call;
use crate::error::{Problem, Result};
use crate::json::{Fields, expected, string, strings};
use crate::offload::offload;
use crate::pipeline::Task;
use crate::question::{EncodeOptions, Question, Text};
use crate::registry::{Version, no_model};
use crate::served::Served;

/// The paths. `/models/{model}` is among TorchServe's, which has other methods there.
pub fn routes() -> Router<Arc<App>> {
    Router::new().route("/", post(first))
}

async fn first(call: Call) -> Result<Computed> {
    let mut fields = call.fields().await?;
    let served = model::any(&call, &mut fields)?;
    pipeline(served, call, fields).await
}

/// `POST /models/{model}`.
pub async fn named(Path(model): Path<String>, call: Call) -> Result<Computed> {
    let served = call.app.models.get(&model, &Version::Default)?;
    let fields = call.fields().await?;
    pipeline(served, call, fields).await
}

/// `POST /models/{organisation}/{model}` where no model has that name. (The name of a known model
/// comes as one part, see [`names::joined`](crate::names::joined).)
pub async fn named_of_hub(Path((organisation, model)): Path<(String, String)>) -> Problem {
    no_model(&format!("{organisation}/{model}"))
}

/// How logits become scores.
pub const FUNCTIONS: [&str; 3] = ["none", "softmax", "sigmoid"];
/// How words are labelled and grouped. `none` leaves them single; `simple` is the same as `first`,
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
        Task::Answer | Task::Generate => &[],
    }
}

/// A question to a pipeline.
struct Ask {
    served: Arc<Served>,
    call: Call,
    inputs: Value,
    parameters: Fields,
    options: EncodeOptions,
}

impl Ask {
    /// Refuses the parameters that are left.
    fn end(&mut self) -> Result<()> {
        std::mem::take(&mut self.parameters).end(parameters(self.served.task()))
    }
}

async fn pipeline(served: Arc<Served>, call: Call, mut fields: Fields) -> Result<Computed> {
    let mut parameters = fields.object("parameters")?;
    let inputs = fields.required("inputs")?;
    // A task's options may also be next to `inputs`, as in text-embeddings-inference.
    for key in self::parameters(served.task()) {
        let Some(value) = fields.take(key) else { continue };
        if parameters.has(key) {
            return Err(Problem::field(key, "stands in `parameters` too; send it once"));
        }
        parameters.put(key, value);
    }
    let options = EncodeOptions {
        prompt: match served.task() {
            Task::Embed => parameters.string("prompt_name")?,
            _ => None,
        },
        ..options::truncation(&call, &mut parameters)?
    };
    parameters.refuse(&["stride"], "asks for parts of a long text; texts are cut here")?;
    let ask = Ask { served, call, inputs, parameters, options };
    match ask.served.task() {
        Task::Embed if ask.inputs.is_object() => similarity(ask).await,
        Task::Embed => embed(ask).await,
        Task::Classify => classify(ask).await,
        Task::FillMask => fill_mask(ask).await,
        Task::Tag => tag(ask).await,
        Task::Answer | Task::Generate => Err(ask.served.wrong_task("single texts")),
    }
}

async fn embed(mut ask: Ask) -> Result<Computed> {
    let normalize = ask.parameters.bool("normalize")?.unwrap_or(true);
    let dimensions = ask.parameters.count("dimensions")?;
    ask.end()?;
    let Ask { served, call, inputs, options, .. } = ask;
    let texts = self::inputs(&call, inputs, "inputs")?;
    call.count(texts.len(), "inputs")?;
    let question = Question::new(texts, options, call.caller);
    let asked = served.embed(question, normalize, dimensions).await?;
    let numbers = asked.answers.iter().map(Vec::len).sum();
    Computed::json(asked.answers, numbers, asked.usage).await
}

async fn similarity(mut ask: Ask) -> Result<Computed> {
    // The cosine is that of whole vectors of length 1.
    ask.parameters.take("normalize");
    ask.parameters
        .refuse(&["dimensions"], "goes with vectors; a similarity compares whole ones")?;
    ask.end()?;
    let Ask { served, call, inputs, options, .. } = ask;
    similarities(&call, &served, inputs, options).await
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

/// Texts, and whether the input is a single text outside a list.
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

/// A parameter that must be one of these words, in capitals or not.
fn one_of(parameters: &mut Fields, key: &str, words: &[&str]) -> Result<Option<String>> {
    match parameters.string(key)?.map(|word| word.to_lowercase()) {
        Some(word) if !words.contains(&word.as_str()) => {
            let message = format!("must be one of {}", words.join(", "));
            Err(Problem::field(&parameters.at(key), message))
        }
        word => Ok(word),
    }
}

async fn classify(mut ask: Ask) -> Result<Computed> {
    let scores = match one_of(&mut ask.parameters, "function_to_apply", &FUNCTIONS)?.as_deref() {
        Some("none") => Scores::By(ClassificationFunction::None),
        Some("softmax") => Scores::By(ClassificationFunction::Softmax),
        Some("sigmoid") => Scores::By(ClassificationFunction::Sigmoid),
        _ => Scores::Model,
    };
    let top_k = options::top(&mut ask.parameters, "top_k")?.unwrap_or(usize::MAX);
    ask.end()?;
    let Ask { served, call, inputs, options, .. } = ask;
    let (texts, _) = texts(inputs)?;
    call.count(texts.len(), "inputs")?;
    let asked = served.classify(Question::new(texts, options, call.caller), scores).await?;
    let mut answers = asked.answers;
    answers.iter_mut().for_each(|labels| labels.truncate(top_k));
    let numbers = 10 * answers.iter().map(Vec::len).sum::<usize>();
    Computed::json(answers, numbers, asked.usage).await
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
        Filled {
            score: fill.score,
            token: fill.id,
            token_str: fill.token_str,
            sequence: fill.sequence,
        }
    }
}

/// The words of a text with a single mask, or of each mask.
fn filled(masks: Vec<Vec<Fill>>) -> OneOrMany<Vec<Filled>> {
    let single = masks.len() == 1;
    let words = |fills: Vec<Fill>| fills.into_iter().map(Filled::from).collect();
    OneOrMany::new(masks.into_iter().map(words).collect(), single)
}

/// The ids of the words in `targets`: only these may fill a mask.
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
    // The vocabulary may have the word as it is, or as the tokenizer writes it.
    let encoded = || {
        // One token more than the word may have, and the special ones.
        let encoding = tokenizer.encode(word, None, 4).ok()?;
        let tokens = encoding.ids.iter().zip(&encoding.special);
        let own: Vec<u32> = tokens.filter(|(_, special)| !**special).map(|(&id, _)| id).collect();
        <[u32; 1]>::try_from(own).ok().map(|[id]| id)
    };
    let known = tokenizer.id(word).or_else(encoded).filter(|&id| Some(id) != tokenizer.unk_id());
    known.ok_or_else(|| {
        let word: String = word.chars().take(64).collect();
        let message = format!("`{word}` is not a single token of the model `{}`", served.name);
        Problem::field(at, message)
    })
}

async fn fill_mask(mut ask: Ask) -> Result<Computed> {
    let top_k = options::top(&mut ask.parameters, "top_k")?.unwrap_or(FILLS);
    let targets = targets(&mut ask).await?;
    ask.end()?;
    let Ask { served, call, inputs, options, .. } = ask;
    let (texts, single) = texts(inputs)?;
    call.count(texts.len(), "inputs")?;
    let question = Question::new(texts, options, call.caller);
    let asked = served.fill_mask(question, top_k, targets).await?;
    let numbers = 20 * asked.answers.iter().flatten().map(Vec::len).sum::<usize>();
    let answers: Vec<_> = asked.answers.into_iter().map(filled).collect();
    Computed::json(OneOrMany::new(answers, single), numbers, asked.usage).await
}

/// A word, or a span of words.
#[derive(Serialize)]
#[serde(untagged)]
enum Tagged {
    Word { entity: String, score: f32, index: usize, word: String, start: usize, end: usize },
    Span { entity_group: String, score: f32, word: String, start: usize, end: usize },
}

async fn tag(mut ask: Ask) -> Result<Computed> {
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
    let answers = plain.iter().zip(asked.answers).map(|(text, words)| match group {
        true => groups(text, &words).into_iter().filter(kept).map(span).collect::<Vec<_>>(),
        false => words.into_iter().enumerate().filter(|(_, tag)| kept(tag)).map(word).collect(),
    });
    let numbers = 20 * plain.iter().map(String::len).sum::<usize>();
    Computed::json(OneOrMany::new(answers.collect(), single), numbers, asked.usage).await
}
