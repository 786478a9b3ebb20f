//! The classes of tokenizers in `transformers` 5 that are built from a vocabulary: what else a
//! `tokenizer.json` says does not reach them.

use std::path::Path;

use serde_json::Value;

use super::file::id_of;
use super::options::Options;
use crate::error::{Error, Result};

/// The special tokens of BERT, in the order of their ids in a vocabulary trained here.
pub(crate) const SPECIAL: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];

/// GPT-2's only special token.
pub(crate) const END_OF_TEXT: &str = "<|endoftext|>";

/// The keys of these tokens, in the same order.
pub(crate) const KEYS: [&str; 5] =
    ["pad_token", "unk_token", "cls_token", "sep_token", "mask_token"];

/// How a tokenizer is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// BERT's normaliser and words, WordPiece, `[CLS] a [SEP] b [SEP]`.
    Bert,
    /// As BERT, with `<s> a </s></s> b </s>`.
    MPNet,
    /// Byte-level BPE, `<s> a </s></s> b </s>`.
    Roberta,
    /// Byte-level BPE, and nothing around a text.
    Gpt2,
    /// SentencePiece's Unigram, `<s> a </s></s> b </s>`.
    XlmRoberta,
    /// As XLM-RoBERTa, with other ids in front.
    Camembert,
    /// All parts are those of `tokenizer.json`.
    AsFile,
}

/// Classes of `transformers`, and how each is built.
const CLASSES: [(&str, Class); 8] = [
    ("BertTokenizer", Class::Bert),
    ("DistilBertTokenizer", Class::Bert),
    ("MPNetTokenizer", Class::MPNet),
    ("RobertaTokenizer", Class::Roberta),
    ("BartTokenizer", Class::Roberta),
    ("GPT2Tokenizer", Class::Gpt2),
    ("XLMRobertaTokenizer", Class::XlmRoberta),
    ("CamembertTokenizer", Class::Camembert),
];

/// Classes that `transformers` reads from `tokenizer.json`, and whose `vocab.txt` is BERT's.
const OF_VOCAB: [&str; 5] = [
    "ElectraTokenizer",
    "MobileBertTokenizer",
    "LayoutLMTokenizer",
    "ConvBertTokenizer",
    "RetriBertTokenizer",
];

/// The class of a model whose files name none.
const OF_MODELS: [(&str, Class); 13] = [
    ("bert", Class::Bert),
    ("distilbert", Class::Bert),
    ("electra", Class::Bert),
    ("convbert", Class::Bert),
    ("mobilebert", Class::Bert),
    ("nomic_bert", Class::Bert),
    ("mpnet", Class::MPNet),
    ("roberta", Class::Roberta),
    ("xlm-roberta", Class::XlmRoberta),
    ("gte", Class::XlmRoberta),
    ("camembert", Class::Camembert),
    ("modernbert", Class::AsFile),
    ("gpt2", Class::Gpt2),
];

/// Classes that split words by programs of their own and do not read tokenizer.json.
const OF_PYTHON: [&str; 4] =
    ["BertJapaneseTokenizer", "BertweetTokenizer", "TapasTokenizer", "RoCBertTokenizer"];

/// The line of Python that writes tokenizer.json.
pub(super) const CONVERT: &str = "python -c \"from transformers import AutoTokenizer as A; A.from_pretrained('DIR').save_pretrained('DIR')\"";

impl Class {
    /// The class of a folder's tokenizer, as `AutoTokenizer` chooses it. A class that its
    /// `tokenizer.json` does not fit is not used.
    pub fn of(options: &Options, file: Option<&Value>) -> Class {
        let of_model =
            OF_MODELS.iter().find(|(name, _)| options.model_type.as_deref() == Some(*name));
        let of_model = of_model.map(|(_, class)| *class);
        let class = match options.class() {
            // `transformers` knows that these models name wrong classes.
            _ if options.model_type.as_deref() == Some("modernbert") => Class::AsFile,
            Some(name) => {
                let built = CLASSES.iter().find(|(class, _)| *class == name);
                let of_vocab = || file.is_none() && OF_VOCAB.contains(&name);
                built.map(|(_, class)| *class).or_else(|| of_vocab().then_some(Class::Bert))
            }
            .unwrap_or(Class::AsFile),
            None => of_model.unwrap_or(Class::Bert),
        };
        match file {
            Some(file) if !class.fits(file) => Class::AsFile,
            _ => class,
        }
    }

    /// Whether a `tokenizer.json` has a vocabulary of the class.
    fn fits(self, file: &Value) -> bool {
        let model = &file["model"];
        let kind = model["type"].as_str();
        match self {
            Class::Bert | Class::MPNet => {
                kind.is_none_or(|kind| kind == "WordPiece") && model["vocab"].is_object()
            }
            Class::Roberta | Class::Gpt2 => {
                kind.is_none_or(|kind| kind == "BPE")
                    && model["vocab"].is_object()
                    && model["merges"].is_array()
            }
            Class::XlmRoberta | Class::Camembert => {
                kind.is_none_or(|kind| kind == "Unigram") && model["vocab"].is_array()
            }
            Class::AsFile => true,
        }
    }

    /// The names of its special tokens, in the order of [`KEYS`]: those of the files, else those of
    /// the class.
    pub fn names(self, options: &Options, file: Option<&Value>) -> [String; 5] {
        let angular = ["<pad>", "<unk>", "<s>", "</s>", "<mask>"];
        let mut usual = match self {
            Class::Bert => SPECIAL,
            Class::MPNet => ["<pad>", "[UNK]", "<s>", "</s>", "<mask>"],
            Class::Roberta | Class::XlmRoberta | Class::Camembert => angular,
            // One token is before, between and after texts; the others are not there.
            Class::Gpt2 => ["", END_OF_TEXT, "", "", ""],
            Class::AsFile => SPECIAL,
        };
        if let (Class::AsFile, Some(file)) = (self, file) {
            for (name, other) in usual.iter_mut().zip(angular) {
                if id_of(file, name).is_none() && id_of(file, other).is_some() {
                    *name = other;
                }
            }
        }
        std::array::from_fn(|i| options.special(KEYS[i], usual[i]))
    }

    /// Whether the mask is written with the space before it, where no file says so. `transformers`
    /// up to 4 had it so for these classes, and the models were trained so; version 5 forgets it
    /// where there is no tokenizer.json.
    pub fn mask_takes_space(self) -> bool {
        !matches!(self, Class::Bert | Class::Gpt2 | Class::AsFile)
    }
}

/// Refuses a tokenizer that Gradus would read as another one.
pub(crate) fn check_class(options: &Options, has_file: bool, path: &Path) -> Result<()> {
    let Some(class) = options.class() else { return Ok(()) };
    if OF_PYTHON.contains(&class) {
        let message = format!("tokenizer_class is `{class}`, which Gradus does not have");
        return Err(Error::tokenizer(path, message));
    }
    let known = OF_VOCAB.contains(&class) || CLASSES.iter().any(|(name, _)| *name == class);
    if !has_file && !known {
        let message = format!(
            "tokenizer_class is `{class}`, and Gradus cannot use the vocabulary of this class; \
             write tokenizer.json with\n  {CONVERT}"
        );
        return Err(Error::tokenizer(path, message));
    }
    Ok(())
}
