//! SQuAD's JSON, and rows of questions.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::{GivenAnswer, Question};
use crate::data::Format;
use crate::data::read::{kind, records};
use crate::error::{Error, Result};
use crate::files;

const ROW: &str = "{\"question\": \"…\", \"context\": \"…\", \"answers\": {\"text\": […], \"answer_start\": […]}}";

/// The questions of a `.jsonl` or `.parquet` file.
pub(super) fn lines(path: &Path, bytes: Vec<u8>, answers: bool) -> Result<Vec<Question>> {
    let mut number = 0;
    records(path, Format::of(path)?, bytes, ROW, |line, object| {
        number += 1;
        let place = Place { path, line: Some(line), within: String::new() };
        Reader { number, answers }.row(&place, object)
    })
}

/// The questions of a `.json` file.
pub(super) fn file(path: &Path, text: &str, answers: bool) -> Result<Vec<Question>> {
    let fail = |message: String| Error::data(path, None, message);
    let value: Value =
        files::parse_json(text.as_bytes()).map_err(|e| fail(format!("not JSON: {e}")))?;
    let elements = match value {
        Value::Array(elements) => elements,
        Value::Object(mut object) => match object.remove("data") {
            Some(Value::Array(elements)) => elements,
            _ => return Err(fail("the object has no array `data`, as SQuAD's files have".into())),
        },
        other => return Err(fail(format!("expected SQuAD's form, not {}", kind(&other)))),
    };
    let mut found = Vec::new();
    for (at, element) in elements.iter().enumerate() {
        let place = Place { path, line: None, within: format!("data[{at}]") };
        let object = place.object(element)?;
        if object.contains_key("paragraphs") {
            article(&place, object, answers, &mut found)?;
        } else {
            let number = found.len() + 1;
            found.push(Reader { number, answers }.row(&place, object)?);
        }
    }
    Ok(found)
}

/// The questions of an article of SQuAD.
fn article(
    place: &Place,
    article: &Map<String, Value>,
    answers: bool,
    found: &mut Vec<Question>,
) -> Result<()> {
    let title = place.optional(article, "title")?;
    for (place, paragraph) in place.objects(article, "paragraphs")? {
        let context: Arc<str> = place.string(paragraph, "context")?.into();
        for (place, qa) in place.objects(paragraph, "qas")? {
            let reader = Reader { number: found.len() + 1, answers };
            found.push(reader.question(&place, qa, title.clone(), context.clone())?);
        }
    }
    Ok(())
}

/// Reads one question.
struct Reader {
    /// Its number in the file, which is its id where it has none.
    number: usize,
    /// Whether its answers are wanted.
    answers: bool,
}

impl Reader {
    /// A question with its context.
    fn row(&self, place: &Place, row: &Map<String, Value>) -> Result<Question> {
        let context = place.string(row, "context")?.into();
        self.question(place, row, place.optional(row, "title")?, context)
    }

    fn question(
        &self,
        place: &Place,
        object: &Map<String, Value>,
        title: Option<String>,
        context: Arc<str>,
    ) -> Result<Question> {
        let id = match object.get("id") {
            None | Some(Value::Null) => self.number.to_string(),
            Some(Value::String(id)) => id.clone(),
            Some(Value::Number(id)) => id.to_string(),
            Some(other) => return Err(place.error(format!("`id` is {}", kind(other)))),
        };
        let place = place.of(&id);
        let mut answers = Vec::new();
        if self.answers {
            answers = given(&place, object)?;
            check_impossible(&place, object, answers.is_empty())?;
        }
        let answers =
            answers.into_iter().map(|(text, start)| GivenAnswer::new(&context, text, start));
        Ok(Question {
            id,
            title,
            question: place.string(object, "question")?.to_string(),
            answers: answers.collect(),
            context: context.clone(),
            line: place.line,
        })
    }
}

/// The texts and starts of the answers that have a text.
fn given(place: &Place, object: &Map<String, Value>) -> Result<Vec<(String, i64)>> {
    let impossible = object.get("is_impossible") == Some(&Value::Bool(true));
    let answer = |value: &Value| -> Result<(String, i64)> {
        let object = place.object(value)?;
        let start = object.get("answer_start").and_then(Value::as_i64);
        let start = start.ok_or_else(|| place.error("an answer has no integer `answer_start`"))?;
        Ok((place.string(object, "text")?.to_string(), start))
    };
    let answers = match object.get("answers") {
        None | Some(Value::Null) if impossible => Vec::new(),
        None | Some(Value::Null) => {
            let keys: Vec<&str> = object.keys().map(String::as_str).collect();
            return Err(place.error(format!("no key `answers`; the keys are: {}", keys.join(", "))));
        }
        Some(Value::Array(list)) => list.iter().map(answer).collect::<Result<_>>()?,
        Some(Value::Object(lists)) if lists.get("text").is_some_and(Value::is_array) => {
            columns(place, lists)?
        }
        Some(single) => vec![answer(single)?],
    };
    Ok(answers.into_iter().filter(|(text, _)| !text.trim().is_empty()).collect())
}

/// Answers as a list of texts and a list of starts.
fn columns(place: &Place, lists: &Map<String, Value>) -> Result<Vec<(String, i64)>> {
    let list = |key: &str| lists.get(key).and_then(Value::as_array);
    let (Some(texts), Some(starts)) = (list("text"), list("answer_start")) else {
        return Err(place.error("`answers` needs two arrays, `text` and `answer_start`"));
    };
    if texts.len() != starts.len() {
        return Err(place.error(format!(
            "`answers` has {} texts and {} starts",
            texts.len(),
            starts.len()
        )));
    }
    let pair =
        |(text, start): (&Value, &Value)| match (text.as_str(), start.as_i64()) {
            (Some(text), Some(start)) => Ok((text.to_string(), start)),
            _ => Err(place
                .error("`answers` holds a text that is no string or a start that is no integer")),
        };
    texts.iter().zip(starts).map(pair).collect()
}

/// Refuses `is_impossible` that says something else than the answers.
fn check_impossible(place: &Place, object: &Map<String, Value>, empty: bool) -> Result<()> {
    match object.get("is_impossible") {
        Some(Value::Bool(true)) if !empty => {
            Err(place.error("`is_impossible` is true, but the question has answers; correct one"))
        }
        Some(Value::Bool(false)) if empty => {
            Err(place
                .error("`is_impossible` is false, but the question has no answers; correct one"))
        }
        None | Some(Value::Bool(_)) | Some(Value::Null) => Ok(()),
        Some(other) => {
            Err(place.error(format!("`is_impossible` is {}, not true or false", kind(other))))
        }
    }
}

/// A place in a file, for errors.
struct Place<'a> {
    path: &'a Path,
    line: Option<u64>,
    /// The place within the JSON value, such as `data[0].paragraphs[2]`.
    within: String,
}

impl Place<'_> {
    fn error(&self, message: impl AsRef<str>) -> Error {
        let message = message.as_ref();
        let message = match self.within.is_empty() {
            true => message.to_string(),
            false => format!("{}: {message}", self.within),
        };
        Error::data(self.path, self.line, message)
    }

    /// The same place, with the id of its question.
    fn of(&self, id: &str) -> Place<'_> {
        let space = if self.within.is_empty() { "" } else { " " };
        let within = format!("{}{space}(question {id})", self.within);
        Place { path: self.path, line: self.line, within }
    }

    fn object<'v>(&self, value: &'v Value) -> Result<&'v Map<String, Value>> {
        value.as_object().ok_or_else(|| {
            self.error(format!("expected an object, such as {ROW}, not {}", kind(value)))
        })
    }

    /// The objects of an array, each with its place.
    fn objects<'v>(
        &self,
        object: &'v Map<String, Value>,
        key: &str,
    ) -> Result<Vec<(Place<'_>, &'v Map<String, Value>)>> {
        let Some(Value::Array(elements)) = object.get(key) else {
            return Err(self.error(format!("`{key}` is missing or no array")));
        };
        let element = |(at, value)| {
            let within = format!("{}.{key}[{at}]", self.within);
            let place = Place { path: self.path, line: self.line, within };
            let object = place.object(value)?;
            Ok((place, object))
        };
        elements.iter().enumerate().map(element).collect()
    }

    fn string<'v>(&self, object: &'v Map<String, Value>, key: &str) -> Result<&'v str> {
        match object.get(key) {
            Some(Value::String(text)) => Ok(text),
            Some(other) => Err(self.error(format!("`{key}` is {}, not a string", kind(other)))),
            None => {
                let keys: Vec<&str> = object.keys().map(String::as_str).collect();
                Err(self.error(format!("no key `{key}`; the keys are: {}", keys.join(", "))))
            }
        }
    }

    fn optional(&self, object: &Map<String, Value>, key: &str) -> Result<Option<String>> {
        match object.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(_) => self.string(object, key).map(|text| Some(text.to_string())),
        }
    }
}
