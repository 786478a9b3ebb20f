//! Tokenizers of every kind against `transformers`: the folders and answers of
//! `golden/tokenizing.py`.

use std::path::{Path, PathBuf};

use gradus_models::tokenizer::char_offsets;
use gradus_models::{Encoding, Tokenizer, Window};
use serde_json::{Value, json};

fn golden() -> (PathBuf, Value) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/tokenizing");
    let text = std::fs::read_to_string(folder.join("expected.json")).unwrap();
    (folder, serde_json::from_str(&text).unwrap())
}

fn strings(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

/// What `transformers` answers of an encoding: offsets in characters.
fn answer(encoding: &Encoding, first: &str, second: Option<&str>) -> Value {
    let second = second.unwrap_or_default();
    // After the first text come a special token or two, then the second.
    let ends: Vec<usize> = (1..encoding.len()).filter(|&i| encoding.special[i]).collect();
    let offsets: Vec<(usize, usize)> = (0..encoding.len())
        .map(|i| {
            let text = if ends.first().is_some_and(|&end| i > end) { second } else { first };
            char_offsets(text, &[encoding.offsets[i]])[0]
        })
        .collect();
    json!({"ids": encoding.ids, "types": encoding.type_ids, "offsets": offsets})
}

#[test]
fn ids_types_and_offsets_are_those_of_transformers() {
    let (folder, golden) = golden();
    let texts = strings(&golden["texts"]);
    let folders = golden["folders"].as_object().unwrap();
    for (name, expected) in folders {
        let tokenizer = Tokenizer::from_folder(folder.join(name)).unwrap();
        assert_eq!(tokenizer.notes(), [""; 0], "{name}");
        let special = [
            tokenizer.pad_id(),
            tokenizer.unk_id(),
            tokenizer.cls_id(),
            tokenizer.sep_id(),
            tokenizer.mask_id(),
        ];
        assert_eq!(json!(special), expected["special"], "{name}");
        assert_eq!(json!(tokenizer.vocab_size()), expected["vocab_size"], "{name}");
        assert_eq!(json!(tokenizer.max_length()), expected["max_length"], "{name}");
        for (i, text) in texts.iter().enumerate() {
            let encoding = tokenizer.encode(text, None, usize::MAX).unwrap();
            let found = answer(&encoding, text, None);
            assert_eq!(found, expected["texts"][i], "{name}: {text:?} {:?}", encoding.tokens);
            let decoded = tokenizer.decode(&encoding.ids, true).unwrap();
            assert_eq!(json!(decoded), expected["decoded"][i], "{name}: {text:?}");
        }
    }
    assert!(folders.len() >= 12);
}

#[test]
fn pairs_are_cut_as_in_transformers() {
    let (folder, golden) = golden();
    for (name, expected) in golden["folders"].as_object().unwrap() {
        let tokenizer = Tokenizer::from_folder(folder.join(name)).unwrap();
        if tokenizer.sep_id().is_none() {
            continue; // GPT-2 has nothing between two texts
        }
        for (pair, rows) in
            golden["pairs"].as_array().unwrap().iter().zip(expected["pairs"].as_array().unwrap())
        {
            let texts = strings(pair);
            for (length, row) in
                golden["lengths"].as_array().unwrap().iter().zip(rows.as_array().unwrap())
            {
                let length = length.as_u64().unwrap() as usize;
                let encoding = tokenizer.encode(texts[0], Some(texts[1]), length).unwrap();
                let found = answer(&encoding, texts[0], Some(texts[1]));
                assert_eq!(&found, row, "{name}: {pair} {length} {:?}", encoding.tokens);
            }
        }
    }
}

#[test]
fn given_words_are_encoded_as_in_transformers() {
    let (folder, golden) = golden();
    let mut count = 0;
    for (name, expected) in golden["folders"].as_object().unwrap() {
        let tokenizer = Tokenizer::from_folder(folder.join(name)).unwrap();
        for (words, expected) in
            golden["split"].as_array().unwrap().iter().zip(expected["split"].as_array().unwrap())
        {
            let encoding = tokenizer.encode_words(&strings(words), usize::MAX).unwrap();
            let found = json!({"ids": encoding.ids, "words": encoding.words});
            assert_eq!(&found, expected, "{name}: {words} {:?}", encoding.tokens);
            count += 1;
        }
    }
    assert!(count >= 20, "{count}");
}

/// Also where a space that the tokenizer adds comes before a character of several bytes.
#[test]
fn windows_end_with_whole_characters() {
    let (folder, golden) = golden();
    let question = "über?";
    let context = &"über die Straße, 東京 😀 é. ".repeat(4);
    for name in golden["folders"].as_object().unwrap().keys() {
        let tokenizer = Tokenizer::from_folder(folder.join(name)).unwrap();
        let windows = tokenizer.encode_windows(question, context, 40, 1).unwrap();
        for Window { encoding, context: of_context } in &windows {
            for (i, &(start, end)) in encoding.offsets.iter().enumerate() {
                let text = if of_context.contains(&i) { context.as_str() } else { question };
                let whole = encoding.special[i] || text.get(start..end).is_some();
                assert!(whole, "{name}: {start}..{end} of {text:?}");
            }
        }
        assert!(windows.len() > 1, "{name}");
    }
}

/// What is saved is read again as the same tokenizer.
#[test]
fn a_saved_tokenizer_is_the_same() {
    let (folder, golden) = golden();
    for name in golden["folders"].as_object().unwrap().keys() {
        let tokenizer = Tokenizer::from_folder(folder.join(name)).unwrap();
        let saved = tempfile::tempdir().unwrap();
        tokenizer.save(saved.path()).unwrap();
        let config = folder.join(name).join("config.json");
        if config.is_file() {
            std::fs::copy(config, saved.path().join("config.json")).unwrap();
        }
        let back = Tokenizer::from_folder(saved.path()).unwrap();
        assert_eq!(back.notes(), [""; 0], "{name}");
        for text in strings(&golden["texts"]) {
            let of = |tokenizer: &Tokenizer| tokenizer.encode(text, Some("a card"), 20).unwrap();
            assert_eq!(of(&back), of(&tokenizer), "{name}: {text:?}");
        }
    }
}
