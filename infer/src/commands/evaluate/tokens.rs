//! `infer evaluate` of a tagger of words.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::Path;

use gradus_cli::{Failure, Outcome, SharedArgs};
use gradus_models::data::{TaggedColumns, TaggedSentence};
use gradus_models::evaluation::{ClassScores, Entity, EntityScores, Scheme, entities};
use gradus_models::pipelines::{TokenTagger, best};
use gradus_models::{Labels, Split};
use serde_json::{Map, Value, json};

use super::super::{each_chunk, heading};
use super::{SHOWN, percent, print_classes};
use crate::args::EvaluateFlags;
use crate::output::Sink;

/// Evaluates a tagger of words.
pub fn run(
    shared: &SharedArgs,
    flags: &EvaluateFlags,
    path: &Path,
    tagger: &TokenTagger,
    mut sink: Sink,
) -> Outcome {
    let columns = TaggedColumns {
        words: flags.tokens_column.clone(),
        tags: flags.tags_column.clone(),
        names: flags.tag_names.clone().unwrap_or_default(),
    };
    let labels = Labels::from_names(tagger.labels().to_vec())?;
    let scheme = flags.scheme.unwrap_or(Scheme::of(labels.names()));
    scheme.check(labels.names()).map_err(|e| Failure::usage(format!("--scheme: {e}")))?;
    let split = Split::read_tagged(path, &columns)?;
    let truth = split.tag_ids(&labels)?;

    let mut tally = Tally::new(scheme, &labels);
    each_chunk(shared, tagger, &split.examples, |chunk| {
        let words: Vec<&[String]> = chunk.iter().map(|s| s.words.as_slice()).collect();
        for (scores, sentence) in tagger.tag_words(&words)?.iter().zip(chunk) {
            tally.add(sentence, &truth[tally.examples], scores);
        }
        Ok(())
    })?;
    let result = tally.result(flags.mistakes.unwrap_or(SHOWN));
    sink.write(&result.json(), |out| result.print(out))?;
    sink.finish(shared, 1)
}

/// A sentence whose entities are not those of the data.
struct Mistake<'a> {
    sentence: &'a TaggedSentence,
    /// Entities that the data lacks.
    wrong: Vec<Entity>,
    /// Entities of the data that were not found.
    missed: Vec<Entity>,
    /// The largest probability of a wrong tag in the sentence.
    score: f32,
}

/// The counts, while the sentences are computed.
struct Tally<'a> {
    scheme: Scheme,
    labels: &'a Labels,
    scores: EntityScores,
    loss: f64,
    /// Words with a token.
    terms: usize,
    /// Words without one.
    bare: usize,
    examples: usize,
    mistakes: Vec<Mistake<'a>>,
}

impl<'a> Tally<'a> {
    fn new(scheme: Scheme, labels: &'a Labels) -> Tally<'a> {
        let scores = EntityScores::new(scheme);
        let mistakes = Vec::new();
        Tally { scheme, labels, scores, loss: 0.0, terms: 0, bare: 0, examples: 0, mistakes }
    }

    /// Counts a sentence by the probabilities of its words' tags. A word without a token counts as
    /// `O`.
    fn add(&mut self, sentence: &'a TaggedSentence, truth: &[u32], words: &[Option<Vec<f32>>]) {
        let mut predicted: Vec<&str> = Vec::with_capacity(words.len());
        let mut score = 0f32;
        for (row, &truth) in words.iter().zip(truth) {
            let Some(row) = row else {
                self.bare += 1;
                predicted.push("O");
                continue;
            };
            let (id, probability) = best(row);
            self.loss -= f64::from(row[truth as usize]).max(f64::MIN_POSITIVE).ln();
            self.terms += 1;
            if id as u32 != truth {
                score = score.max(probability);
            }
            predicted.push(self.labels.name(id as u32).unwrap_or("O"));
        }
        self.scores.add(&sentence.tags, &predicted);
        self.examples += 1;
        let set = |tags: Vec<Entity>| tags.into_iter().collect::<BTreeSet<Entity>>();
        let expected = set(entities(&sentence.tags, self.scheme));
        let found = set(entities(&predicted, self.scheme));
        if expected != found {
            let wrong = found.difference(&expected).cloned().collect();
            let missed = expected.difference(&found).cloned().collect();
            self.mistakes.push(Mistake { sentence, wrong, missed, score });
        }
    }

    fn result(mut self, shown: usize) -> Evaluated<'a> {
        self.mistakes.sort_by(|a, b| b.score.total_cmp(&a.score));
        self.mistakes.truncate(shown);
        let by_kind = self.scores.by_kind().map(|(kind, scores)| (kind.to_string(), scores));
        Evaluated {
            micro: self.scores.micro(),
            accuracy: self.scores.accuracy(),
            loss: self.loss / self.terms.max(1) as f64,
            examples: self.examples,
            words: self.terms + self.bare,
            bare: self.bare,
            per_class: by_kind.collect(),
            mistakes: self.mistakes,
        }
    }
}

/// How well the model does.
struct Evaluated<'a> {
    /// Over all entities.
    micro: ClassScores,
    /// Of the words.
    accuracy: f64,
    loss: f64,
    examples: usize,
    words: usize,
    /// Words that have no token.
    bare: usize,
    per_class: Vec<(String, ClassScores)>,
    mistakes: Vec<Mistake<'a>>,
}

impl Evaluated<'_> {
    fn json(&self) -> Value {
        let per_class: Map<String, Value> =
            self.per_class.iter().map(|(name, scores)| (name.clone(), json!(scores))).collect();
        let mistakes: Vec<Value> = self.mistakes.iter().map(Mistake::json).collect();
        json!({
            "f1": self.micro.f1, "precision": self.micro.precision, "recall": self.micro.recall,
            "accuracy": self.accuracy, "loss": self.loss, "examples": self.examples,
            "words": self.words, "words_without_tokens": self.bare, "per_class": per_class,
            "mistakes": mistakes,
        })
    }

    fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        let ClassScores { precision, recall, f1, support } = self.micro;
        let (precision, recall, f1) = (percent(precision), percent(recall), percent(f1));
        writeln!(out, "F1 {f1}  precision {precision}  recall {recall}  ({support} entities)")?;
        let accuracy = percent(self.accuracy);
        let Evaluated { words, examples, loss, .. } = self;
        writeln!(out, "accuracy {accuracy} of {words} words  loss {loss:.4}  {examples} texts")?;
        if self.bare > 0 {
            writeln!(out, "{} words have no token, or come too late, and count as O", self.bare)?;
        }
        writeln!(out)?;
        print_classes(out, &self.per_class, ("entity", "entities"))?;
        if !self.mistakes.is_empty() {
            writeln!(out, "\nmost confident mistakes")?;
        }
        self.mistakes.iter().try_for_each(|mistake| mistake.print(out))
    }
}

impl Mistake<'_> {
    /// The words of an entity.
    fn text(&self, entity: &Entity) -> String {
        self.sentence.words[entity.start..entity.end].join(" ")
    }

    fn json(&self) -> Value {
        let all = |entities: &[Entity]| -> Vec<Value> {
            let one = |entity: &Entity| {
                let (start, end) = (entity.start, entity.end);
                json!({"text": self.text(entity), "label": entity.kind, "start": start, "end": end})
            };
            entities.iter().map(one).collect()
        };
        json!({
            "words": self.sentence.words, "wrong": all(&self.wrong), "missed": all(&self.missed),
            "score": self.score, "line": self.sentence.line,
        })
    }

    fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        write!(out, "  line {}: ", self.sentence.line)?;
        heading(out, &self.sentence.words.join(" "))?;
        for (what, entities) in [("wrong", &self.wrong), ("missed", &self.missed)] {
            for entity in entities {
                writeln!(out, "    {what}: {} {}", entity.kind, self.text(entity))?;
            }
        }
        Ok(())
    }
}
