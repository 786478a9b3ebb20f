//! The tokenizer of a model folder: read, and put in lower case where sentence-transformers asks.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use tokenizers::normalizers::{BertNormalizer, Lowercase, Sequence};
use tokenizers::{NormalizerWrapper, PostProcessorWrapper};

use super::class::Class;
use super::excerpt::Excerpts;
use super::file::{self, text};
use super::options::Options;
use super::{Side, Special, Tokenizer, vocabulary};
use crate::error::{Error, Result};
use crate::files;

impl Tokenizer {
    /// Reads the tokenizer of a model folder: `tokenizer.json`, or else its vocabulary (`vocab.txt`;
    /// `vocab.json` with `merges.txt`; a Unigram model of SentencePiece); with the settings of
    /// `tokenizer_config.json`, `special_tokens_map.json` and `added_tokens.json`. The result is that
    /// of `AutoTokenizer` in `transformers` 5: under the classes of BERT, RoBERTa, XLM-RoBERTa,
    /// CamemBERT and MPNet, `tokenizer_config.json` decides how texts are normalised and split, not
    /// `tokenizer.json`.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] when there is none of them, a file is malformed, or the tokenizer is one
    /// that Gradus does not have (it is named); [`Error::Io`] when a file cannot be read.
    pub fn from_folder(dir: impl AsRef<Path>) -> Result<Self> {
        let dir = dir.as_ref();
        let mut options = Options::read(dir)?;
        let json = dir.join("tokenizer.json");
        let file = match json.is_file() {
            true => Some(read_file(&json)?),
            false => None,
        };
        let class = Class::of(&options, file.as_ref());
        let names = class.names(&options, file.as_ref());
        let mut notes = options.notes.clone();
        let has_file = file.is_some();
        let (mut tokenizer, source) = match file {
            Some(file) => (file, json),
            None => vocabulary::read(dir, class, &names, &options)?,
        };
        if tokenizer.is_object() {
            let takes_space = names.last().filter(|_| class.mask_takes_space());
            file::add_tokens(&mut tokenizer, &options, &names, takes_space)
                .map_err(|message| Error::tokenizer(&source, message))?;
        }
        let told = class.rebuild(&mut tokenizer, &names, &options);
        notes.extend(told.into_iter().filter(|_| has_file));
        let cuts_left =
            options.cuts_left().map_err(|message| Error::tokenizer(&source, message))?;
        let file_cuts_left = tokenizer["truncation"]["direction"] == "Left";
        if file_cuts_left && cuts_left.is_none() {
            // The file that [`Tokenizer::save`] writes has no truncation in tokenizer.json.
            options.map.insert("truncation_side".into(), json!("left"));
        }
        let inner = file::parse(tokenizer, &source)?;
        let config = config_text(dir, &options.map)?;
        let mut built = Self::build(inner, &names, &options, (config, source))?;
        let left = cuts_left.unwrap_or(file_cuts_left);
        built.side = if left { Side::Left } else { Side::Right };
        built.notes = notes;
        Ok(built)
    }

    /// A tokenizer of its parts, with the text of its configuration and its source.
    pub(super) fn build(
        mut inner: tokenizers::Tokenizer,
        names: &[String; 5],
        options: &Options,
        (config, source): (Option<String>, PathBuf),
    ) -> Result<Self> {
        let failed = |e: tokenizers::Error| Error::tokenizer(&source, e.to_string());
        inner.with_truncation(None).map_err(failed)?;
        inner.with_padding(None);
        inner.set_encode_special_tokens(options.flag("split_special_tokens").unwrap_or(false));
        let [pad, unk, cls, sep, mask] = names.each_ref().map(|name| inner.token_to_id(name));
        let Some(last) = inner.get_vocab(true).into_values().max() else {
            return Err(Error::tokenizer(&source, "the vocabulary is empty"));
        };
        let ends = inner.get_post_processor().cloned();
        inner.with_post_processor(None::<PostProcessorWrapper>);
        let mut built = Tokenizer {
            inner,
            ends,
            config,
            source,
            special: Special { pad, unk, cls, sep, mask },
            vocab_size: last as usize + 1,
            max_length: options.max_length(),
            excerpts: None,
            side: Side::Right,
            has_types: options.has_types(),
            notes: Vec::new(),
        };
        built.excerpts = built.find_excerpts();
        Ok(built)
    }

    fn find_excerpts(&self) -> Option<Excerpts> {
        let added = self.inner.get_added_tokens_decoder();
        let (normalizer, words) = (self.inner.get_normalizer(), self.inner.get_pre_tokenizer());
        Excerpts::new(normalizer, words, self.inner.get_model(), added.values())
    }

    /// Makes lower case the first step, unless the tokenizer has it already: `do_lower_case` of
    /// sentence-transformers. [`Tokenizer::save`] writes the setting too.
    ///
    /// # Errors
    /// When an added token cannot be normalised.
    pub(crate) fn lower_case(&mut self) -> Result<()> {
        let Some(normalizer) = lower_cased(self.inner.get_normalizer()) else { return Ok(()) };
        self.inner
            .with_normalizer(Some(normalizer))
            .map_err(|e| Error::tokenizer(&self.source, e.to_string()))?;
        self.excerpts = self.find_excerpts();
        self.set_config([("do_lower_case", json!(true))]);
        let text = self.config.as_deref().unwrap_or("{}");
        let strips = serde_json::from_str(text).is_ok_and(|config: Map<String, Value>| {
            config.get("strip_accents").is_some_and(|strips| !strips.is_null())
        });
        // Without this key, accents would be removed together with upper case.
        if !strips {
            self.set_config([("strip_accents", json!(false))]);
        }
        Ok(())
    }

    /// Sets keys of `tokenizer_config.json` for [`Tokenizer::save`].
    pub(super) fn set_config<const N: usize>(&mut self, keys: [(&str, Value); N]) {
        let text = self.config.as_deref().unwrap_or("{}");
        if let Ok(Value::Object(mut config)) = serde_json::from_str(text) {
            config.extend(keys.map(|(key, value)| (key.to_string(), value)));
            self.config = Some(format!("{:#}\n", Value::Object(config)));
        }
    }
}

fn read_file(path: &Path) -> Result<Value> {
    files::parse_json(&files::read(path)?)
        .map_err(|e| Error::tokenizer(path, format!("not a tokenizer file: {e}")))
}

/// A normaliser with lower case before it; `None` where the normaliser makes lower case itself.
fn lower_cased(normalizer: Option<&NormalizerWrapper>) -> Option<NormalizerWrapper> {
    let parts = match normalizer {
        // BERT's own normaliser has a flag for it.
        Some(NormalizerWrapper::BertNormalizer(bert)) => {
            let strip = bert.strip_accents.unwrap_or(bert.lowercase);
            let with_case =
                BertNormalizer::new(bert.clean_text, bert.handle_chinese_chars, Some(strip), true);
            return (!bert.lowercase).then(|| with_case.into());
        }
        Some(NormalizerWrapper::Sequence(sequence)) => sequence.as_ref().to_vec(),
        Some(one) => vec![one.clone()],
        None => Vec::new(),
    };
    let makes = |n: &NormalizerWrapper| match n {
        NormalizerWrapper::Lowercase(_) => true,
        NormalizerWrapper::BertNormalizer(bert) => bert.lowercase,
        _ => false,
    };
    if parts.iter().any(makes) {
        return None;
    }
    let all = std::iter::once(NormalizerWrapper::from(Lowercase)).chain(parts).collect();
    Some(Sequence::new(all).into())
}

/// The text of `tokenizer_config.json` for [`Tokenizer::save`]: as it was read, unless other files
/// have more settings.
fn config_text(dir: &Path, map: &Map<String, Value>) -> Result<Option<String>> {
    let path = dir.join("tokenizer_config.json");
    let read = match path.is_file() {
        true => Some(text(&path)?),
        false => None,
    };
    let same =
        |text: &String| serde_json::from_str(text).is_ok_and(|m: Map<String, Value>| m == *map);
    match read {
        Some(text) if same(&text) => Ok(Some(text)),
        None if map.is_empty() => Ok(None),
        _ => Ok(Some(format!("{:#}\n", Value::Object(map.clone())))),
    }
}
