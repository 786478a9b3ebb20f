//! The tokenizer of a model folder: read, and put in lower case where sentence-transformers asks.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use tokenizers::NormalizerWrapper;
use tokenizers::normalizers::{BertNormalizer, Lowercase, Sequence};

use super::excerpt::Excerpts;
use super::file::{self, SPECIAL, text};
use super::options::Options;
use super::{Side, Special, Tokenizer};
use crate::error::{Error, Result};
use crate::files;

impl Tokenizer {
    /// Reads the tokenizer of a model folder: `tokenizer.json`, or else `vocab.txt`; with the
    /// settings of `tokenizer_config.json`, `special_tokens_map.json` and `added_tokens.json`. The
    /// result is that of `AutoTokenizer` in `transformers` 5: under BERT's class,
    /// `tokenizer_config.json` decides how a WordPiece vocabulary is normalised, not
    /// `tokenizer.json`.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] when there is neither, a file is malformed, or the tokenizer is one
    /// that Gradus does not have (it is named); [`Error::Io`] when a file cannot be read.
    pub fn from_folder(dir: impl AsRef<Path>) -> Result<Self> {
        let dir = dir.as_ref();
        let mut options = Options::read(dir)?;
        let (json, vocab) = (dir.join("tokenizer.json"), dir.join("vocab.txt"));
        let has_file = json.is_file();
        let names = SPECIAL.map(|name| options.special(name));
        let mut notes = options.notes.clone();
        let (mut tokenizer, source) = if has_file {
            let mut tokenizer: Value = files::parse_json(&files::read(&json)?)
                .map_err(|e| Error::tokenizer(&json, format!("not a tokenizer file: {e}")))?;
            if file::is_berts(&options, &tokenizer) {
                notes.extend(file::as_berts(&mut tokenizer, &names, &options));
            }
            (tokenizer, json)
        } else if vocab.is_file() {
            (Self::of_vocab(&vocab, &names, &options)?, vocab)
        } else {
            return Err(Error::tokenizer(
                dir,
                "the folder has neither tokenizer.json nor vocab.txt; copy one from the model it belongs to",
            ));
        };
        if tokenizer.is_object() {
            file::add_tokens(&mut tokenizer, &options, &names)
                .map_err(|message| Error::tokenizer(&source, message))?;
        }
        let cuts_left =
            options.cuts_left().map_err(|message| Error::tokenizer(&source, message))?;
        let file_cuts_left = tokenizer["truncation"]["direction"] == "Left";
        if file_cuts_left && cuts_left.is_none() {
            // The file that [`Tokenizer::save`] writes has no truncation in tokenizer.json.
            options.map.insert("truncation_side".into(), json!("left"));
        }
        let inner = file::parse(tokenizer, &source)?;
        let config = config_text(dir, &options.map)?;
        let mut built = Self::build(inner, &options, config, source)?;
        let left = cuts_left.unwrap_or(file_cuts_left);
        built.side = if left { Side::Left } else { Side::Right };
        built.notes = notes;
        Ok(built)
    }

    fn of_vocab(path: &Path, names: &[String; 5], options: &Options) -> Result<Value> {
        let text = text(path)?;
        let vocab: Vec<&str> = text.lines().collect();
        let is_added = |name: &str| options.added.values().any(|t| t["content"] == name);
        let lacks = |name: &&String| !vocab.contains(&name.as_str()) && !is_added(name);
        if let Some(missing) = names.iter().skip(1).take(3).find(lacks) {
            return Err(Error::tokenizer(path, format!("the vocabulary has no {missing} token")));
        }
        Ok(file::assemble(&vocab, names, file::normalizer(options)))
    }

    pub(super) fn build(
        mut inner: tokenizers::Tokenizer,
        options: &Options,
        config: Option<String>,
        source: PathBuf,
    ) -> Result<Self> {
        let failed = |e: tokenizers::Error| Error::tokenizer(&source, e.to_string());
        inner.with_truncation(None).map_err(failed)?;
        inner.with_padding(None);
        inner.set_encode_special_tokens(options.flag("split_special_tokens").unwrap_or(false));
        let id = |name: &str| inner.token_to_id(&options.special(name));
        let special = Special {
            pad: id("[PAD]"),
            unk: id("[UNK]"),
            cls: id("[CLS]"),
            sep: id("[SEP]"),
            mask: id("[MASK]"),
        };
        let Some(last) = inner.get_vocab(true).into_values().max() else {
            return Err(Error::tokenizer(&source, "the vocabulary is empty"));
        };
        let mut built = Tokenizer {
            inner,
            config,
            source,
            special,
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
        let text = self.config.as_deref().unwrap_or("{}");
        if let Ok(Value::Object(mut config)) = serde_json::from_str(text) {
            config.insert("do_lower_case".into(), json!(true));
            // Without this key, accents would be removed together with upper case.
            if config.get("strip_accents").is_none_or(Value::is_null) {
                config.insert("strip_accents".into(), json!(false));
            }
            self.config = Some(format!("{:#}\n", Value::Object(config)));
        }
        Ok(())
    }
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
