//! What a model is made for.

use crate::folder::{Layout, Sentence};
use crate::{BertConfig, Result, resolve};

/// What a model is made for: its pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Task {
    /// Texts to vectors: [`TextEmbedder`](super::TextEmbedder).
    Embed,
    /// Texts, or pairs, to labels: [`TextClassifier`](super::TextClassifier).
    Classify,
    /// Words for `[MASK]`: [`FillMask`](super::FillMask).
    FillMask,
    /// A label for every word: [`TokenTagger`](super::TokenTagger).
    Tag,
}

impl Task {
    /// The name of the task in Hugging Face's terms.
    pub fn name(self) -> &'static str {
        match self {
            Task::Embed => "feature-extraction",
            Task::Classify => "text-classification",
            Task::FillMask => "fill-mask",
            Task::Tag => "token-classification",
        }
    }
}

/// What the model of a folder or a hub id is made for. Its head decides: that of `architectures` in
/// config.json, except that a folder of sentence-transformers (modules.json) embeds unless it is a
/// cross-encoder.
///
/// # Errors
/// When it cannot be had, or its files are malformed.
pub fn task(model: &str) -> Result<Task> {
    let layout = Layout::read(&resolve(model)?)?;
    let config = BertConfig::load(layout.transformer.join("config.json"))?;
    if layout.modules.is_some() {
        let classifies = Sentence::read(&layout)?.cross_encoder;
        return Ok(if classifies { Task::Classify } else { Task::Embed });
    }
    let has = |head: &str| config.architectures.iter().any(|name| name.contains(head));
    // Earlier folders of `train` call a classifier on the mean of the tokens a BertModel.
    let classifies = config.problem_type.is_some() && !config.id2label.is_empty();
    Ok(match () {
        () if has("SequenceClassification") || classifies => Task::Classify,
        () if has("TokenClassification") => Task::Tag,
        () if has("MaskedLM") => Task::FillMask,
        () => Task::Embed,
    })
}
