//! What a request asks a model: its inputs, how they are encoded, and who asks.

use std::time::Instant;

use crate::error::{Kind, Problem, Result};

/// One input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Text {
    /// A text.
    Plain(String),
    /// A pair of texts.
    Pair(String, String),
    /// Token ids, with or without the special ones.
    Ids(Vec<u32>),
}

impl Text {
    /// Number of characters; 0 for token ids.
    pub fn characters(&self) -> usize {
        match self {
            Text::Plain(text) => text.chars().count(),
            Text::Pair(a, b) => a.chars().count() + b.chars().count(),
            Text::Ids(_) => 0,
        }
    }

    /// Number of bytes, or of token ids.
    pub fn bytes(&self) -> usize {
        match self {
            Text::Plain(text) => text.len(),
            Text::Pair(a, b) => a.len() + b.len(),
            Text::Ids(ids) => ids.len(),
        }
    }
}

/// How texts are encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodeOptions {
    /// Whether texts with too many tokens are cut; otherwise they are refused.
    pub truncate: bool,
    /// Whether they are cut at their beginning instead of their end.
    pub left: bool,
    /// The name of the model's prompt that goes before each text.
    pub prompt: Option<String>,
}

impl Default for EncodeOptions {
    fn default() -> Self {
        EncodeOptions { truncate: true, left: false, prompt: None }
    }
}

/// Who asks, and until when.
#[derive(Debug, Clone, Copy)]
pub struct Caller {
    /// The client's number. Requests of different clients take turns.
    pub client: u64,
    /// When the request arrived.
    pub arrived: Instant,
    /// When its answer stops being useful.
    pub deadline: Instant,
}

/// The inputs of a request, how they are encoded, and who asks.
#[derive(Debug)]
pub struct Question {
    /// The inputs.
    pub texts: Vec<Text>,
    /// How they are encoded.
    pub options: EncodeOptions,
    /// Who asks.
    pub caller: Caller,
}

impl Question {
    /// A question about these texts.
    pub fn new(texts: Vec<Text>, options: EncodeOptions, caller: Caller) -> Question {
        Question { texts, options, caller }
    }
}

/// Most bytes that the copies of one text may take.
const MAX_COPIED: usize = 64 << 20;

/// Refuses to copy a text of this many bytes into this many inputs, such as a query before its
/// documents: a body of megabytes would become gigabytes.
///
/// # Errors
/// When the copies would be too large. `at` is the text's field.
pub fn check_copies(bytes: usize, inputs: usize, at: &str) -> Result<()> {
    match bytes.saturating_mul(inputs) <= MAX_COPIED {
        true => Ok(()),
        false => {
            let message = format!(
                "has {bytes} bytes, too many to repeat in each of {inputs} inputs; shorten it"
            );
            Err(Problem { kind: Kind::TooLarge, ..Problem::field(at, message) })
        }
    }
}
