//! The tasks that a model can be trained for. Each has its examples, a loss, and metrics; the loop
//! around them is [`training`](crate::training).
//!
//! | task | model | the metric that decides, and the others |
//! | --- | --- | --- |
//! | [`Classification`], one label | [`SequenceClassifier`](crate::SequenceClassifier) | accuracy; macro and weighted F1, calibration error |
//! | several labels | the same | micro F1; macro and weighted F1, accuracy of whole sets |
//! | a number | the same | Pearson's correlation; Spearman's, mean squared error |
//! | [`MaskedLanguageModel`] | [`MaskedLm`](crate::MaskedLm) | perplexity; accuracy of the masked tokens |
//! | [`CausalLanguageModel`] | [`CausalLm`](crate::CausalLm) | perplexity; bits per byte, accuracy of the next token |
//! | [`Tagging`] | [`TokenClassifier`](crate::TokenClassifier) | F1; precision and recall of entities, accuracy of words |
//! | [`Embedding`], pairs of texts | [`SentenceEncoder`](crate::SentenceEncoder) | recall@1; recall@5, recall@10, mean reciprocal rank, triplet accuracy |
//! | pairs with a score | the same | Spearman's correlation; Pearson's |
//! | [`Distillation`], one label | [`SequenceClassifier`](crate::SequenceClassifier) | as [`Classification`]; how often student and teacher agree |
//! | [`QuestionAnswering`] | [`SpanPredictor`](crate::SpanPredictor) | F1; exact matches, both of questions with and without answers |

mod answer;
mod answers;
mod blocks;
mod causal_lm;
mod classify;
mod distill;
mod embed;
mod guess;
mod hidden;
mod masked_lm;
mod pair_loss;
mod pair_scores;
mod pairs;
mod problem;
mod reading;
mod tokens;

pub use answer::{
    AnswerTally, AnswerWindow, Answered, Decoding, EncodedQuestion, QuestionAnswering,
    encode_questions,
};
pub use answers::{Answers, Given, Judged, Tally};
pub use blocks::{Block, blocks};
pub(crate) use causal_lm::next_guesses;
pub use causal_lm::{Blocks, CausalLanguageModel};
pub use classify::{Classification, Encoded, encode_split};
pub use distill::{Distillation, DistilledTexts, Distilling, Taught};
pub use embed::{Embedding, EmbeddingOptions};
pub use guess::Guess;
pub use hidden::HiddenMatch;
pub(crate) use masked_lm::guesses;
pub use masked_lm::{Masked, MaskedLanguageModel};
pub use pair_loss::PairLoss;
pub use pair_scores::{PairScores, Ranking};
pub use pairs::{EncodedPairs, PairEncoder};
pub use problem::Problem;
pub(crate) use tokens::IGNORED;
pub use tokens::{TaggedEncoding, TaggedWord, Tagging, encode_tagged};
