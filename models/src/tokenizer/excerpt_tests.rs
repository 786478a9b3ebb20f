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

/// A tokenizer with BERT's normaliser as these flags have it: clean, Chinese, accents stripped,
/// lower case.
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
    // Under BERT's class its own normaliser would replace the file's.
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

/// The parts that must be equal; words are counted from another place after a cut at the beginning.
fn compared(mut encoding: Encoding, side: Side) -> Encoding {
    if side == Side::Left {
        encoding.words.clear();
    }
    encoding
}

/// Words, gaps, signs and accents, short and endless, added tokens and texts that look like them.
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

/// The number of bytes that the tokenizer gets of texts of megabytes: the cost without a clock.
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
    assert!(t.excerpts.is_none_or(|excerpts| excerpts.only_spaces));
}

/// A tokenizer that is not BERT's: these parts over a few words.
fn other(normalizer: &Value, pre_tokenizer: &Value, model: &Value) -> Tokenizer {
    let dir = tempfile::tempdir().unwrap();
    let file = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": normalizer,
        "pre_tokenizer": pre_tokenizer, "post_processor": null, "decoder": null, "model": model,
    });
    fs::write(dir.path().join("tokenizer.json"), file.to_string()).unwrap();
    let class = r#"{"tokenizer_class": "PreTrainedTokenizerFast"}"#;
    fs::write(dir.path().join("tokenizer_config.json"), class).unwrap();
    Tokenizer::from_folder(dir.path()).unwrap()
}

fn unigram() -> Value {
    let pieces = ["<unk>", "▁", "a", "b", "x", "ж", "▁a", "ab", "▁x", "▁xb", "aa", ",", "é", "1"];
    let vocab: Vec<Value> =
        pieces.iter().zip(1..).map(|(piece, i)| json!([piece, -f64::from(i) / 3.0])).collect();
    json!({"type": "Unigram", "unk_id": 0, "vocab": vocab})
}

/// Tokenizers whose texts are cut at spaces: SentencePiece's two forms, byte-level BPE, WordPiece
/// after other normalisers.
fn others() -> Vec<Tokenizer> {
    let metaspace = |scheme: &str| json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": true});
    let words = json!({"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, metaspace("first")]});
    let sequence = json!({"type": "Sequence", "normalizers": [
        {"type": "NFKC"}, {"type": "Lowercase"}, {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "},
    ]});
    let bytes = json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true});
    let bpe = json!({
        "type": "BPE", "unk_token": "?", "vocab": {"?": 0, "a": 1, "b": 2, "x": 3, "Ġ": 4, "Ġa": 5, "ab": 6, "Ġx": 7},
        "merges": ["Ġ a", "a b", "Ġ x"],
    });
    let wordpiece = json!({
        "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 9,
        "vocab": {"[UNK]": 0, "a": 1, "##a": 2, "x": 3, "##b": 4, "b": 5, ",": 6},
    });
    vec![
        other(&sequence, &metaspace("always"), &unigram()),
        other(&Value::Null, &metaspace("first"), &unigram()),
        other(&sequence, &words, &unigram()),
        other(&Value::Null, &bytes, &bpe),
        other(&sequence, &json!({"type": "BertPreTokenizer"}), &wordpiece),
    ]
}

#[test]
fn texts_of_other_tokenizers_are_cut_at_spaces() {
    let part = "[abx1]{1,4}|[a-zA-Z ,éжﬁΣ\u{301}\u{a0}\t.]{0,5}| {1,3}";
    let texts = prop::collection::vec(part, 0..40).prop_map(|parts| parts.concat());
    let pairs: Vec<(Tokenizer, Tokenizer)> = others()
        .into_iter()
        .map(|mut t| {
            let mut whole = t.clone();
            whole.excerpts = None;
            let excerpts = t.excerpts.as_mut().unwrap();
            assert!(excerpts.only_spaces);
            excerpts.short = 0;
            (t, whole)
        })
        .collect();
    proptest!(ProptestConfig::with_cases(600), |(text in texts, max in 1usize..12, left: bool)| {
        let side = if left { Side::Left } else { Side::Right };
        for (part, whole) in &pairs {
            let encode = |t: &Tokenizer| t.encode_cut(&text, None, max, side).unwrap();
            prop_assert_eq!(compared(encode(part), side), compared(encode(whole), side));
        }
    });
    let text = "ab x ".repeat(500_000);
    for (part, _) in &pairs {
        for side in [Side::Left, Side::Right] {
            let excerpt = part.excerpts.as_ref().unwrap().take(&text, 256, side);
            assert!(excerpt.text.len() < 2_000, "{side:?}: {}", excerpt.text.len());
        }
    }
}

/// Tokenizers that may look across a space: nothing is cut.
#[test]
fn a_tokenizer_that_does_not_split_at_spaces_sees_the_whole_text() {
    let whole = json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": false});
    let words = json!({"type": "WhitespaceSplit"});
    let across = json!({"type": "Replace", "pattern": {"String": "a b"}, "content": "x"});
    let by_regex = json!({"type": "Replace", "pattern": {"Regex": "a\\sb"}, "content": "x"});
    for (normalizer, pre_tokenizer) in [
        (Value::Null, &whole),
        (Value::Null, &Value::Null),
        (across, &words),
        (by_regex, &words),
        (json!({"type": "Strip", "strip_left": true, "strip_right": true}), &words),
    ] {
        assert!(other(&normalizer, pre_tokenizer, &unigram()).excerpts.is_none(), "{normalizer}");
    }
}
