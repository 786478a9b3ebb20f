//! Answers to questions, as the evaluation scripts of SQuAD 1.1 and 2.0 count them (Rajpurkar et
//! al. 2016 and 2018).

use std::collections::HashMap;

/// An answer without what the scripts of SQuAD ignore: in lower case, without ASCII punctuation and
/// without the words a, an and the, with single spaces.
///
/// ```
/// use gradus_models::evaluation::normalize_answer;
///
/// assert_eq!(normalize_answer("The  Zoë-Effect, a theory."), "zoëeffect theory");
/// ```
pub fn normalize_answer(text: &str) -> String {
    let lower = text.to_lowercase();
    let plain: String = lower.chars().filter(|c| !c.is_ascii_punctuation()).collect();
    let mut kept = String::with_capacity(plain.len());
    // Words in the sense of regular expressions: `the’s` has the words `the` and `s`.
    let is_word = |c: char| c.is_alphanumeric();
    let mut rest = plain.as_str();
    while let Some(first) = rest.chars().next() {
        let end = rest.find(|c| is_word(c) != is_word(first)).unwrap_or(rest.len());
        let (run, others) = rest.split_at(end);
        kept.push_str(if matches!(run, "a" | "an" | "the") { " " } else { run });
        rest = others;
    }
    let words: Vec<&str> = kept.split(is_space).filter(|word| !word.is_empty()).collect();
    words.join(" ")
}

/// White space as Python's `str.split` sees it.
fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// How well a prediction agrees with one right answer: whether both are the same, and the F1 of
/// their words, both after [`normalize_answer`]. No answer is the empty text.
pub fn compare_answers(right: &str, predicted: &str) -> (bool, f64) {
    let (right, predicted) = (normalize_answer(right), normalize_answer(predicted));
    let exact = right == predicted;
    let mut counts: HashMap<&str, u64> = HashMap::new();
    let (mut of_right, mut of_predicted, mut same) = (0u64, 0u64, 0u64);
    for word in right.split_whitespace() {
        *counts.entry(word).or_default() += 1;
        of_right += 1;
    }
    for word in predicted.split_whitespace() {
        of_predicted += 1;
        if let Some(count) = counts.get_mut(word).filter(|count| **count > 0) {
            *count -= 1;
            same += 1;
        }
    }
    if of_right == 0 || of_predicted == 0 {
        return (exact, f64::from(of_right == of_predicted));
    }
    if same == 0 {
        return (exact, 0.0);
    }
    let (precision, recall) = (same as f64 / of_predicted as f64, same as f64 / of_right as f64);
    (exact, 2.0 * precision * recall / (precision + recall))
}

/// How well the predicted answer agrees with the best of the right ones. Right answers of articles
/// and punctuation alone do not count; without any, no answer is right.
pub(crate) fn best_agreement<S: AsRef<str>>(right: &[S], predicted: &str) -> (f64, f64) {
    let telling = right.iter().map(AsRef::as_ref).filter(|text| !normalize_answer(text).is_empty());
    let mut best = None;
    for text in telling {
        let (exact, f1) = compare_answers(text, predicted);
        let (known, known_f1) = best.unwrap_or((0.0, 0.0));
        best = Some((f64::max(known, f64::from(exact)), f64::max(known_f1, f1)));
    }
    best.unwrap_or_else(|| {
        let (exact, f1) = compare_answers("", predicted);
        (f64::from(exact), f1)
    })
}

/// The numbers of one question.
#[derive(Clone, Copy, Debug)]
struct Row {
    has_answer: bool,
    /// Exact match and F1 of the prediction.
    scores: [f64; 2],
    /// The same of the best part of the text, whether or not the prediction is that there is no
    /// answer.
    of_span: [f64; 2],
    /// Whether there is such a part.
    is_span: bool,
    difference: f64,
}

/// Predicted answers beside the right ones.
///
/// ```
/// use gradus_models::evaluation::SquadScores;
///
/// let mut scores = SquadScores::new(None);
/// scores.add(&["Ada Lovelace", "Lovelace"], "lovelace", 0.0);
/// scores.add(&["in London"], "London", 0.0);
/// assert_eq!(scores.value("exact_match"), Some(0.5));
/// assert_eq!(scores.value("f1"), Some((1.0 + 2.0 / 3.0) / 2.0));
/// ```
#[derive(Clone, Debug)]
pub struct SquadScores {
    threshold: Option<f64>,
    rows: Vec<Row>,
}

impl SquadScores {
    /// No question yet. With a `threshold`, a prediction is that there is no answer where the
    /// difference between the scores of no answer and of the best one is above it.
    pub fn new(threshold: Option<f64>) -> SquadScores {
        SquadScores { threshold, rows: Vec::new() }
    }

    /// Counts a question: its right answers (none where there is no answer), the best part of the
    /// text, and how much higher the score of no answer is than that of this part. Returns whether
    /// the prediction is an exact match.
    pub fn add<S: AsRef<str>>(&mut self, right: &[S], span: &str, difference: f64) -> bool {
        let pair = |(exact, f1)| [exact, f1];
        let of_span = pair(best_agreement(right, span));
        let has_answer = !right.is_empty();
        let scores = match self.says_none(difference) {
            true => [f64::from(!has_answer); 2],
            false => of_span,
        };
        self.rows.push(Row { has_answer, scores, of_span, is_span: !span.is_empty(), difference });
        scores[0] == 1.0
    }

    /// Whether the prediction is that there is no answer, by the difference between the scores.
    pub fn says_none(&self, difference: f64) -> bool {
        self.threshold.is_some_and(|threshold| difference > threshold)
    }

    /// How many questions were counted.
    pub fn questions(&self) -> usize {
        self.rows.len()
    }

    /// The numbers, by the names that the scripts give them: `exact_match` and `f1`; with a
    /// threshold also `HasAns_exact`, `HasAns_f1`, `NoAns_exact`, `NoAns_f1` over the questions
    /// with and without answers, where there are some, and `best_exact`, `best_exact_thresh`,
    /// `best_f1`, `best_f1_thresh`: the scores with the thresholds for which they are highest.
    /// Scores are shares of 1.
    pub fn values(&self) -> Vec<(&'static str, f64)> {
        let mean = |score: usize, of: &dyn Fn(&Row) -> bool| {
            let scores = || self.rows.iter().filter(|row| of(row)).map(|row| row.scores[score]);
            (scores().count() > 0).then(|| scores().sum::<f64>() / scores().count() as f64)
        };
        let mut values = vec![
            ("exact_match", mean(0, &|_| true).unwrap_or(0.0)),
            ("f1", mean(1, &|_| true).unwrap_or(0.0)),
        ];
        if self.threshold.is_none() || self.rows.is_empty() {
            return values;
        }
        let parts = [
            ("HasAns_exact", mean(0, &|row| row.has_answer)),
            ("HasAns_f1", mean(1, &|row| row.has_answer)),
            ("NoAns_exact", mean(0, &|row| !row.has_answer)),
            ("NoAns_f1", mean(1, &|row| !row.has_answer)),
        ];
        values.extend(parts.into_iter().filter_map(|(name, value)| Some((name, value?))));
        let (exact, at) = self.best_threshold(0);
        values.extend([("best_exact", exact), ("best_exact_thresh", at)]);
        let (f1, at) = self.best_threshold(1);
        values.extend([("best_f1", f1), ("best_f1_thresh", at)]);
        values
    }

    /// The number of this name.
    pub fn value(&self, name: &str) -> Option<f64> {
        self.values().into_iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// The highest mean of a score for any threshold, and that threshold: `find_best_thresh` of
    /// SQuAD 2.0's script.
    fn best_threshold(&self, score: usize) -> (f64, f64) {
        let mut rows: Vec<&Row> = self.rows.iter().collect();
        rows.sort_by(|a, b| a.difference.total_cmp(&b.difference));
        // Below every difference, all predictions are that there is no answer.
        let mut sum = rows.iter().filter(|row| !row.has_answer).count() as f64;
        let (mut best, mut at) = (sum, 0.0);
        for row in &rows {
            sum += match (row.has_answer, row.is_span) {
                (true, _) => row.of_span[score],
                (false, true) => -1.0,
                (false, false) => 0.0,
            };
            if sum > best {
                (best, at) = (sum, row.difference);
            }
        }
        (best / rows.len() as f64, at)
    }
}
