//! The model types that the encoder can be, and how each differs from BERT.
//!
//! `config.json` names the type (`model_type`). A type is one [`Family`], a table of names and
//! switches; the code of the encoder and its heads asks the table and knows no type by name. To add
//! a type, add its table to [`FAMILIES`] and a golden model to `models/tests/golden/family.py`.

mod bert;
mod distilbert;
mod electra;
mod file_form;
mod gpt2;
mod modernbert;
mod mpnet;
mod names;
mod nomic_bert;
mod roberta;
mod switches;
mod unsupported;

use gradus_nn::{Activation, LayerNames};

pub(crate) use bert::BERT;
pub(crate) use file_form::{FileForm, Part, in_files};
pub(crate) use names::{bare, is_encoder, is_final_norm, is_head, is_transposed, layer_of};
pub(crate) use switches::Switches;
pub(crate) use unsupported::unsupported;

use serde_json::{Map, Value};

use crate::EncoderConfig;

/// A model type.
pub(crate) struct Family {
    /// `model_type` in config.json.
    pub model_type: &'static str,
    /// How the names of its classes in `transformers` begin.
    pub class: &'static str,
    /// The place of the encoder in a model with a head.
    pub prefix: &'static str,
    /// The place of the layers in the encoder.
    pub layers: &'static str,
    /// The names of a layer's parts.
    pub names: LayerNames,
    /// The names of the embeddings' parts.
    pub embeddings: EmbeddingNames,
    /// The names in files, where they differ from those of the type's class in `transformers`.
    pub file_form: Option<FileForm>,
    /// Parts of a layer whose weights are `[in, out]` in files.
    pub transposed: &'static [&'static str],
    /// Tensors of a layer that older files hold, and that are no parameters.
    pub buffers: &'static [&'static str],
    /// Further modules of the encoder.
    pub others: &'static [&'static str],
    /// Whether layers normalise before their blocks.
    pub pre_norm: bool,
    /// The norm after the last layer.
    pub final_norm: Option<&'static str>,
    /// What config.json turns on.
    ///
    /// # Errors
    /// For a value that Gradus does not have.
    pub switches: fn(&EncoderConfig) -> Result<Switches, String>,
    /// Keys of config.json that have another name than BERT's: BERT's, and its own.
    pub keys: &'static [(&'static str, &'static str)],
    /// Values of keys that `transformers` takes where the file has none, where they are not BERT's.
    pub defaults: &'static [(&'static str, KeyValue)],
    /// BERT's keys that the type lacks, with the value that its model has instead. Gradus ignores the
    /// key in a file, as `transformers` does.
    pub fixed: &'static [(&'static str, KeyValue)],
    /// Gives an object, whose keys have BERT's names, the values that its class in `transformers`
    /// computes.
    pub complete: fn(&mut Map<String, Value>),
    /// Whether tokens have types.
    pub token_types: TokenTypes,
    /// Whether its class in `transformers` can have BERT's pooler.
    pub pooler: bool,
    /// Where positions begin.
    pub positions: Positions,
    /// Whether the embeddings of `pad_token_id` learn nothing.
    pub padding_idx: bool,
    /// Whether the embeddings may have another width than the layers (`embedding_size`).
    pub factorized: bool,
    /// The layer between the first token's state and the labels of texts; `None` for BERT's
    /// pooler, which is a part of the encoder.
    pub classifier: Option<InnerLayer>,
    /// The layer that gives the logits of an answer's ends; `None` where `transformers` has no such
    /// head.
    pub answers: Option<&'static str>,
    /// The layer of the labels of texts, where it has no bias, and takes the pooled state as it is.
    pub score: Option<&'static str>,
    /// The masked-LM head; `None` where `transformers` has no such head.
    pub masked_lm: Option<MaskedLmNames>,
    /// The decoder that gives the logits of the next word. Files may hold its weight as well as the
    /// word embeddings.
    pub causal_lm: Option<&'static str>,
    /// Whether `classifier_dropout` is for the labels of texts alone; words and answers then have
    /// the model's dropout, or that of a key of their own.
    pub own_dropouts: bool,
    /// Keys of further dropouts.
    pub dropouts: &'static [&'static str],
}

/// The value of a key of config.json.
#[derive(Clone, Copy)]
pub(crate) enum KeyValue {
    /// An integer.
    Int(u64),
    /// Any other number.
    Float(f64),
    /// A text.
    Text(&'static str),
    /// null.
    Null,
}

/// Whether tokens have types.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenTypes {
    /// They have: `type_vocab_size` is above 0.
    Some,
    /// They have none: `type_vocab_size` is 0.
    None,
    /// As many as the file says.
    Either,
}

/// The places of the embeddings' parts in the encoder.
#[derive(Clone, Copy)]
pub(crate) struct EmbeddingNames {
    /// The table of words.
    pub words: &'static str,
    /// The table of positions.
    pub positions: &'static str,
    /// The table of token types.
    pub types: &'static str,
    /// The norm.
    pub norm: Option<&'static str>,
}

impl EmbeddingNames {
    /// All of them.
    fn all(&self) -> impl Iterator<Item = &'static str> {
        [Some(self.words), Some(self.positions), Some(self.types), self.norm].into_iter().flatten()
    }
}

/// Where positions begin.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Positions {
    /// At 0.
    Zero,
    /// At the row after that of `pad_token_id`. A padding token has its own row, and does not count.
    AfterPadding,
    /// At 0, and there is no table: queries and keys are rotated.
    Rotary,
}

/// A linear layer and an activation before the labels of texts.
pub(crate) struct InnerLayer {
    /// The name of the linear layer.
    pub dense: &'static str,
    /// What follows it.
    pub activation: Activation,
    /// The name of the layer that gives the labels' logits.
    pub output: &'static str,
    /// Whether there is a dropout before the linear layer too.
    pub dropout_before: bool,
    /// The norm after the activation.
    pub norm: Option<&'static str>,
    /// Whether the layer is before the labels of words and the ends of answers too.
    pub everywhere: bool,
}

impl InnerLayer {
    /// A layer before the labels of texts alone, without dropout and norm, to be named.
    const TEXTS: InnerLayer = InnerLayer {
        dense: "",
        activation: Activation::Tanh,
        output: "",
        dropout_before: false,
        norm: None,
        everywhere: false,
    };
}

/// The names of the masked-LM head: a linear layer, an activation, a norm, and the word embeddings
/// with a bias.
pub(crate) struct MaskedLmNames {
    /// The linear layer.
    pub dense: &'static str,
    /// What follows it; `None` for the layers' activation (`hidden_act`).
    pub activation: Option<Activation>,
    /// The norm.
    pub norm: &'static str,
    /// The bias of the decoder.
    pub bias: &'static str,
    /// The decoder. Files may hold its weight as well as the word embeddings.
    pub decoder: &'static str,
}

/// Every model type.
pub(crate) const FAMILIES: [&Family; 11] = [
    &BERT,
    &roberta::ROBERTA,
    &roberta::XLM_ROBERTA,
    &roberta::CAMEMBERT,
    &distilbert::DISTILBERT,
    &electra::ELECTRA,
    &mpnet::MPNET,
    &nomic_bert::NOMIC_BERT,
    &nomic_bert::GTE,
    &modernbert::MODERNBERT,
    &gpt2::GPT2,
];

impl Family {
    /// The type of this name.
    pub fn of(model_type: &str) -> Option<&'static Family> {
        FAMILIES.into_iter().find(|family| family.model_type == model_type)
    }

    /// The names of all types, for a message.
    pub fn supported() -> String {
        FAMILIES.map(|family| family.model_type).join(", ")
    }

    /// The decoders that share the word embeddings.
    pub fn decoders(&self) -> impl Iterator<Item = &'static str> {
        self.masked_lm.iter().map(|names| names.decoder).chain(self.causal_lm)
    }

    /// The parameters of decoders that are others, whose names follow: the word embeddings, and the
    /// bias of the masked-LM head.
    pub fn twins(&self) -> Vec<(String, String)> {
        let words = format!("{}.{}.weight", self.prefix, self.embeddings.words);
        let weights = self.decoders().map(|decoder| (format!("{decoder}.weight"), words.clone()));
        let bias = self.masked_lm.as_ref();
        let bias = bias.map(|names| (format!("{}.bias", names.decoder), names.bias.to_string()));
        weights.chain(bias).filter(|(name, shared)| name != shared).collect()
    }

    /// Whether the encoder has a parameter, or a buffer, of this name.
    pub fn has(&self, name: &str) -> bool {
        const BUFFERS: [&str; 2] = ["embeddings.position_ids", "embeddings.token_type_ids"];
        let name = bare(name);
        if self.file_form.as_ref().is_some_and(|form| form.has(name)) {
            return true;
        }
        let others = self.others.iter().copied().chain(self.final_norm);
        if self.embeddings.all().chain(others).any(|own| is_below(own, name))
            || BUFFERS.contains(&name)
        {
            return true;
        }
        if name.starts_with("embeddings_project.") {
            return self.factorized;
        }
        let layer = name.strip_prefix(self.layers).and_then(|rest| rest.strip_prefix('.'));
        let part = layer.and_then(|rest| rest.split_once('.'));
        part.is_some_and(|(_, rest)| {
            self.names.all().iter().any(|own| is_below(own, rest)) || self.buffers.contains(&rest)
        })
    }
}

pub(crate) fn is_below(path: &str, name: &str) -> bool {
    name.strip_prefix(path).is_some_and(|rest| rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_has_its_own_name_and_knows_its_encoder() {
        for family in FAMILIES {
            let found = Family::of(family.model_type).unwrap();
            assert_eq!(found.class, family.class);
            for part in family.names.all() {
                for path in
                    [family.layers.to_string(), format!("{}.{}", family.prefix, family.layers)]
                {
                    let name = format!("{path}.3.{part}.weight");
                    assert!(
                        family.has(&name)
                            && is_encoder(&name)
                            && is_head(&name) != name.starts_with(family.prefix),
                        "{name}"
                    );
                    assert_eq!(layer_of(&name), Some((3, format!("{part}.weight").as_str())));
                }
            }
            assert!(!family.has(&format!("{}.0.rotary.inv_freq", family.layers)));
            for decoder in family.decoders() {
                assert!(is_head(&format!("{decoder}.weight")), "{}", family.model_type);
            }
        }
        assert!(Family::of("t5").is_none());
    }
}
