//! A tokenizer's files: any bytes are a tokenizer or an error, and a tokenizer encodes and decodes
//! or returns an error.

#![no_main]

use gradus_models::Tokenizer;
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

mod common;

const NAMES: [&str; 6] = [
    "tokenizer.json",
    "vocab.txt",
    "tokenizer_config.json",
    "vocab.json",
    "merges.txt",
    "sentencepiece.bpe.model",
];
const TEXTS: [&str; 4] =
    ["", "Hello, world! [MASK]", "naïve 東京 \u{1f600}\u{0}", "aaaa aaaa aaaa"];

thread_local!(static FOLDER: TempDir = common::scratch());

fn encode(tokenizer: &Tokenizer) {
    for text in TEXTS {
        for (pair, most) in [(None, usize::MAX), (None, 3), (Some(TEXTS[1]), 6)] {
            if let Ok(encoding) = tokenizer.encode(text, pair, most) {
                assert!(encoding.ids.len() <= most, "{} of {most} tokens", encoding.ids.len());
                let _ = tokenizer.decode(&encoding.ids, true);
            }
        }
    }
}

fuzz_target!(init: common::panics_may_be_caught(), |bytes: &[u8]| {
    // The first byte chooses the file that gets the others. Some files need others beside them.
    let Some((&first, rest)) = bytes.split_first() else { return };
    let name = NAMES[first as usize % NAMES.len()];
    FOLDER.with(|folder| {
        for name in NAMES {
            let _ = std::fs::remove_file(folder.path().join(name));
        }
        if name == "tokenizer_config.json" {
            common::write(&folder.path().join("vocab.txt"), b"[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n##a\nhello\n");
        }
        let config = |class: &str| {
            let text = format!(r#"{{"tokenizer_class": "{class}"}}"#);
            common::write(&folder.path().join("tokenizer_config.json"), text.as_bytes());
        };
        match name {
            "vocab.json" => common::write(&folder.path().join("merges.txt"), b"a b\n"),
            "merges.txt" => {
                let vocab = br#"{"<s>": 0, "</s>": 1, "a": 2, "b": 3, "ab": 4}"#;
                common::write(&folder.path().join("vocab.json"), vocab);
            }
            "sentencepiece.bpe.model" => config("XLMRobertaTokenizer"),
            _ => {}
        }
        if ["vocab.json", "merges.txt"].contains(&name) {
            config("RobertaTokenizer");
        }
        common::write(&folder.path().join(name), rest);
        if let Ok(tokenizer) = Tokenizer::from_folder(folder.path()) {
            encode(&tokenizer);
        }
    });
});
