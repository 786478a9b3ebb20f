//! The parts of a tokenizer except its vocabulary, as its class makes them.

use serde_json::{Value, json};
use tokenizers::normalizers::BertNormalizer;

use super::class::Class;
use super::file::id_of;
use super::options::Options;
use super::wordpiece;

/// The character for a space in the pieces of SentencePiece.
pub(super) const SPACE: &str = "▁";

/// The parts that a class decides, with the keys of each that change tokens.
const PARTS: [(&str, &[&str]); 3] = [
    ("normalizer", &["type", "lowercase", "strip_accents", "handle_chinese_chars", "clean_text"]),
    ("pre_tokenizer", &["type", "add_prefix_space"]),
    ("post_processor", &["type"]),
];

impl Class {
    /// Changes a file as `transformers` does under the class: the vocabulary stays, and the settings
    /// decide the other parts. The notes tell where the file said something else.
    pub fn rebuild(self, file: &mut Value, names: &[String; 5], options: &Options) -> Vec<String> {
        if self == Class::AsFile {
            return Vec::new();
        }
        let before: Vec<Value> =
            PARTS.iter().map(|(part, _)| file.get(*part).cloned().unwrap_or_default()).collect();
        self.set_parts(file, names, options);
        let mut differing = Vec::new();
        for ((part, keys), old) in PARTS.iter().zip(&before) {
            let new = &file[*part];
            // A template and the processor of a model give the same tokens.
            let same_kind = *part == "post_processor" && !old.is_null();
            // SentencePiece's rules are followed; spaces are normalised by the words anyway.
            let same_kind = same_kind || (*part == "normalizer" && self.is_unigram());
            differing.extend(
                keys.iter().filter(|_| !same_kind).filter(|k| old[**k] != new[**k]).map(|key| {
                    match old.is_null() {
                        true => format!("no {part}"),
                        false => format!("{part}.{key} {}", old[*key]),
                    }
                }),
            );
        }
        differing.dedup();
        let settings = match self {
            Class::Bert | Class::MPNet => "do_lower_case, strip_accents and tokenize_chinese_chars",
            _ => "add_prefix_space",
        };
        match differing.is_empty() {
            true => Vec::new(),
            false => vec![format!(
                "tokenizer.json says {}; Gradus follows tokenizer_config.json ({settings}, or \
                 the defaults), as transformers does",
                differing.join(", ")
            )],
        }
    }

    fn is_unigram(self) -> bool {
        matches!(self, Class::XlmRoberta | Class::Camembert)
    }

    /// Gives the parts of the class to a file with its vocabulary.
    fn set_parts(self, file: &mut Value, names: &[String; 5], options: &Options) {
        match self {
            Class::Bert => set_bert(file, names, normalizer(options)),
            Class::MPNet => {
                set_bert(file, names, normalizer(options));
                set_roberta_ends(file, names, (true, false));
            }
            Class::Roberta => {
                set_byte_level(file, options);
                let trim = options.flag("trim_offsets").unwrap_or(true);
                set_roberta_ends(file, names, (trim, takes_space(options)));
            }
            Class::Gpt2 => set_byte_level(file, options),
            Class::XlmRoberta | Class::Camembert => set_unigram(file, names, options),
            Class::AsFile => {}
        }
    }
}

/// BERT's normaliser by the settings, with the defaults of `transformers`.
fn normalizer(options: &Options) -> BertNormalizer {
    BertNormalizer::new(
        true,
        options.flag("tokenize_chinese_chars").unwrap_or(true),
        options.flag("strip_accents"),
        options.flag("do_lower_case").unwrap_or(true),
    )
}

/// BERT's normaliser, words and punctuation, WordPiece, `[CLS]` and `[SEP]`.
pub(super) fn set_bert(file: &mut Value, names: &[String; 5], normalizer: BertNormalizer) {
    let [_, unk, cls, sep, _] = names;
    file["normalizer"] = json!(normalizer);
    file["normalizer"]["type"] = json!("BertNormalizer");
    file["pre_tokenizer"] = json!({"type": "BertPreTokenizer"});
    let model = &mut file["model"];
    model["type"] = json!("WordPiece");
    model["unk_token"] = json!(unk);
    model["continuing_subword_prefix"] = json!(wordpiece::PREFIX);
    model["max_input_chars_per_word"] = json!(wordpiece::MAX_WORD_CHARS);
    file["decoder"] = json!({"type": "WordPiece", "prefix": wordpiece::PREFIX, "cleanup": true});
    set_template(file, cls, sep, &["cls", "A", "sep"], &["B:1", "sep:1"]);
}

/// Whether a byte-level tokenizer puts a space before a text.
fn takes_space(options: &Options) -> bool {
    options.flag("add_prefix_space").unwrap_or(false)
}

/// Bytes as characters, BPE.
pub(super) fn set_byte_level(file: &mut Value, options: &Options) {
    let prefix = takes_space(options);
    let bytes = json!({
        "type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": true, "use_regex": true,
    });
    file["normalizer"] = Value::Null;
    file["decoder"] = bytes.clone();
    file["pre_tokenizer"] = bytes;
    let model = &mut file["model"];
    model["type"] = json!("BPE");
    for (key, value) in [
        ("dropout", Value::Null),
        ("unk_token", Value::Null),
        ("continuing_subword_prefix", json!("")),
        ("end_of_word_suffix", json!("")),
        ("fuse_unk", json!(false)),
        ("byte_fallback", json!(false)),
        ("ignore_merges", json!(false)),
    ] {
        model[key] = value;
    }
}

/// `<s> a </s>` and `<s> a </s></s> b </s>`.
fn set_roberta_ends(file: &mut Value, names: &[String; 5], (trim, prefix): (bool, bool)) {
    let [_, _, cls, sep, _] = names;
    if let (Some(cls_id), Some(sep_id)) = (id_of(file, cls), id_of(file, sep)) {
        file["post_processor"] = json!({
            "type": "RobertaProcessing", "sep": [sep, sep_id], "cls": [cls, cls_id],
            "trim_offsets": trim, "add_prefix_space": prefix,
        });
    }
}

/// SentencePiece's rules for characters, words at white space, Unigram, `<s>` and `</s>`.
fn set_unigram(file: &mut Value, names: &[String; 5], options: &Options) {
    let prefix = options.flag("add_prefix_space").unwrap_or(true);
    let scheme = if prefix { "always" } else { "never" };
    let spaces = json!({
        "type": "Metaspace", "replacement": SPACE, "prepend_scheme": scheme, "split": true,
    });
    file["normalizer"] = precompiled(&file["normalizer"]).cloned().unwrap_or_default();
    file["decoder"] = spaces.clone();
    file["pre_tokenizer"] =
        json!({"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, spaces]});
    let unk = file["model"]["vocab"]
        .as_array()
        .and_then(|pieces| pieces.iter().position(|piece| piece[0] == names[1].as_str()));
    file["model"]["type"] = json!("Unigram");
    file["model"]["byte_fallback"] = json!(false);
    if let Some(unk) = unk {
        file["model"]["unk_id"] = json!(unk);
    }
    let (bos, eos) = (options.special("bos_token", "<s>"), options.special("eos_token", "</s>"));
    set_template(file, &bos, &eos, &["cls", "A", "sep"], &["sep", "B", "sep"]);
}

/// SentencePiece's rules in a normaliser.
fn precompiled(normalizer: &Value) -> Option<&Value> {
    let all = normalizer["normalizers"].as_array();
    let own = std::slice::from_ref(normalizer);
    all.map_or(own, Vec::as_slice).iter().find(|part| part["type"] == "Precompiled")
}

/// The special tokens around a text, and what follows for a second one. An entry is `cls`, `sep`,
/// `A` or `B`, with the token type after a colon.
fn set_template(file: &mut Value, cls: &str, sep: &str, single: &[&str], rest: &[&str]) {
    let (Some(cls_id), Some(sep_id)) = (id_of(file, cls), id_of(file, sep)) else { return };
    let part = |entry: &&str| {
        let (name, kind) = entry.split_once(':').unwrap_or((entry, "0"));
        let kind = u32::from(kind == "1");
        match name {
            "cls" => json!({"SpecialToken": {"id": cls, "type_id": kind}}),
            "sep" => json!({"SpecialToken": {"id": sep, "type_id": kind}}),
            name => json!({"Sequence": {"id": name, "type_id": kind}}),
        }
    };
    let token = |name: &str, id: u32| json!({"id": name, "ids": [id], "tokens": [name]});
    file["post_processor"] = json!({
        "type": "TemplateProcessing",
        "single": single.iter().map(part).collect::<Vec<_>>(),
        "pair": single.iter().chain(rest).map(part).collect::<Vec<_>>(),
        "special_tokens": {cls: token(cls, cls_id), sep: token(sep, sep_id)},
    });
}
