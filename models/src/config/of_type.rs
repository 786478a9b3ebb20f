//! What a model's type makes of its configuration: names, positions, dropouts.

use serde_json::Value;

use super::{EncoderConfig, Pooling, tenth};
use crate::family::{BERT, Family, Positions};
use crate::{Error, Result, Task};

/// DistilBERT's key of the dropout before the ends of an answer.
pub(super) const ANSWER_DROPOUT: &str = "qa_dropout";

impl EncoderConfig {
    /// Dropout before the labels of texts.
    pub fn head_dropout(&self) -> f64 {
        self.classifier_dropout.unwrap_or(self.hidden_dropout_prob)
    }

    /// Dropout before the labels of words.
    pub(crate) fn tag_dropout(&self) -> f64 {
        if self.family().own_dropouts { self.hidden_dropout_prob } else { self.head_dropout() }
    }

    /// Dropout before the ends of an answer; most types have none.
    pub(crate) fn answer_dropout(&self) -> f64 {
        let own = self.extra.get(ANSWER_DROPOUT).and_then(Value::as_f64);
        match &self.family().classifier {
            _ if self.family().own_dropouts => own.unwrap_or(tenth()),
            Some(inner) if inner.everywhere => self.head_dropout(),
            _ => 0.0,
        }
    }

    /// Sets every dropout of the model.
    pub fn set_dropout(&mut self, p: f64) {
        self.hidden_dropout_prob = p;
        self.attention_probs_dropout_prob = p;
        self.classifier_dropout = Some(p);
        for key in self.family().dropouts {
            self.extra.insert((*key).into(), p.into());
        }
    }

    /// How the model's type differs from BERT.
    pub(crate) fn family(&self) -> &'static Family {
        Family::of(&self.model_type).unwrap_or(&BERT)
    }

    /// The place of the encoder in a model with a head at `root`: `bert` for BERT.
    pub fn encoder_path(&self, root: &gradus_nn::Path) -> gradus_nn::Path {
        root.join(self.family().prefix)
    }

    /// The class of `transformers` that has the head of a task, such as
    /// `BertForSequenceClassification`.
    pub fn architecture(&self, task: Task) -> String {
        format!("{}{}", self.family().class, task.class())
    }

    /// The last parts of the names of the queries' and the values' linear layers, which PEFT adapts
    /// unless it is told otherwise: `query` and `value` in BERT.
    pub fn lora_targets(&self) -> Vec<String> {
        let names = self.family().names;
        let last = |name: &'static str| name.rsplit('.').next().unwrap_or(name).to_string();
        match names.qkv {
            Some(all) => vec![last(all)],
            None => vec![last(names.query), last(names.value)],
        }
    }

    /// The layer that gives the logits of an answer's ends.
    ///
    /// # Errors
    /// For a model type without such a head.
    pub(crate) fn answer_layer(&self) -> Result<&'static str> {
        self.family().answers.ok_or_else(|| self.lacks_head("that answers"))
    }

    /// Whether a token sees only the tokens before it, as in GPT-2: the model can go on with a text.
    pub fn is_causal(&self) -> bool {
        self.family().causal_lm.is_some()
    }

    /// The layer that gives the logits of the labels of texts or words.
    pub(crate) fn label_layer(&self, task: Task) -> &'static str {
        let family = self.family();
        let of_texts = family.classifier.as_ref().map(|inner| inner.output).or(family.score);
        of_texts.filter(|_| task == Task::Classify).unwrap_or("classifier")
    }

    /// The error of a model type without a head.
    pub(crate) fn lacks_head(&self, what: &str) -> Error {
        let message = format!("transformers has no model of type `{}` {what}", self.model_type);
        Error::config("", message)
    }

    /// The pooling of the type's own classifier: `cls`, or what its class in `transformers` has.
    pub(crate) fn is_own_pooling(&self, pooling: Pooling) -> bool {
        if self.family().score.is_some() {
            return pooling == Pooling::LastToken;
        }
        let named = self.family().keys.iter().any(|(name, _)| *name == "pooling");
        pooling == Pooling::Cls || (named && pooling == Pooling::Mean)
    }

    /// Width of the embeddings.
    pub fn embedding_width(&self) -> usize {
        self.embedding_size.unwrap_or(self.hidden_size)
    }

    /// The position of a sequence's first token.
    pub(crate) fn first_position(&self) -> usize {
        match self.family().positions {
            Positions::Zero | Positions::Rotary => 0,
            Positions::AfterPadding => self.pad_token_id.map_or(0, |pad| pad as usize) + 1,
        }
    }

    /// The most tokens of a sequence: the model has no positions for more.
    pub fn max_tokens(&self) -> usize {
        self.max_position_embeddings.saturating_sub(self.first_position())
    }

    /// The positions of a sequence's tokens.
    pub(crate) fn positions(&self, ids: &[u32]) -> impl Iterator<Item = u32> {
        let mut next = self.first_position() as u32;
        let after_padding = self.family().positions == Positions::AfterPadding;
        let padding = self.pad_token_id.filter(|_| after_padding);
        ids.iter().map(move |&id| match padding.filter(|&pad| pad == id) {
            Some(pad) => pad,
            None => {
                next += 1;
                next - 1
            }
        })
    }
}
