//! The tasks that a model can be trained for. Each has its examples, a loss, and metrics; the loop
//! around them is [`training`](crate::training).
//!
//! | task | model | metrics |
//! | --- | --- | --- |
//! | [`Classification`] | [`SequenceClassifier`](crate::SequenceClassifier) | accuracy, macro F1 |
//! | [`Tagging`] | [`TokenClassifier`](crate::TokenClassifier) | F1, precision and recall of entities, accuracy of words |

mod classify;
mod tokens;

pub use classify::{Classification, encode_split};
pub use tokens::{TaggedEncoding, Tagging, encode_tagged};
