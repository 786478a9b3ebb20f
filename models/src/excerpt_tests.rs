use std::fs;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::Side;
use crate::tokenizer::{Encoding, Tokenizer};

const TEXTS: [&str; 4] = [
    "How do I find my card? Naïve cafés cost £20; 東京 is far!",
    "My card has not arrived, how do I track the card?",
    "[brackets] and = signs, привет мир",
    "Tracking the rates of cards",
];

/// A tokenizer with BERT's normaliser as these flags have it: clean, Chinese, accents stripped, lower case.
fn tokenizer(flags: [bool; 4]) -> Tokenizer {
    let dir = tempfile::tempdir().unwrap();
    Tokenizer::train_wordpiece(&TEXTS, 200).unwrap().save(dir.path()).unwrap();
    let path = dir.path().join("tokenizer.json");
    let mut file: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let [clean, chinese, strip, lower] = flags;
    file["normalizer"] = json!({
        "type": "BertNormalizer", "clean_text": clean, "handle_chinese_chars": chinese,
        "strip_accents": strip, "lowercase": lower,
    });
    fs::write(&path, file.to_string()).unwrap();
    // Under BERT's class its own normaliser would be taken, not the file's.
    let class = r#"{"tokenizer_class": "PreTrainedTokenizerFast"}"#;
    fs::write(dir.path().join("tokenizer_config.json"), class).unwrap();
    Tokenizer::from_folder(dir.path()).unwrap()
}

/// The tokenizer that takes excerpts of all texts, and the one that takes none.
fn both(flags: [bool; 4]) -> (Tokenizer, Tokenizer) {
    let (mut whole, mut part) = (tokenizer(flags), tokenizer(flags));
    whole.excerpts = None;
    part.excerpts.as_mut().unwrap().short = 0;
    (part, whole)
}

/// What must be equal: words are counted from another place where the beginning is cut off.
fn compared(mut encoding: Encoding, side: Side) -> Encoding {
    if side == Side::Left {
        encoding.words.clear();
    }
    encoding
}

/// Words, gaps, signs and accents, short and endless, and what looks like an added token or is one.
fn pieces() -> impl Strategy<Value = String> {
    let one = |c: &'static str, most: usize| (0..most).prop_map(move |n| c.repeat(n));
    prop_oneof![
        "[a-z]{1,9}",
        "\\PC{0,9}",
        one("a", 300),
        one("ж", 300),
        one("é", 260),
        one("e\u{301}", 160),
        one("😀", 260),
        one("한", 160),
        one("東", 40),
        one("≠", 130),
        one("\u{1fef}", 40),
        one(" ", 60),
        one("\u{3000}\t\0", 30),
        one("\u{301}", 90),
        one("\u{200b}", 90),
        one("x\u{301}\u{302}", 160),
        one(",", 40),
        one("[", 30),
        one("[MASK]", 30),
        one("[SEP] ", 9),
        one("[M\0ASK]", 5),
        one("[mask]", 9),
        one(";\u{37e}。", 20),
        Just("[MA".to_string()),
        Just("SK]".to_string()),
        Just("\u{85}".to_string()),
        Just(" ".to_string()),
    ]
}

#[test]
fn the_tokens_of_an_excerpt_are_those_of_the_whole_text() {
    let all = [
        [true, true, true, true],
        [true, true, false, false],
        [false, false, true, false],
        [false, true, false, true],
        [true, false, true, true],
    ];
    let all = all.map(both);
    let texts = || prop::collection::vec(pieces(), 0..14).prop_map(|parts| parts.concat());
    let case = (texts(), prop::option::of(texts()), 3usize..40, any::<bool>(), 0..all.len());
    proptest!(ProptestConfig::with_cases(1500), |((text, pair, max, left, which) in case)| {
        let (part, whole) = &all[which];
        let side = if left { Side::Left } else { Side::Right };
        let encode = |t: &Tokenizer| t.encode_cut(&text, pair.as_deref(), max, side).unwrap();
        prop_assert_eq!(compared(encode(part), side), compared(encode(whole), side));
    });
}

/// What is handed to the tokenizer of texts of megabytes: it, not the clock, says what they cost.
#[test]
fn no_more_is_encoded_than_is_kept() {
    let t = tokenizer([true, true, true, true]);
    let excerpts = t.excerpts.as_ref().unwrap();
    for one in [
        "word ",
        "a",
        "ж",
        "😀",
        "東",
        "e\u{301}",
        "\u{301}",
        " ",
        "\0",
        ",",
        "[MASK]",
        "a, ",
        "\u{3000}\0",
        "≠[",
    ] {
        let text = one.repeat(4_000_000 / one.len());
        for side in [Side::Left, Side::Right] {
            let excerpt = excerpts.take(&text, 256, side);
            assert!(excerpt.text.len() < 40_000, "{one:?} {side:?}: {}", excerpt.text.len());
        }
    }
}

#[test]
fn the_end_of_a_text_is_what_is_kept_of_it() {
    let t = tokenizer([true, true, true, true]);
    let text = format!("{} how do I track my card?", "the rates, ".repeat(100_000));
    let left = t.encode_cut(&text, None, 9, Side::Left).unwrap();
    assert!(left.truncated);
    assert_eq!(left.tokens[1..8], ["how", "do", "i", "track", "my", "card", "?"]);
    assert_eq!(&text[left.offsets[1].0..left.offsets[7].1], "how do I track my card?");
    let right = t.encode_cut(&text, None, 9, Side::Right).unwrap();
    assert_eq!(right.tokens[1], "the");
}

#[test]
fn tokens_that_are_found_within_words_are_no_place_to_cut() {
    let dir = tempfile::tempdir().unwrap();
    tokenizer([true; 4]).save(dir.path()).unwrap();
    let path = dir.path().join("tokenizer.json");
    let mut file: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    // An added token follows the vocabulary.
    let size = file["model"]["vocab"].as_object().unwrap().len();
    let added = json!({
        "id": size, "content": "covid", "special": false, "single_word": false, "lstrip": false, "rstrip": false,
        "normalized": true,
    });
    file["added_tokens"].as_array_mut().unwrap().push(added);
    fs::write(&path, file.to_string()).unwrap();
    let t = Tokenizer::from_folder(dir.path()).unwrap();
    assert!(t.excerpts.is_none());
}
