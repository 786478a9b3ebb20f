//! A model's folder: for any bytes in one of its small files, every pipeline runs on it or returns
//! an error.

#![no_main]

use std::path::Path;

use gradus_models::pipelines::{FillMask, TextClassifier, TextEmbedder, TokenTagger};
use gradus_models::{EncoderConfig, MaskedLm, Tokenizer, save_folder};
use gradus_nn::Store;
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

mod common;

/// The small files. An input replaces one of them.
const NAMES: [&str; 7] = [
    "config.json",
    "tokenizer_config.json",
    "modules.json",
    "1_Pooling/config.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "special_tokens_map.json",
];

thread_local!(static FOLDER: TempDir = model());

/// A small encoder with the head of a masked language model.
fn model() -> TempDir {
    let folder = common::scratch();
    let tokenizer =
        Tokenizer::train_wordpiece(&["a small model of few words"], 40).expect("texts with words");
    let config = EncoderConfig {
        max_position_embeddings: 16,
        ..EncoderConfig::new(tokenizer.vocab_size(), 1, 8, 2, 16)
    };
    let store = Store::new(0);
    MaskedLm::new(&store.root(), &config).expect("a small model can be made");
    save_folder(folder.path(), &config, &tokenizer, &store)
        .expect("the temporary folder takes files");
    std::fs::create_dir(folder.path().join("1_Pooling"))
        .expect("the temporary folder takes folders");
    folder
}

fn run(folder: &Path) {
    let folder = folder.to_str().expect("a temporary folder's name is text");
    let texts = ["a small model", ""];
    if let Ok(embedder) = TextEmbedder::open(folder, None, true) {
        let _ = embedder.embed(&texts);
    }
    if let Ok(filler) = FillMask::open(folder) {
        let _ = filler.fill("a [MASK] model", 3);
    }
    if let Ok(classifier) = TextClassifier::open(folder) {
        let _ = classifier.predict(&texts.map(|text| (text.to_string(), None)), None);
    }
    if let Ok(tagger) = TokenTagger::open(folder) {
        let _ = tagger.tag(&texts);
    }
}

fuzz_target!(init: common::panics_may_be_caught(), |bytes: &[u8]| {
    let Some((&first, rest)) = bytes.split_first() else { return };
    let name = NAMES[first as usize % NAMES.len()];
    FOLDER.with(|folder| {
        let path = folder.path().join(name);
        let before = std::fs::read(&path).ok();
        common::write(&path, rest);
        run(folder.path());
        match before {
            Some(before) => common::write(&path, &before),
            None => std::fs::remove_file(&path).expect("what was just written can be removed"),
        }
    });
});
