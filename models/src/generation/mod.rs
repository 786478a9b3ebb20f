//! How a causal language model goes on with a text: settings, the choice of a token, stopping.

mod sampler;
mod settings;
mod stop;
mod stream;

pub use sampler::Sampler;
pub use settings::GenerationConfig;
pub(crate) use stop::Stops;
pub(crate) use stream::TextStream;

use serde::{Deserialize, Serialize};

/// Why a generated text ends; the names are those of text-generation-inference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// It has as many tokens as were asked for, or as the model has positions for.
    Length,
    /// The model ended it.
    EosToken,
    /// It came to one of the texts at which it was to stop.
    StopSequence,
    /// The caller did not want more.
    Cancelled,
}
