//! What the page tells of a run of `train mlm` and `train lm`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use gradus_models::Tokenizer;
use gradus_models::data::Corpus;
use gradus_models::tasks::Guess;
use gradus_models::training::Task;
use maud::{Markup, html};

use super::Section;
use super::data::{Lengths, Texts, about_texts};
use crate::tasks::Details;

/// Words in the table.
const SHOWN: usize = 30;

/// A word that was predicted less often tells nothing.
const LEAST: usize = 3;

/// The guesses of tokens that are `predicted` in some way, and blocks of at most `length` tokens.
/// `others` are the dev and test texts; `text` gives the training text and its open window.
pub fn of_guesses<T: Task<Findings = Vec<Guess>> + 'static>(
    predicted: &'static str,
    tokenizer: Tokenizer,
    (others, length): (Vec<(&'static str, String)>, usize),
    text: fn(&T) -> (&Corpus, usize),
) -> Details<T> {
    Box::new(move |task, examined| {
        let found = examined.as_ref().map(|of| (of.split, &of.findings[..]));
        let mut sections = found.map_or(Vec::new(), |found| of_words(predicted, found, &tokenizer));
        let lengths = Lengths { tokens: task.lengths(), most: length, cut: None, of: "blocks" };
        sections.extend(of_text(&lengths, text(task), &others)?);
        Ok(sections)
    })
}

/// What the model says of the tokens of a set, which are `predicted` in some way.
fn of_words(
    predicted: &str,
    (name, guesses): (&str, &[Guess]),
    tokenizer: &Tokenizer,
) -> Vec<Section> {
    let way = predicted.to_lowercase();
    vec![
        Section::new(
            format!("{predicted} tokens of the {name} text"),
            kinds(guesses, tokenizer, &way),
        ),
        Section::new(
            format!("The words of the {name} text that cost most"),
            costly(guesses, tokenizer, &way),
        ),
    ]
}

/// What the page tells of raw text, of which one window is open.
fn of_text(
    lengths: &Lengths,
    (corpus, open): (&Corpus, usize),
    others: &[(&'static str, String)],
) -> gradus_models::Result<Vec<Section>> {
    // The text that is in memory: all of it, or a window of a long one.
    let train = corpus.read(open)?;
    let lines = |text: &'_ str| -> Vec<String> {
        text.lines().filter(|line| !line.trim().is_empty()).map(String::from).collect()
    };
    let owned = |lines: Vec<String>| lines.into_iter().map(Cow::Owned).collect();
    let texts = Texts {
        train: owned(lines(&train)),
        others: others.iter().map(|(name, text)| (*name, owned(lines(text)))).collect(),
    };
    let mut sections = vec![about_texts(lengths, &texts)];
    if corpus.windows() > 1 {
        let told = html! { p {
            "What is said of the texts is about one of the " (corpus.windows()) " parts of the \
            training text: no more is in memory."
        } };
        sections.push(Section::new("A long text", told));
    }
    Ok(sections)
}

/// The guesses of some tokens.
#[derive(Default)]
struct Word {
    count: usize,
    right: usize,
    loss: f64,
    /// How often each token was guessed instead.
    instead: BTreeMap<u32, usize>,
}

impl Word {
    fn add(&mut self, guess: &Guess) {
        self.count += 1;
        self.loss += f64::from(guess.loss);
        match guess.predicted == guess.truth {
            true => self.right += 1,
            false => *self.instead.entry(guess.predicted).or_default() += 1,
        }
    }

    fn right(&self) -> String {
        format!("{:.1} %", self.right as f64 * 100.0 / self.count.max(1) as f64)
    }

    fn perplexity(&self) -> String {
        format!("{:.1}", (self.loss / self.count.max(1) as f64).exp())
    }
}

fn token(tokenizer: &Tokenizer, id: u32) -> String {
    tokenizer.token(id).unwrap_or_default()
}

/// Whole words and first pieces beside the pieces after them.
fn kinds(guesses: &[Guess], tokenizer: &Tokenizer, way: &str) -> Markup {
    let (mut all, mut first, mut later) = (Word::default(), Word::default(), Word::default());
    for guess in guesses {
        all.add(guess);
        let piece = token(tokenizer, guess.truth).starts_with("##");
        if piece { later.add(guess) } else { first.add(guess) }
    }
    let mut rows = vec![("all", all)];
    // Other tokenizers mark the first pieces, if any.
    if later.count > 0 {
        rows.extend([("first pieces of words", first), ("later pieces", later)]);
    }
    html! {
        div.wide { table {
            tr { th { "tokens" } th.n { "right" } th.n { "perplexity" } th.n { (way) } }
            @for (name, word) in &rows { tr {
                td { (name) } td.n { (word.right()) } td.n { (word.perplexity()) }
                td.n { (word.count) }
            } }
        } }
    }
}

/// The tokens with the largest sum of losses.
fn costly(guesses: &[Guess], tokenizer: &Tokenizer, way: &str) -> Markup {
    let mut words: BTreeMap<u32, Word> = BTreeMap::new();
    guesses.iter().for_each(|guess| words.entry(guess.truth).or_default().add(guess));
    let all: f64 = words.values().map(|word| word.loss).sum();
    let mut rows: Vec<(u32, Word)> =
        words.into_iter().filter(|(_, word)| word.count >= LEAST).collect();
    rows.sort_by(|a, b| b.1.loss.total_cmp(&a.1.loss).then(a.0.cmp(&b.0)));
    html! {
        p { "Tokens that were " (way) " " (LEAST) " times or more, by their part of the loss." }
        div.wide { table {
            tr {
                th { "token" } th.n { (way) } th.n { "right" } th.n { "perplexity" }
                th.n { "part of the loss" } th { "guessed instead" }
            }
            @for (id, word) in rows.iter().take(SHOWN) { tr {
                td { (token(tokenizer, *id)) } td.n { (word.count) } td.n { (word.right()) }
                td.n { (word.perplexity()) }
                td.n { (format!("{:.1} %", word.loss * 100.0 / all.max(1e-9))) }
                td { (instead(word, tokenizer)) }
            } }
        } }
    }
}

/// The three most frequent wrong guesses.
fn instead(word: &Word, tokenizer: &Tokenizer) -> String {
    let mut wrong: Vec<(&u32, &usize)> = word.instead.iter().collect();
    wrong.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
    let shown =
        wrong.iter().take(3).map(|(id, count)| format!("{} ({count})", token(tokenizer, **id)));
    shown.collect::<Vec<_>>().join(", ")
}
