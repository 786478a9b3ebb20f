//! `infer trace`: the page about a text.

use std::path::Path;

use crate::common::{Head, Model, fails, infer, lines};
use gradus_models::Pooling;
use serde_json::Value;

/// Runs it on a text, with a page in the model's folder.
fn traced(model: &Model, text: &str, more: &[&str]) -> (Value, String) {
    let page = model.file("page.html");
    let page = page.to_str().unwrap();
    let args = ["trace", "--model", model.path(), "--output", page, "--json", text];
    let told = lines(&infer(&[&args, more].concat())).remove(0);
    (told, std::fs::read_to_string(page).unwrap())
}

#[test]
fn a_page_about_a_text() {
    let model = Model::new(Head::Sequence(Pooling::Mean));
    let hostile = "</script><script>alert(1)</script> my card";
    let (forward, page) = traced(&model, hostile, &[]);
    assert!(forward["operations"].as_u64().unwrap() > 10 && forward["loss"].is_null(), "{forward}");
    assert!(!page.contains("alert(1)"), "the text is data");
    let (both, _) = traced(&model, hostile, &["--target", "fee"]);
    assert!(both["loss"].as_f64().unwrap() > 0.0, "{both}");
    assert!(both["operations"].as_u64() > forward["operations"].as_u64(), "the loss is one more");
    assert!(Path::new(both["page"].as_str().unwrap()).is_file());
    // Each model has a page.
    for head in [Head::None, Head::Masked, Head::Tokens] {
        let model = Model::new(head);
        assert!(traced(&model, "where is my card", &[]).0["operations"].as_u64().unwrap() > 10);
    }
}

/// The right answer of a tagger, and of a masked language model.
#[test]
fn targets_of_other_tasks() {
    let loss = |model: &Model, text: &str, target: &str| {
        traced(model, text, &["--target", target]).0["loss"].as_f64().unwrap()
    };
    let refused = |model: &Model, text: &str, target: &str, words: &[&str]| {
        fails(&infer(&["trace", "--model", model.path(), text, "--target", target]), 1, words);
    };
    let tagger = Model::new(Head::Tokens);
    let tags = |first: &str| format!("{first} O O O");
    let losses = ["O", "B-THING"].map(|first| loss(&tagger, "where is my card", &tags(first)));
    assert!(losses[0] > 0.0 && losses[0] != losses[1], "a tag counts: {losses:?}");
    refused(&tagger, "where is my card", "O O", &["2 tags", "4 words"]);
    refused(&tagger, "my card", "O x", &["no label \"x\""]);

    let masked = Model::new(Head::Masked);
    let text = "where is my [MASK]";
    assert!(loss(&masked, text, "card") > 0.0);
    assert!(loss(&masked, text, "card") != loss(&masked, text, "my"), "the word counts");
    refused(&masked, "where is my card", "card", &["the text has none", "[MASK]"]);
    refused(&masked, text, "my card", &["2 tokens"]);
    refused(&Model::new(Head::None), "my card", "card", &["label of a classifier"]);
}

#[test]
fn what_cannot_be_traced() {
    let model = Model::new(Head::Sequence(Pooling::Mean));
    let run =
        |more: &[&str]| infer(&[&["trace", "--model", model.path(), "my card"], more].concat());
    fails(&run(&["--target", "no such label"]), 1, &["no label \"no such label\"", "`card`"]);
    fails(&run(&["--precision", "int8"]), 1, &["trace in f32, bf16 or f16"]);
}
