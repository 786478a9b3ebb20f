//! `infer evaluate` of an embedder.

use std::io::{self, Write};
use std::path::Path;

use gradus_cli::{Outcome, SharedArgs, note};
use gradus_models::Split;
use gradus_models::data::{PairColumns, PairForm, TextPair};
use gradus_models::evaluation::{Metric, ranks};
use gradus_models::folder::SimilarityFunction;
use gradus_models::pipelines::TextEmbedder;
use gradus_models::tasks::{PairEncoder, PairScores, Ranking};
use gradus_tensor::Tensor;
use serde_json::{Value, json};

use super::super::{each_chunk, heading, note_cut, with_command};
use super::SHOWN;
use crate::args::EvaluateFlags;
use crate::output::Sink;

/// Evaluates an embedder on pairs of texts.
pub fn run(
    shared: &SharedArgs,
    flags: &EvaluateFlags,
    path: &Path,
    embedder: &TextEmbedder,
    mut sink: Sink,
) -> Outcome {
    let columns = PairColumns {
        anchor: flags.anchor_column.clone(),
        positive: flags.positive_column.clone(),
        negatives: flags.negative_column.clone().unwrap_or_default(),
        score: flags.score_column.clone(),
    };
    let split = Split::read_pairs(path, &columns).map_err(with_command)?;
    if embedder.similarity() != SimilarityFunction::Cosine {
        let name = format!("{:?}", embedder.similarity()).to_lowercase();
        note(shared, format!("the model's folder compares by {name}; the evaluation by cosine"));
    }
    let encoder = PairEncoder {
        tokenizer: embedder.tokenizer(),
        prompts: embedder.prompts(),
        max_length: embedder.max_length(),
        score_scale: None,
    };
    let set = encoder.encode(&split)?;
    let texts = set.encodings();
    let mut values = Vec::new();
    each_chunk(shared, embedder, texts, |chunk| {
        values.extend(embedder.pooled(chunk)?.concat());
        Ok(())
    })?;
    note_cut(shared, texts.iter().filter(|e| e.truncated).count() as u64, embedder.max_length());
    let vectors = Tensor::from_slice(&values, &[texts.len(), embedder.width()])?;
    let scores = PairScores::of(&set, &vectors.to_device(embedder.device())?)?;
    let result = Evaluated::new(&split, &scores, flags.mistakes.unwrap_or(SHOWN));
    sink.write(&result.json(), |out| result.print(out))?;
    sink.finish(shared, 1)
}

/// A pair whose texts are less, or more, similar than they should be.
struct Mistake<'a> {
    pair: &'a TextPair,
    similarity: f64,
    /// The most similar wrong text and its similarity; `None` where pairs have scores.
    taken: Option<(&'a str, f32)>,
    /// How wrong it is, to sort by.
    size: f64,
}

/// How well the model does.
struct Evaluated<'a> {
    metrics: &'static [Metric],
    values: Vec<(&'static str, f64)>,
    examples: usize,
    mistakes: Vec<Mistake<'a>>,
}

impl<'a> Evaluated<'a> {
    fn new(split: &'a Split<TextPair>, scores: &PairScores, shown: usize) -> Evaluated<'a> {
        let form = split.form();
        let mut mistakes = match form {
            PairForm::Scored => misplaced(split, scores),
            PairForm::Pairs | PairForm::Triplets => mistaken(split, scores),
        };
        mistakes.sort_by(|a, b| b.size.total_cmp(&a.size));
        mistakes.truncate(shown);
        let (metrics, values) = (form.metrics(), scores.values());
        Evaluated { metrics, values, examples: split.examples.len(), mistakes }
    }

    fn json(&self) -> Value {
        let mistake = |Mistake { pair, similarity, taken, .. }: &Mistake| {
            let mut line = json!({
                "anchor": pair.anchor, "positive": pair.positive, "similarity": similarity,
                "line": pair.line,
            });
            match taken {
                Some((text, similarity)) => {
                    line["taken"] = json!(text);
                    line["taken_similarity"] = json!(similarity);
                }
                None => line["score"] = json!(pair.number()),
            }
            line
        };
        let mistakes: Vec<Value> = self.mistakes.iter().map(mistake).collect();
        let mut line = json!({"examples": self.examples, "mistakes": mistakes});
        self.values.iter().for_each(|(name, value)| line[*name] = json!(value));
        line
    }

    fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        let told = |metric: &Metric| {
            let (_, value) = self.values.iter().find(|(name, _)| *name == metric.name)?;
            Some(format!("{} {}", metric.title, metric.show(*value)))
        };
        let metrics: Vec<String> = self.metrics.iter().filter_map(told).collect();
        writeln!(out, "{}", metrics.join("  "))?;
        writeln!(out, "{} pairs", self.examples)?;
        if !self.mistakes.is_empty() {
            writeln!(out, "\nworst mistakes")?;
        }
        self.mistakes.iter().try_for_each(|mistake| mistake.print(out))
    }
}

impl Mistake<'_> {
    fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        write!(out, "  line {}: ", self.pair.line)?;
        heading(out, &self.pair.anchor)?;
        write!(out, "    {:.4} ", self.similarity)?;
        heading(out, &self.pair.positive)?;
        match self.taken {
            Some((text, similarity)) => {
                write!(out, "    {similarity:.4} ")?;
                heading(out, text)
            }
            None => writeln!(out, "    score {}", self.pair.number().unwrap_or(f64::NAN)),
        }
    }
}

/// First texts that are at least as similar to a wrong text, each with the most similar right one.
fn mistaken<'a>(split: &'a Split<TextPair>, scores: &PairScores) -> Vec<Mistake<'a>> {
    let mistake = |ranking: &Ranking| {
        let (row, most) = ranking.mistaken?;
        let (pair, similarity) = (&split.examples[ranking.pair], scores.cosines[ranking.pair]);
        let taken = Some((split.examples[row].positive.as_str(), most));
        Some(Mistake { pair, similarity, taken, size: f64::from(most) - similarity })
    };
    scores.rankings.iter().filter_map(mistake).collect()
}

/// Pairs with a score, by how far their places in the order of similarities and in the order of
/// scores are apart.
fn misplaced<'a>(split: &'a Split<TextPair>, scores: &PairScores) -> Vec<Mistake<'a>> {
    let (places, right) = (ranks(&scores.cosines), ranks(&scores.scores));
    let rows = split.examples.iter().zip(&scores.cosines).zip(places.iter().zip(right));
    let mistake = |((pair, &similarity), (place, right)): ((&'a TextPair, &f64), (&f64, f64))| {
        Mistake { pair, similarity, taken: None, size: (place - right).abs() }
    };
    rows.map(mistake).collect()
}
