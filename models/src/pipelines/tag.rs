//! A label for every word.

use std::borrow::Borrow;
use std::ops::Range;

use gradus_autograd::Var;
use gradus_nn::Forward;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::classify::head_labels;
use super::runner::{Runner, derefs_to_runner, same_number};
use crate::tokenizer::{char_offsets, goes_on, trimmed};
use crate::{Encoder, EncoderInput, Encoding, ModelRef, Pretrained, Result, Task, TokenClassifier};

/// A word, or a span of words, with its label.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tag {
    /// The word or span, as it stands in the text.
    pub text: String,
    /// Its label; that of a span is without `B-` and `I-`.
    pub label: String,
    /// The label's probability; that of a span is the mean over its words.
    pub score: f32,
    /// Where it starts, in characters (Unicode code points).
    pub start: usize,
    /// Where it ends, in characters: the first place after it.
    pub end: usize,
}

/// Which of a word's tokens decide its label: the word-level `aggregation_strategy` of
/// `transformers`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WordLabel {
    /// The first.
    #[default]
    First,
    /// All: the label whose mean probability is the largest.
    Average,
    /// The one with the largest probability.
    Max,
}

/// Texts to labelled words.
pub struct TokenTagger {
    runner: Runner,
    model: TokenClassifier,
    labels: Vec<String>,
}

derefs_to_runner!(TokenTagger);

impl TokenTagger {
    /// Opens a model folder or a hub id.
    ///
    /// # Errors
    /// When the model cannot be opened, is not a token classifier
    /// ([`OtherTask`](crate::Error::OtherTask)), or lacks parameters
    /// ([`MissingHead`](crate::Error::MissingHead) for the head's).
    pub fn open<'m>(model: impl Into<ModelRef<'m>>) -> Result<Self> {
        Self::of(Pretrained::open(model)?)
    }

    pub(super) fn of(pretrained: Pretrained) -> Result<Self> {
        let runner = Runner::new(pretrained);
        runner.refuse(Task::Classify)?;
        let labels = head_labels(&runner, Task::Tag)?;
        let model = TokenClassifier::new(&runner.store().root(), &runner.config, labels.len())?;
        runner.complete(Task::Tag)?;
        Ok(TokenTagger { runner, model, labels })
    }

    /// The logits of a batch, with their places in the graph.
    pub(super) fn output(&self, input: &EncoderInput) -> Result<Var> {
        self.model.forward(input, &Forward::inference())
    }

    /// The encoder.
    pub fn encoder(&self) -> &Encoder {
        self.model.encoder()
    }

    /// The labels, in the order of their ids.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// The words of each text with their labels, `O` included: a word's label is that of its first
    /// token. Words beyond the maximum length have none.
    ///
    /// # Errors
    /// When a text cannot be encoded, or an output is not a number (the error names the weight to
    /// blame).
    pub fn tag<S: AsRef<str> + Sync>(&self, texts: &[S]) -> Result<Vec<Vec<Tag>>> {
        let pairs: Vec<(&str, Option<&str>)> = texts.iter().map(|t| (t.as_ref(), None)).collect();
        let encodings = self.runner.encode(&pairs)?;
        let texts: Vec<&str> = texts.iter().map(S::as_ref).collect();
        self.tag_encoded(&texts, &encodings, &vec![WordLabel::First; texts.len()])
    }

    /// As [`TokenTagger::tag`], for texts that are encoded already, with a choice for each text of
    /// the tokens that decide a word's label.
    ///
    /// # Errors
    /// As [`TokenTagger::tag`]; also when there is not one encoding and one choice for each text.
    pub fn tag_encoded<E: Borrow<Encoding> + Sync>(
        &self,
        texts: &[&str],
        encodings: &[E],
        labels: &[WordLabel],
    ) -> Result<Vec<Vec<Tag>>> {
        same_number(texts, encodings)?;
        same_number(texts, labels)?;
        self.runner.run(encodings, |input, packed, batch| {
            let logits = self.output(input)?;
            let scores = self.runner.numbers(&logits.tensor().softmax(-1)?)?;
            let rows: Vec<&[f32]> = scores.chunks(self.labels.len()).collect();
            let tags = batch.iter().zip(packed.ranges());
            Ok(tags
                .map(|(&i, range)| {
                    self.words(texts[i], encodings[i].borrow(), &rows[range], labels[i])
                })
                .collect())
        })
    }

    /// The probability of every label for each given word of some sentences, as the model was
    /// trained on given words: by a word's first token. `None` for a word without a token, and for
    /// one beyond the maximum length.
    ///
    /// # Errors
    /// As [`TokenTagger::tag`].
    pub fn tag_words<S: AsRef<str> + Sync>(
        &self,
        sentences: &[&[S]],
    ) -> Result<Vec<Vec<Option<Vec<f32>>>>> {
        let length = self.runner.max_length();
        let encode = |words: &&[S]| self.runner.tokenizer().encode_words(words, length);
        let encodings = sentences.par_iter().map(encode).collect::<Result<Vec<Encoding>>>()?;
        self.runner.count_cut(&encodings);
        self.runner.run(&encodings, |input, packed, batch| {
            let logits = self.output(input)?;
            let scores = self.runner.numbers(&logits.tensor().softmax(-1)?)?;
            let rows: Vec<&[f32]> = scores.chunks(self.labels.len()).collect();
            let words = |(&i, range): (&usize, Range<usize>)| {
                let firsts = encodings[i].first_tokens(sentences[i].len());
                let row = |first: usize| rows[range.start + first].to_vec();
                firsts.into_iter().map(|first| first.map(row)).collect()
            };
            Ok(batch.iter().zip(packed.ranges()).map(words).collect())
        })
    }

    /// As [`TokenTagger::tag`], with the words of a span as one and without those labelled `O`.
    ///
    /// # Errors
    /// As [`TokenTagger::tag`].
    pub fn tag_spans<S: AsRef<str> + Sync>(&self, texts: &[S]) -> Result<Vec<Vec<Tag>>> {
        let words = self.tag(texts)?;
        Ok(texts.iter().zip(words).map(|(text, words)| spans(text.as_ref(), &words)).collect())
    }

    fn words(
        &self,
        text: &str,
        encoding: &Encoding,
        rows: &[&[f32]],
        label: WordLabel,
    ) -> Vec<Tag> {
        let found = word_places(text, encoding, self.runner.tokenizer().has_words());
        let places: Vec<(usize, usize)> = found.iter().map(|w| (w.0.start, w.0.end)).collect();
        let chars = char_offsets(text, &places);
        let word =
            |((place, tokens), (start, end)): ((Range<usize>, Vec<usize>), (usize, usize))| {
                let tokens: Vec<&[f32]> = tokens.into_iter().map(|at| rows[at]).collect();
                let (id, score) = of_word(&tokens, label);
                Tag {
                    text: text.get(place).unwrap_or_default().to_string(),
                    label: self.labels.get(id).cloned().unwrap_or_default(),
                    score,
                    start,
                    end,
                }
            };
        found.into_iter().zip(chars).map(word).collect()
    }
}

/// The words of a text, in bytes, with the places of their tokens. `has_words` says that the words
/// of the encoding are split at punctuation; otherwise the text decides where one goes on.
fn word_places(
    text: &str,
    encoding: &Encoding,
    has_words: bool,
) -> Vec<(Range<usize>, Vec<usize>)> {
    let mut found: Vec<(Range<usize>, Vec<usize>)> = Vec::new();
    let mut last = None;
    // A token of a space alone, which belongs to the word that begins after it.
    let mut space: Option<(u32, usize)> = None;
    for (at, word) in encoding.words.iter().enumerate() {
        let Some(word) = word.filter(|_| !encoding.special[at]) else { continue };
        let place = trimmed(text, encoding.offsets[at]);
        if place.is_empty() {
            space = Some((word, at));
            continue;
        }
        let before = space.take().filter(|(of, _)| *of == word).map(|(_, at)| at);
        let goes_on = found.last().is_some_and(|(known, _)| match has_words {
            true => last == Some(word),
            // The pieces of one character have the same place.
            false => {
                place.start < known.end || (place.start == known.end && goes_on(text, known.end))
            }
        });
        match found.last_mut().filter(|_| goes_on) {
            Some((known, tokens)) => {
                known.end = known.end.max(place.end);
                tokens.extend(before);
                tokens.push(at);
            }
            None => found.push((place, before.into_iter().chain([at]).collect())),
        }
        last = Some(word);
    }
    found
}

/// The label of a word, and its probability, from those of its tokens.
fn of_word(tokens: &[&[f32]], label: WordLabel) -> (usize, f32) {
    match label {
        WordLabel::First => tokens.first().map_or((0, 0.0), |row| best(row)),
        WordLabel::Average => {
            let width = tokens.first().map_or(0, |row| row.len());
            let mean = |id: usize| {
                let sum: f64 = tokens.iter().map(|row| f64::from(row[id])).sum();
                (sum / tokens.len() as f64) as f32
            };
            best(&(0..width).map(mean).collect::<Vec<f32>>())
        }
        WordLabel::Max => tokens
            .iter()
            .map(|row| best(row))
            .fold((0, 0.0), |most, token| if token.1 > most.1 { token } else { most }),
    }
}

/// The place and value of the largest number, the first of equals.
pub fn best(row: &[f32]) -> (usize, f32) {
    row.iter().copied().enumerate().fold((0, f32::NEG_INFINITY), |best, (i, value)| {
        if value > best.1 { (i, value) } else { best }
    })
}

/// The spans that labelled words make: `B-X` begins a span of kind `X`, and `I-X` continues it, or
/// begins one where the word before is of another kind. A label without `B-` and `I-` is its own
/// kind, and continues a span of that kind. Words labelled `O` belong to none.
pub fn spans(text: &str, words: &[Tag]) -> Vec<Tag> {
    let mut spans = groups(text, words);
    spans.retain(|span| span.label != "O");
    spans
}

/// As [`spans`], with words labelled `O` in spans of that kind.
pub fn groups(text: &str, words: &[Tag]) -> Vec<Tag> {
    let starts: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
    let slice = |start: usize, end: usize| {
        let byte = |at: usize| starts.get(at).copied().unwrap_or(text.len());
        text.get(byte(start)..byte(end)).unwrap_or_default().to_string()
    };
    let mut spans: Vec<(Tag, usize)> = Vec::new();
    for word in words {
        let (begins, kind) = match word.label.split_once('-') {
            Some(("B", kind)) => (true, kind),
            Some(("I", kind)) => (false, kind),
            _ => (false, word.label.as_str()),
        };
        match spans.last_mut().filter(|(span, _)| !begins && span.label == kind) {
            Some((span, count)) => {
                span.end = word.end;
                span.score += word.score;
                *count += 1;
            }
            None => spans.push((Tag { label: kind.to_string(), ..word.clone() }, 1)),
        }
    }
    let finish = |(span, count): (Tag, usize)| Tag {
        text: slice(span.start, span.end),
        score: span.score / count as f32,
        ..span
    };
    spans.into_iter().map(finish).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words of a text, with their labels.
    fn words(text: &str, labels: &[&str]) -> Vec<Tag> {
        let mut at = 0;
        text.split(' ')
            .zip(labels)
            .map(|(word, label)| {
                let start = at;
                let end = start + word.chars().count();
                at = end + 1;
                Tag { text: word.into(), label: label.to_string(), score: 0.5, start, end }
            })
            .collect()
    }

    fn joined(text: &str, labels: &[&str]) -> Vec<(String, String)> {
        let spans = spans(text, &words(text, labels));
        spans.into_iter().map(|s| (s.text, s.label)).collect()
    }

    /// The words of a text, found from the offsets of its pieces and the words of the tokenizer.
    fn found(text: &str, pieces: &[(usize, usize, u32)]) -> Vec<(String, usize)> {
        let encoding = Encoding {
            offsets: pieces.iter().map(|p| (p.0, p.1)).collect(),
            words: pieces.iter().map(|p| Some(p.2)).collect(),
            special: vec![false; pieces.len()],
            ..Encoding::default()
        };
        let words = word_places(text, &encoding, false);
        words.into_iter().map(|(place, tokens)| (text[place].to_string(), tokens[0])).collect()
    }

    fn expected(words: &[(&str, usize)]) -> Vec<(String, usize)> {
        words.iter().map(|(word, first)| (word.to_string(), *first)).collect()
    }

    /// Byte-level pieces: one begins with the space before its word, an emoji has several.
    #[test]
    fn words_of_pieces_have_no_spaces_and_whole_characters() {
        let text = "in Zürich 😀, ok";
        // in, Ġ Z ü(2) rich, Ġ 😀(2), ",", Ġok
        let pieces = [
            (0, 2, 0),
            (2, 4, 1),
            (4, 6, 1),
            (4, 6, 1),
            (6, 10, 1),
            (10, 11, 2),
            (11, 15, 2),
            (11, 15, 2),
            (15, 16, 3),
            (16, 19, 4),
        ];
        let words = [("in", 0), ("Zürich", 1), ("😀", 5), (",", 8), ("ok", 9)];
        assert_eq!(found(text, &pieces), expected(&words));
    }

    /// SentencePiece's words end at spaces only: punctuation and scripts without spaces end them too.
    #[test]
    fn words_of_sentencepiece_are_split_further() {
        let text = "in Paris, 東京";
        // ▁in, ▁Par is ",", ▁ 東 京
        let pieces =
            [(0, 2, 0), (3, 6, 1), (6, 8, 1), (8, 9, 1), (10, 10, 2), (10, 13, 2), (13, 16, 2)];
        let words = [("in", 0), ("Paris", 1), (",", 3), ("東", 4), ("京", 6)];
        assert_eq!(found(text, &pieces), expected(&words));
    }

    /// Of equal tokens the first decides.
    #[test]
    fn tokens_decide_the_label_of_their_word() {
        let tokens = [[0.5f32, 0.3, 0.2], [0.1, 0.2, 0.7], [0.1, 0.7, 0.2]];
        let tokens = tokens.each_ref().map(|row| &row[..]);
        assert_eq!(of_word(&tokens, WordLabel::First), (0, 0.5));
        assert_eq!(of_word(&tokens, WordLabel::Max), (2, 0.7));
        let (label, mean) = of_word(&tokens, WordLabel::Average);
        assert!(label == 1 && (mean - 0.4).abs() < 1e-6, "{label}: {mean}");
        for label in [WordLabel::First, WordLabel::Average, WordLabel::Max] {
            assert_eq!(of_word(&[&[0.5, 0.5]], label), (0, 0.5));
        }
    }

    #[test]
    fn spans_begin_and_go_on() {
        let text = "Zoë Müller met Ann Bo in New York";
        let labels = ["B-PER", "I-PER", "O", "B-PER", "B-PER", "O", "I-LOC", "I-LOC"];
        let expected = [("Zoë Müller", "PER"), ("Ann", "PER"), ("Bo", "PER"), ("New York", "LOC")];
        assert_eq!(joined(text, &labels), expected.map(|(a, b)| (a.into(), b.into())));
    }

    #[test]
    fn plain_labels_are_kinds() {
        let expected = [("a b", "X"), ("c", "Y"), ("e", "Y")];
        let found = joined("a b c d e", &["X", "X", "Y", "O", "Y"]);
        assert_eq!(found, expected.map(|(a, b)| (a.into(), b.into())));
        assert!(joined("a", &["O"]).is_empty());
    }

    #[test]
    fn a_kind_change_ends_a_span() {
        let expected = [("a", "X"), ("b", "Y")];
        assert_eq!(joined("a b", &["B-X", "I-Y"]), expected.map(|(a, b)| (a.into(), b.into())));
    }

    #[test]
    fn words_outside_make_groups_of_their_own() {
        let found = groups("a b c d", &words("a b c d", &["O", "O", "B-X", "O"]));
        let found: Vec<(&str, &str)> = found.iter().map(|s| (&*s.text, &*s.label)).collect();
        assert_eq!(found, [("a b", "O"), ("c", "X"), ("d", "O")]);
    }

    #[test]
    fn the_tokens_of_a_word_decide_its_label() {
        // The first token says 0, the mean 2, the most certain token 1.
        let tokens: [&[f32]; 3] = [&[0.4, 0.25, 0.35], &[0.0, 0.6, 0.4], &[0.3, 0.2, 0.5]];
        assert_eq!(of_word(&tokens, WordLabel::First), (0, 0.4));
        assert_eq!(of_word(&tokens, WordLabel::Max), (1, 0.6));
        let (id, mean) = of_word(&tokens, WordLabel::Average);
        assert!(id == 2 && (mean - 1.25 / 3.0).abs() < 1e-6, "{id} {mean}");
    }

    #[test]
    fn the_score_is_the_mean() {
        let mut words = words("a b", &["B-X", "I-X"]);
        words[1].score = 1.0;
        let spans = spans("a b", &words);
        assert_eq!((spans[0].score, spans[0].start, spans[0].end), (0.75, 0, 3));
    }
}
