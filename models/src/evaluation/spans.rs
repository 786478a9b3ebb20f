//! The part of a text that answers a question, from a model's logits: as `run_qa.py` of
//! `transformers` finds it for an evaluation.

use std::ops::Range;

use crate::tokenizer::Window;

/// How many starts, and ends, of a window are tried, the best first.
const N_BEST: usize = 20;

/// The logits of a window's tokens: how well an answer starts, and ends, at each.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SpanLogits {
    /// Of the start.
    pub start: Vec<f32>,
    /// Of the end.
    pub end: Vec<f32>,
}

impl SpanLogits {
    /// From the rows `[start, end]` of a window's tokens, end to end.
    pub fn of_rows(rows: &[f32]) -> SpanLogits {
        let column = |at: usize| rows.iter().skip(at).step_by(2).copied().collect();
        SpanLogits { start: column(0), end: column(1) }
    }

    /// The score that the window holds no answer: that of its first token, `[CLS]`.
    fn none(&self) -> f64 {
        let first = |logits: &[f32]| logits.first().copied().map_or(0.0, f64::from);
        first(&self.start) + first(&self.end)
    }

    /// The loss for an answer from one token to another: the mean of both cross-entropies.
    ///
    /// # Panics
    /// If there is no such token.
    pub fn loss(&self, (start, end): (usize, usize)) -> f64 {
        let cross_entropy = |logits: &[f32], target: usize| {
            let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let top = f64::from(top);
            let sum: f64 = logits.iter().map(|&logit| (f64::from(logit) - top).exp()).sum();
            top + sum.ln() - f64::from(logits[target])
        };
        (cross_entropy(&self.start, start) + cross_entropy(&self.end, end)) / 2.0
    }
}

/// The best part of a text.
#[derive(Clone, Debug, PartialEq)]
pub struct BestSpan {
    /// Where it is, in bytes; `None` for a text without tokens.
    pub place: Option<Range<usize>>,
    /// The score of no answer, the lowest of all windows, less the score of this part: the sums of
    /// two logits each. Infinite without a part.
    pub difference: f64,
}

/// The best part of a text of at most `max_answer_length` tokens, over all windows of the text.
pub fn best_span(windows: &[Window], logits: &[SpanLogits], max_answer_length: usize) -> BestSpan {
    let mut best: Option<(Range<usize>, f64)> = None;
    let mut none = f64::INFINITY;
    for (window, logits) in windows.iter().zip(logits) {
        none = none.min(logits.none());
        let ends = highest(&logits.end);
        for start in highest(&logits.start).into_iter().filter(|at| window.context.contains(at)) {
            for &end in ends.iter().filter(|end| window.context.contains(end)) {
                if end < start || end - start >= max_answer_length {
                    continue;
                }
                let offsets = &window.encoding.offsets;
                let place = offsets[start].0..offsets[end].1;
                let score = f64::from(logits.start[start]) + f64::from(logits.end[end]);
                if !place.is_empty() && best.as_ref().is_none_or(|(_, known)| score > *known) {
                    best = Some((place, score));
                }
            }
        }
    }
    let difference = best.as_ref().map_or(f64::INFINITY, |(_, score)| none - score);
    BestSpan { place: best.map(|(place, _)| place), difference }
}

/// The places of the highest logits, the highest first.
fn highest(logits: &[f32]) -> Vec<usize> {
    let mut places: Vec<usize> = (0..logits.len()).collect();
    places.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]).then(b.cmp(&a)));
    places.truncate(N_BEST);
    places
}
