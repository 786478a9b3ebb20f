//! The encoder with a head: sequence classification, masked language model, token classification,
//! question answering. Logits are f32 even where products are f16.

use gradus_autograd::Var;
use gradus_nn::{CrossEntropy, Dropout, Forward, Init, Linear, Path};
use gradus_tensor::Tensor;

use super::decoder::Decoder;
use super::inner::Inner;
use super::{Encoder, EncoderInput};
use crate::{EncoderConfig, Pooling, Result};

/// Dropout and a linear layer: the head of classifiers and of question answering.
struct LabelHead {
    /// What comes before, in types that have it.
    inner: Option<Inner>,
    dropout: Dropout,
    output: Linear,
}

impl LabelHead {
    /// The linear layer at `path`, after a dropout of probability `p`.
    fn new(
        path: &Path,
        config: &EncoderConfig,
        labels: usize,
        (inner, p): (Option<Inner>, f64),
    ) -> Result<Self> {
        let init = Init::Normal { std: config.initializer_range };
        Ok(LabelHead {
            inner,
            dropout: Dropout::new(path, p)?,
            output: Linear::new(path, config.hidden_size, labels, init)?,
        })
    }

    /// A linear layer without a bias alone.
    fn score(path: &Path, config: &EncoderConfig, labels: usize) -> Result<Self> {
        let init = Init::Normal { std: config.initializer_range };
        let output = Linear::no_bias(path, config.hidden_size, labels, init)?;
        Ok(LabelHead { inner: None, dropout: Dropout::new(path, 0.0)?, output })
    }

    /// Logits, `[n, labels]`, of `[n, hidden]`.
    fn forward(&self, hidden: &Var, forward: &Forward) -> Result<Var> {
        let inner = self.inner.as_ref().map(|inner| inner.forward(hidden, forward)).transpose()?;
        let dropped = self.dropout.forward(inner.as_ref().unwrap_or(hidden), forward)?;
        Ok(self.output.forward(&dropped)?.at_least_f32()?)
    }
}

/// `BertForSequenceClassification` (pooling `cls`), or the same on the mean of the tokens.
pub struct SequenceClassifier {
    encoder: Encoder,
    pooling: Pooling,
    head: LabelHead,
}

impl SequenceClassifier {
    /// Builds the model from the parameters under `root`, for `labels` labels.
    pub fn new(
        root: &Path,
        config: &EncoderConfig,
        pooling: Pooling,
        labels: usize,
    ) -> Result<Self> {
        let (family, own) = (config.family(), config.is_own_pooling(pooling));
        let names = family.classifier.as_ref();
        let pooler = pooling == Pooling::Cls && names.is_none() && family.score.is_none();
        let head = match (family.score, names) {
            (Some(score), _) if own => LabelHead::score(&root.join(score), config, labels)?,
            (_, names) => {
                let names = names.filter(|_| own);
                let output = root.join(names.map_or("classifier", |names| names.output));
                let inner = names.map(|names| Inner::of_texts(root, config, names)).transpose()?;
                LabelHead::new(&output, config, labels, (inner, config.head_dropout()))?
            }
        };
        let encoder = Encoder::new(&config.encoder_path(root), config, pooler)?;
        Ok(SequenceClassifier { encoder, pooling, head })
    }

    /// The encoder.
    pub fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    /// Logits, `[sequences, labels]`.
    pub fn forward(&self, input: &EncoderInput, forward: &Forward) -> Result<Var> {
        self.label(&self.encoder.forward(input, forward)?, input, forward)
    }

    /// Logits, `[sequences, labels]`, with the embeddings' output and every layer's, each
    /// `[tokens, hidden]`.
    pub fn forward_with_states(
        &self,
        input: &EncoderInput,
        forward: &Forward,
    ) -> Result<(Var, Vec<Var>)> {
        let states = self.encoder.hidden_states(input, forward)?;
        Ok((self.label(&states[states.len() - 1], input, forward)?, states))
    }

    /// The logits of a last hidden state.
    fn label(&self, hidden: &Var, input: &EncoderInput, forward: &Forward) -> Result<Var> {
        self.head.forward(&self.encoder.pool(hidden, input, self.pooling)?, forward)
    }
}

/// `BertForMaskedLM`: the decoder is tied to the word embeddings.
pub struct MaskedLm {
    encoder: Encoder,
    inner: Inner,
    decoder: Decoder,
}

impl MaskedLm {
    /// Builds the model from the parameters under `root`.
    pub fn new(root: &Path, config: &EncoderConfig) -> Result<Self> {
        let inner = Inner::of_masked_lm(root, config)?;
        let has_bias = !config.switches()?.head.no_decoder_bias;
        let names = config.family().masked_lm.as_ref().filter(|_| has_bias);
        Ok(MaskedLm {
            encoder: Encoder::new(&config.encoder_path(root), config, false)?,
            inner,
            decoder: Decoder::new(root, config, names.map(|names| names.bias))?,
        })
    }

    /// The encoder.
    pub fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    /// Logits over the vocabulary at the tokens `positions` (u32 `[n]`, places in the packed
    /// batch): `[n, vocabulary]`. Only these pass the decoder, the most expensive part of the
    /// model.
    pub fn forward(
        &self,
        input: &EncoderInput,
        positions: &Tensor,
        forward: &Forward,
    ) -> Result<Var> {
        let x = self.transformed(input, positions, forward)?;
        self.decoder.forward(&x, &self.encoder)
    }

    /// The cross-entropy of [`forward`](MaskedLm::forward)'s logits against the true words
    /// `targets` (u32 `[n]`), without holding all logits at once.
    pub fn loss(
        &self,
        input: &EncoderInput,
        positions: &Tensor,
        targets: &Tensor,
        options: &CrossEntropy,
        forward: &Forward,
    ) -> Result<Var> {
        let x = self.transformed(input, positions, forward)?;
        self.decoder.loss(&x, &self.encoder, targets, options)
    }

    /// The input of the decoder, `[n, hidden]`.
    fn transformed(
        &self,
        input: &EncoderInput,
        positions: &Tensor,
        forward: &Forward,
    ) -> Result<Var> {
        let hidden = self.encoder.forward(input, forward)?.index_select(0, positions)?;
        self.inner.forward(&hidden, forward)
    }
}

/// `BertForTokenClassification`: a label for every token.
pub struct TokenClassifier {
    encoder: Encoder,
    head: LabelHead,
}

impl TokenClassifier {
    /// Builds the model from the parameters under `root`, for `labels` labels.
    pub fn new(root: &Path, config: &EncoderConfig, labels: usize) -> Result<Self> {
        let before = (Inner::everywhere(root, config)?, config.tag_dropout());
        Ok(TokenClassifier {
            encoder: Encoder::new(&config.encoder_path(root), config, false)?,
            head: LabelHead::new(&root.join("classifier"), config, labels, before)?,
        })
    }

    /// The encoder.
    pub fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    /// Logits, `[tokens, labels]`.
    pub fn forward(&self, input: &EncoderInput, forward: &Forward) -> Result<Var> {
        self.head.forward(&self.encoder.forward(input, forward)?, forward)
    }
}

/// `BertForQuestionAnswering`: how well an answer starts, and ends, at every token.
pub struct SpanPredictor {
    encoder: Encoder,
    head: LabelHead,
}

impl SpanPredictor {
    /// Builds the model from the parameters under `root`.
    ///
    /// # Errors
    /// For a model type without such a head.
    pub fn new(root: &Path, config: &EncoderConfig) -> Result<Self> {
        let output = config.answer_layer()?;
        let before = (Inner::everywhere(root, config)?, config.answer_dropout());
        Ok(SpanPredictor {
            encoder: Encoder::new(&config.encoder_path(root), config, false)?,
            head: LabelHead::new(&root.join(output), config, 2, before)?,
        })
    }

    /// The encoder.
    pub fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    /// Logits of the start and of the end of an answer, `[tokens, 2]`.
    pub fn forward(&self, input: &EncoderInput, forward: &Forward) -> Result<Var> {
        self.head.forward(&self.encoder.forward(input, forward)?, forward)
    }
}
