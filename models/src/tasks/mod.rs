//! The tasks that a model can be trained for. Each has its examples, a loss, and metrics; the loop
//! around them is [`training`](crate::training).
//!
//! | task | model | the metric that decides, and the others |
//! | --- | --- | --- |
//! | [`Classification`], one label | [`SequenceClassifier`](crate::SequenceClassifier) | accuracy; macro and weighted F1, calibration error |
//! | several labels | the same | micro F1; macro and weighted F1, accuracy of whole sets |
//! | a number | the same | Pearson's correlation; Spearman's, mean squared error |

mod answers;
mod classify;
mod problem;

pub use answers::{Answers, Tally};
pub use classify::{Classification, Encoded, encode_split};
pub use problem::Problem;
