use std::fs;
use std::time::Instant;

use serde_json::{Value, json};

use super::class::SPECIAL;
use super::learn::{count, sorted};
use super::*;

const TEXTS: [&str; 6] = [
    "How do I find my card?",
    "My card has not arrived, how do I track the card?",
    "Where is my card; the card was lost.",
    "The exchange rate, the rate of exchange!",
    "Tracking the rates of cards",
    "naïve café costs £20",
];

fn trained() -> Tokenizer {
    Tokenizer::train_wordpiece(&TEXTS, 120).unwrap()
}

fn shared() -> Option<PathBuf> {
    let shared = std::env::var_os("GRADUS_SHARED").map(PathBuf::from);
    if shared.is_none() {
        println!("skipped: GRADUS_SHARED is not set");
    }
    shared
}

#[test]
fn a_trained_vocabulary_encodes_and_decodes() {
    let t = trained();
    let ids = [t.pad_id(), t.unk_id(), t.cls_id(), t.sep_id(), t.mask_id()];
    assert_eq!(ids, [0, 1, 2, 3, 4].map(Some));
    assert_eq!(t.vocab_size(), 90); // the texts yield no more
    let e = t.encode("My CARD café!", None, usize::MAX).unwrap();
    assert_eq!((e.ids[0], e.ids.last(), e.truncated), (2, Some(&3), false));
    assert_eq!(t.decode(&e.ids, true).unwrap(), "my card cafe!");
    assert_eq!(e.tokens[1..3], ["my", "card"]);
    assert_eq!(t.id("card").and_then(|id| t.token(id)).as_deref(), Some("card"));
    let lengths =
        [e.type_ids.len(), e.offsets.len(), e.tokens.len(), e.words.len(), e.special.len()];
    assert_eq!(lengths, [e.len(); 5]);
    assert_eq!(e.special.iter().filter(|&&s| s).count(), 2);
    let e = t.encode("[MASK] 東", None, 9).unwrap();
    assert_eq!(e.ids, [2, 4, 1, 3]);
    assert_eq!(e.special, [true, false, false, true]);
}

#[test]
fn offsets_are_bytes_of_the_text() {
    let t = trained();
    let text = "café  card";
    let e = t.encode(text, None, 99).unwrap();
    let last = e.len() - 2;
    assert_eq!(&text[e.offsets[last].0..e.offsets[last].1], "card");
    assert_eq!(char_offsets(text, &e.offsets)[last], (6, 10));
    assert_eq!(e.words[last], Some(1));
}

#[test]
fn offsets_in_characters_are_counted_in_any_order() {
    let text = "añ東😀 ends";
    for (start, end) in [(0, 1), (3, 6), (1, 3), (14, 15), (0, 0)] {
        let chars = |at: usize| text.char_indices().filter(|&(i, _)| i < at).count();
        let all = [(14, 15), (start, end), (0, 0), (1, 15)];
        let expected = all.map(|(start, end)| (chars(start), chars(end)));
        assert_eq!(char_offsets(text, &all), expected);
    }
}

#[test]
fn longest_first_counts_the_special_tokens() {
    let t = trained();
    let length = |a: &str, b: Option<&str>, max| {
        let e = t.encode(a, b, max).unwrap();
        let second = e.type_ids.iter().filter(|&&k| k == 1).count();
        (e.len() - second, second, e.truncated)
    };
    let five = "my my my my my";
    assert_eq!(length(five, None, 7), (7, 0, false));
    assert_eq!(length(five, None, 6), (6, 0, true));
    assert_eq!(length(five, None, 2), (2, 0, true));
    assert_eq!(length(five, Some("my"), 9), (7, 2, false));
    assert_eq!(length(five, Some("my"), 7), (5, 2, true));
    assert_eq!(length("my", Some(five), 7), (3, 4, true));
    assert_eq!(length(five, Some(five), 9), (5, 4, true));
    let e = t.encode(five, None, 4).unwrap();
    assert_eq!((e.ids[0], e.ids[3]), (2, 3));
    let error = t.encode(five, None, 1).unwrap_err().to_string();
    assert!(error.contains("no room for 2 special tokens"), "{error}");
    assert!(t.encode(five, Some(five), 2).is_err());
}

#[test]
fn a_batch_is_its_texts_one_by_one_whatever_the_pool() {
    let t = trained();
    let texts: Vec<(&str, Option<&str>)> = TEXTS
        .iter()
        .cycle()
        .take(300)
        .map(|&text| (text, (text.len() % 2 == 0).then_some("card")))
        .collect();
    let one_by_one: Vec<Encoding> =
        texts.iter().map(|&(a, b)| t.encode(a, b, 12).unwrap()).collect();
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert_eq!(pool.install(|| t.encode_batch(&texts, 12)).unwrap(), one_by_one);
    }
}

#[test]
fn saving_and_loading_keeps_everything() {
    let t = trained();
    let dir = tempfile::tempdir().unwrap();
    t.save(dir.path()).unwrap();
    let back = Tokenizer::from_folder(dir.path()).unwrap();
    for text in TEXTS {
        assert_eq!(back.encode(text, Some("x"), 9).unwrap(), t.encode(text, Some("x"), 9).unwrap());
    }
    assert_eq!(back.max_length(), Some(512));
    let again = tempfile::tempdir().unwrap();
    back.save(again.path()).unwrap();
    for name in ["tokenizer.json", "tokenizer_config.json"] {
        let read = |dir: &tempfile::TempDir| fs::read_to_string(dir.path().join(name)).unwrap();
        assert_eq!(read(&dir), read(&again));
    }
}

#[test]
fn training_depends_on_the_texts_alone() {
    let json = |t: &Tokenizer| t.inner.to_string(false).unwrap();
    let once = json(&trained());
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    assert_eq!(once, json(&pool.install(trained)));
    // Fixed values show a difference between processes or machines too.
    let vocab = wordpiece::learn(&sorted(count(&TEXTS).unwrap()), &SPECIAL, 120);
    assert_eq!(vocab[vocab.len() - 6..], LAST);
}

const LAST: [&str; 6] = ["##change", "exchange", "how", "##ive", "##ost", "track"];

#[test]
fn the_bundled_texts_give_a_vocabulary() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/banking77/train.csv");
    let train = crate::data::Split::read(path, &crate::data::Columns::default()).unwrap();
    let texts: Vec<&str> = train.examples.iter().map(|e| e.text.as_str()).collect();
    let start = Instant::now();
    let t = Tokenizer::train_wordpiece(&texts, 2000).unwrap();
    println!("a vocabulary of 2,000 from {} texts: {:?}", texts.len(), start.elapsed());
    assert_eq!(t.vocab_size(), 2000);
    let pairs: Vec<(&str, Option<&str>)> = texts.iter().map(|&text| (text, None)).collect();
    let start = Instant::now();
    let encoded = t.encode_batch(&pairs, 64).unwrap();
    println!("encoded in {:?}", start.elapsed());
    let unknown = t.unk_id().unwrap();
    assert!(encoded.iter().all(|e| !e.ids.contains(&unknown)));
    let tokens: usize = encoded.iter().map(|e| e.len() - 2).sum();
    let words: usize = texts.iter().map(|text| text.split_whitespace().count()).sum();
    assert!(tokens < words * 3 / 2, "{tokens} tokens for {words} words");
}

#[test]
fn training_needs_words_and_room() {
    assert!(Tokenizer::train_wordpiece(&["", " \n"], 100).is_err());
    assert!(Tokenizer::train_wordpiece::<&str>(&[], 100).is_err());
    assert!(Tokenizer::train_wordpiece(&TEXTS, 6).is_err());
}

#[test]
fn vocab_txt_follows_the_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let vocab = "[PAD]\r\n<unk>\n[CLS]\n[SEP]\n[MASK]\nCard\ncard\ncafe\ncafé\n##s\n";
    fs::write(dir.path().join("vocab.txt"), vocab).unwrap();
    let config = |json: &str| fs::write(dir.path().join("tokenizer_config.json"), json).unwrap();
    let ids = |text: &str| {
        Tokenizer::from_folder(dir.path()).unwrap().encode(text, None, 99).unwrap().ids
    };
    let error = Tokenizer::from_folder(dir.path()).unwrap_err().to_string();
    assert!(error.contains("no [UNK] token"), "{error}");
    config(
        r#"{"unk_token": {"content": "<unk>"}, "model_max_length": 1000000000000000019884624838656}"#,
    );
    assert_eq!(ids("Cards café x"), [2, 6, 9, 7, 1, 3]);
    config(r#"{"unk_token": "<unk>", "do_lower_case": false}"#);
    assert_eq!(ids("Cards café"), [2, 5, 9, 8, 3]);
    assert_eq!(Tokenizer::from_folder(dir.path()).unwrap().max_length(), None);
    config("[");
    let error = Tokenizer::from_folder(dir.path()).unwrap_err().to_string();
    assert!(error.contains("tokenizer_config.json"), "{error}");
}

/// Under BERT's class the settings decide; where tokenizer.json says something else, a note tells.
#[test]
fn a_file_that_its_settings_change_is_noted() {
    let dir = tempfile::tempdir().unwrap();
    trained().save(dir.path()).unwrap();
    let path = dir.path().join("tokenizer.json");
    let saved: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let notes = |change: &dyn Fn(&mut Value)| {
        let mut file = saved.clone();
        change(&mut file);
        fs::write(&path, file.to_string()).unwrap();
        let tokenizer = Tokenizer::from_folder(dir.path()).unwrap();
        assert_eq!(tokenizer.encode("My CARD", None, 9).unwrap().tokens[1..3], ["my", "card"]);
        tokenizer.notes().to_vec()
    };
    assert_eq!(notes(&|_| ()), [""; 0]);
    // BERT's own processor gives the same tokens as a template.
    let own = json!({"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]});
    assert_eq!(notes(&|file| file["post_processor"] = own.clone()), [""; 0]);
    let space = json!({"type": "Whitespace"});
    for (part, key, value, told) in [
        ("normalizer", Some("lowercase"), json!(false), "says normalizer.lowercase false;"),
        ("normalizer", None, Value::Null, "says no normalizer;"),
        ("post_processor", None, Value::Null, "says no post_processor;"),
        ("pre_tokenizer", None, space, "says pre_tokenizer.type \"Whitespace\";"),
    ] {
        let notes = notes(&|file| match key {
            Some(key) => file[part][key] = value.clone(),
            None => file[part] = value.clone(),
        });
        assert!(notes.len() == 1 && notes[0].contains(told), "{part}: {notes:?}");
    }
}

#[test]
fn a_bad_folder_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let error = || Tokenizer::from_folder(dir.path()).unwrap_err().to_string();
    assert!(error().contains("neither tokenizer.json nor vocab.txt"), "{}", error());
    fs::write(dir.path().join("vocab.txt"), b"[PAD]\n\xff\n").unwrap();
    assert!(error().contains("invalid UTF-8 at byte 6"), "{}", error());
    let whole = trained().to_json().unwrap();
    for cut in (0..whole.len()).step_by(97).filter(|&i| whole.is_char_boundary(i)) {
        fs::write(dir.path().join("tokenizer.json"), &whole[..cut]).unwrap();
        assert!(error().contains("not a tokenizer file"), "{}", error());
    }
}

#[test]
fn a_file_s_own_padding_and_truncation_are_off() {
    let dir = tempfile::tempdir().unwrap();
    let mut json: Value = serde_json::from_str(&trained().to_json().unwrap()).unwrap();
    json["padding"] = json!({"strategy": {"Fixed": 128}, "direction": "Right", "pad_to_multiple_of": null,
        "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"});
    json["truncation"] =
        json!({"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0});
    fs::write(dir.path().join("tokenizer.json"), json.to_string()).unwrap();
    let t = Tokenizer::from_folder(dir.path()).unwrap();
    assert_eq!(t.encode("my card my card", None, 99).unwrap().len(), 6);
}

/// Every kind of character, and no panic.
#[test]
fn any_text_encodes() {
    use proptest::prelude::*;
    let t = trained();
    proptest!(|(text in any::<String>(), pair in proptest::option::of(any::<String>()), max in 3usize..40)| {
        let e = t.encode(&text, pair.as_deref(), max).unwrap();
        prop_assert!(e.len() <= max);
        for (&(start, end), &kind) in e.offsets.iter().zip(&e.type_ids) {
            let of = if kind == 0 { text.as_str() } else { pair.as_deref().unwrap_or("") };
            prop_assert!(of.get(start..end).is_some());
        }
    });
}

#[test]
fn a_text_of_a_hundred_thousand_words_is_cut() {
    let t = trained();
    let text = "How do I find my card, naïve? ".repeat(100_000 / 7 + 1);
    let start = Instant::now();
    let e = t.encode(&text, None, 64).unwrap();
    println!("100,000 words, cut to 64 tokens: {:?}", start.elapsed());
    assert_eq!((e.len(), e.truncated), (64, true));
    assert_eq!(e.ids, t.encode(&text[..600], None, 64).unwrap().ids);
    assert!(t.encode(&text, None, usize::MAX).unwrap().len() > 100_000);
    let word = "x".repeat(1_000_000);
    assert_eq!(t.encode(&word, None, 64).unwrap().ids, [2, 1, 3]);
}

/// Encoding only the beginning gives the same as encoding everything and cutting.
#[test]
fn the_beginning_of_a_text_suffices() {
    use proptest::prelude::*;
    let t = trained();
    let whole = Tokenizer { excerpts: None, ..t.clone() };
    let mut t = t;
    t.excerpts.as_mut().unwrap().short = 0;
    let part = prop_oneof![
        "[a-z]{1,9}",
        "\\PC{0,20}",
        " {1,90}",
        "\n",
        Just("[MASK]".to_string()),
        "[\u{300}-\u{310}]"
    ];
    let texts = prop::collection::vec(part, 0..120).prop_map(|parts| parts.join(" "));
    proptest!(|(text in texts, max in 2usize..12)| {
        prop_assert_eq!(t.encode(&text, None, max).unwrap(), whole.encode(&text, None, max).unwrap());
    });
}

#[test]
fn golden_tokens_of_the_shared_model() {
    let Some(shared) = shared() else { return };
    let t = Tokenizer::from_folder(shared.join("models/minilm")).unwrap();
    let json = |name: &str| fs::read_to_string(shared.join("golden").join(name)).unwrap();
    let tricky: Vec<Value> = serde_json::from_str(&json("tok_tricky.json")).unwrap();
    for case in &tricky {
        let text = case["text"].as_str().unwrap();
        let e = t.encode(text, None, usize::MAX).unwrap();
        assert_eq!(json!(e.ids), case["ids"], "{text:?}");
        assert_eq!(json!(e.tokens), case["tokens"], "{text:?}");
        assert_eq!(json!(char_offsets(text, &e.offsets)), case["offsets"], "{text:?}");
    }
    let pairs: Vec<Value> = serde_json::from_str(&json("tok_pairs.json")).unwrap();
    for case in &pairs {
        let e = t.encode(case["a"].as_str().unwrap(), case["b"].as_str(), usize::MAX).unwrap();
        assert_eq!(
            (json!(e.ids), json!(e.type_ids)),
            (case["ids"].clone(), case["type_ids"].clone())
        );
    }
    let columns = crate::data::Columns::default();
    let test = crate::data::Split::read(shared.join("data/banking77/test.csv"), &columns).unwrap();
    let texts: Vec<(&str, Option<&str>)> =
        test.examples.iter().map(|e| (e.text.as_str(), None)).collect();
    let encoded = t.encode_batch(&texts, usize::MAX).unwrap();
    let golden = json("tok_banking77_test.jsonl");
    assert_eq!(golden.lines().count(), encoded.len());
    for (line, e) in golden.lines().zip(&encoded) {
        assert_eq!(serde_json::from_str::<Vec<u32>>(line).unwrap(), e.ids);
    }
    println!(
        "equal: {} tricky texts, {} pairs, {} texts of banking77",
        tricky.len(),
        pairs.len(),
        encoded.len()
    );
}

/// The vocabulary file alone gives the same as `tokenizer.json`.
#[test]
fn golden_vocab_txt_agrees_with_tokenizer_json() {
    let Some(shared) = shared() else { return };
    let model = shared.join("models/minilm");
    let dir = tempfile::tempdir().unwrap();
    for name in ["vocab.txt", "tokenizer_config.json"] {
        fs::copy(model.join(name), dir.path().join(name)).unwrap();
    }
    let (a, b) =
        (Tokenizer::from_folder(&model).unwrap(), Tokenizer::from_folder(dir.path()).unwrap());
    let tricky = fs::read_to_string(shared.join("golden/tok_tricky.json")).unwrap();
    for case in serde_json::from_str::<Vec<Value>>(&tricky).unwrap() {
        let text = case["text"].as_str().unwrap();
        assert_eq!(
            a.encode(text, Some(text), 99).unwrap(),
            b.encode(text, Some(text), 99).unwrap()
        );
    }
    assert_eq!((a.vocab_size(), b.vocab_size(), b.mask_id()), (30522, 30522, Some(103)));
}
