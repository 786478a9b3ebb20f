//! The tasks that a model can be trained for. Each has its examples, a loss, and metrics; the loop
//! around them is [`training`](crate::training).
//!
//! | task | model | metrics |
//! | --- | --- | --- |
//! | [`Classification`] | [`SequenceClassifier`](crate::SequenceClassifier) | accuracy, macro F1 |

mod classify;

pub use classify::{Classification, encode_split};
