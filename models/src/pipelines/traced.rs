//! What a model does with one text, operation by operation.

use gradus_autograd::Var;
use gradus_autograd::trace::{Page, Sequence, Trace, trace};
use gradus_nn::Precision;
use gradus_tensor::Tensor;

use super::Pipeline;
use crate::{EncoderInput, Encoding, Error, PackedBatch, Result};

/// A text that a model has read, with every operation of the way.
pub struct TracedText {
    /// The operations, backward too if there was a target.
    pub trace: Trace,
    /// The text and its tokens.
    pub sequence: Sequence,
    /// What the model answers: logits, a vector.
    pub output: Tensor,
    /// The loss, where there was a target.
    pub loss: Option<f64>,
    labels: Vec<String>,
    facts: Vec<(String, String)>,
}

impl TracedText {
    /// The trace as a page.
    pub fn page(&self, title: impl Into<String>) -> Page<'_> {
        let page = Page::new(title, &self.trace).texts(vec![self.sequence.clone()], &self.labels);
        self.facts.iter().fold(page, |page, (name, value)| page.fact(name, value))
    }
}

impl Pipeline {
    /// Traces what the model does with a text, or a pair of texts. With a `target` also the loss and
    /// the way back from it. A target is the label of a classifier (with several right labels or a
    /// number the loss is that of training), the tags of all words of a tagger, or the word of a
    /// mask.
    ///
    /// # Errors
    /// When the text cannot be encoded, the model has no such target, or it computes
    /// in 8 bits ([`Runner::set_precision`](super::Runner::set_precision)), of which nothing is
    /// recorded.
    pub fn trace(
        &self,
        text: &str,
        pair: Option<&str>,
        target: Option<&str>,
    ) -> Result<TracedText> {
        let precision = self.precision();
        if precision == Precision::Int8 {
            return Err(Error::Input(
                "a trace shows what is recorded for gradients, and weights in 8 bits have none; trace \
                 in f32, bf16 or f16"
                    .into(),
            ));
        }
        let encodings = self.encode(&[(text, pair)])?;
        let encoding = &encodings[0];
        let loss = target.map(|target| self.loss_of(target, encoding)).transpose()?;
        let packed = PackedBatch::new([encoding], self.config())?;
        let input = EncoderInput::new(&packed)?.to_device(self.device())?;
        let run = || -> Result<(Tensor, Option<f64>)> {
            let output = self.traced_output(&input, encoding, &packed)?;
            let loss = loss.as_ref().map(|loss| loss(&output)).transpose()?;
            loss.as_ref().map(Var::backward).transpose()?;
            Ok((output.into_tensor(), loss.map(|loss| loss.item()).transpose()?))
        };
        // A trace belongs to a thread: all of the pass runs on this one of the pool.
        let traced = rayon::scope(|_| precision.run(|| trace(|| Ok(run()))));
        let (result, trace) = traced?;
        let (output, loss) = result?;
        let sequence = Sequence {
            text: pair.map_or(text.to_string(), |pair| format!("{text} / {pair}")),
            tokens: encoding.tokens.clone(),
            target: target.map(str::to_string),
        };
        let mut facts = vec![
            ("model".to_string(), self.folder().display().to_string()),
            ("tokens".into(), encoding.len().to_string()),
        ];
        facts.extend(loss.map(|loss| ("loss".to_string(), format!("{loss:.4}"))));
        Ok(TracedText { trace, sequence, output, loss, labels: self.labels().to_vec(), facts })
    }

    /// The output of the head, with its place in the graph.
    fn traced_output(
        &self,
        input: &EncoderInput,
        encoding: &Encoding,
        packed: &PackedBatch,
    ) -> Result<Var> {
        match self {
            Pipeline::Embed(p) => p.output(input, &[encoding.prompt]),
            Pipeline::Classify(p) => p.output(input),
            Pipeline::FillMask(p) => p.all_logits(input, packed),
            Pipeline::Tag(p) => p.output(input),
            Pipeline::Answer(p) => p.output(input),
        }
    }
}
