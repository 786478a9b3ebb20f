//! `train embed` end to end, on texts about the same thing.

use std::path::{Path, PathBuf};

use crate::common::{from_scratch, interrupted, json, last, metrics, ok, run, stderr, weights};
use gradus_models::pipelines::TextEmbedder;

const WORDS: [&str; 12] = [
    "apple", "bicycle", "cat", "door", "engine", "flower", "glass", "horse", "island", "jacket",
    "kettle", "lamp",
];

/// Questions and answers, with a hard negative for some; the test set is JSON lines.
pub fn data(folder: &Path) -> PathBuf {
    let path = folder.join("pairs");
    std::fs::create_dir_all(&path).unwrap();
    let questions = ["where is the {}", "who has seen my {} today", "is this {} red"];
    let answers = ["the {} stands here", "look for a {} over there", "a {} of this colour"];
    let row = |word: &str, i: usize| {
        let text = |frame: &str| frame.replace("{}", word);
        (text(questions[i]), text(answers[i]), if i == 0 { "no idea" } else { "" })
    };
    let mut train = String::from("query,answer,negative\n");
    let mut dev = String::from("query\tanswer\n");
    let mut test = String::new();
    for (at, word) in WORDS.iter().enumerate() {
        for i in 0..3 {
            let (query, answer, negative) = row(word, i);
            match (at + i) % 4 {
                0 => dev += &format!("{query}\t{answer}\n"),
                1 => {
                    test += &format!(
                        "{}\n",
                        serde_json::json!({"query": query, "answer": answer, "id": at})
                    );
                }
                _ => train += &format!("{query},{answer},{negative}\n"),
            }
        }
    }
    for (name, text) in [("train.csv", train), ("dev.tsv", dev), ("test.jsonl", test)] {
        std::fs::write(path.join(name), text).unwrap();
    }
    path
}

/// `train embed` from scratch on `data`, into `out`.
pub fn scratch<'a>(data: &'a Path, out: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
    from_scratch(&["embed", "--vocab-size", "150", "--batch-size", "6"], [data, out], more)
}

#[test]
fn an_embedder_learns_and_its_folder_embeds() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (data(dir.path()), dir.path().join("out"));
    let flags = ["--epochs", "15", "--lr", "3e-3", "--pooling", "max", "--dimensions", "128,16"];
    let output = run(&scratch(&data, &out, &[&flags[..], &["--json"]].concat()));
    let last = last(&output);
    for key in ["recall_at_1", "mrr", "recall_at_5", "recall_at_10", "loss"] {
        assert!(last[format!("test_{key}")].is_number(), "test_{key} in {last}");
        assert!(last[format!("dev_{key}")].is_number(), "dev_{key} in {last}");
    }
    assert!(last["dev_recall_at_1"].as_f64().unwrap() > 0.6, "{last}");
    let said = stderr(&output);
    assert!(said.contains("18 training pairs with 6 negatives"), "{said}");

    let modules = json(&out.join("modules.json"));
    assert_eq!(modules.as_array().unwrap().len(), 3, "{modules}");
    let pooling = json(&out.join("1_Pooling/config.json"));
    assert_eq!(pooling["pooling_mode_max_tokens"], true, "{pooling}");
    assert_eq!(pooling["pooling_mode_mean_tokens"], false, "{pooling}");
    assert_eq!(json(&out.join("sentence_bert_config.json"))["max_seq_length"], 128);
    assert_eq!(json(&out.join("config.json"))["architectures"], serde_json::json!(["BertModel"]));
    let model = TextEmbedder::open(out.to_str().unwrap(), None, None).unwrap();
    assert!(model.normalizes() && model.max_length() == 128);
    let texts = ["where is the lamp", "the lamp stands here", "a cat of this colour"];
    let vectors = model.embed(&texts).unwrap().to_vec::<f32>().unwrap();
    let rows: Vec<&[f32]> = vectors.chunks(model.width()).collect();
    let product = |a: usize, b: usize| rows[a].iter().zip(rows[b]).map(|(x, y)| x * y).sum::<f32>();
    assert!((product(0, 0) - 1.0).abs() < 1e-5);
    assert!(product(0, 1) > product(0, 2), "{} and {}", product(0, 1), product(0, 2));

    // Training goes on from the folder, with its pooling; a classifier then is no embedder.
    let again = dir.path().join("again");
    let from = ["embed", "--data", data.to_str().unwrap(), "--model", out.to_str().unwrap()];
    let output = run(&[&from[..], &["--steps", "1", "--out", again.to_str().unwrap()]].concat());
    ok(&output);
    assert!(!stderr(&output).contains("at random"), "{}", stderr(&output));
    assert_eq!(json(&again.join("1_Pooling/config.json"))["pooling_mode_max_tokens"], true);
    let labels = dir.path().join("labels.csv");
    std::fs::write(&labels, "text,label\na cat,x\na lamp,y\n").unwrap();
    let classify = ["classify", "--data", labels.to_str().unwrap(), "--model"];
    let into = [out.to_str().unwrap(), "--steps", "1", "--out", again.to_str().unwrap()];
    ok(&run(&[&classify[..], &into, &["--overwrite"]].concat()));
    assert!(!again.join("modules.json").exists());
}

#[test]
fn ctrl_c_saves_and_resuming_ends_as_if_nothing_had_happened() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out, whole) = (data(dir.path()), dir.path().join("out"), dir.path().join("whole"));
    // Negatives of a whole step, prompts, dropout, dev sets in between.
    let steps = ["--steps", "240", "--eval-every", "30", "--accumulate", "2", "-q"];
    let more = ["--cached-negatives", "--query-prompt", "q: ", "--no-normalize"];
    let all = [&steps[..], &more].concat();
    let stopped = interrupted(&scratch(&data, &out, &all), &out, 30);
    assert!((30..240).contains(&stopped), "stopped at step {stopped}");
    let changed = ["embed", "--resume", out.to_str().unwrap(), "--temperature", "0.1"];
    let refused = run(&changed);
    assert!(stderr(&refused).contains("--temperature was 0.05"), "{}", stderr(&refused));
    ok(&run(&["embed", "--resume", out.to_str().unwrap(), "--threads", "1"]));
    ok(&run(&scratch(&data, &whole, &all)));
    assert!(weights(&out) == weights(&whole), "the resumed run ended with other weights");
    assert_eq!(metrics(&out), metrics(&whole));
    for folder in [&out, &whole] {
        let settings = json(&folder.join("config_sentence_transformers.json"));
        assert_eq!(settings["prompts"]["query"], "q: ", "{settings}");
        assert_eq!(json(&folder.join("modules.json")).as_array().unwrap().len(), 2);
    }
}

#[test]
fn scores_are_learnt() {
    let dir = tempfile::tempdir().unwrap();
    let (file, out) = (dir.path().join("sts.csv"), dir.path().join("out"));
    let mut text = String::from("sentence1,sentence2,score\n");
    for (i, word) in WORDS.iter().enumerate() {
        let other = WORDS[(i + 5) % 12];
        text += &format!("the {word} is here,here is the {word},5\n");
        text += &format!("the {word} is here,here is the {other},2\n");
        text += &format!("the {word} is here,who wants an {other} today,0\n");
        text += &format!("a {word},who wants an {other} today,0.5\n");
    }
    std::fs::write(&file, text).unwrap();
    let refused = run(&scratch(&file, &out, &["--steps", "1"]));
    assert_eq!(refused.status.code(), Some(1));
    let said = stderr(&refused);
    assert!(said.contains("sts.csv:2: the score is 5") && said.contains("--score-scale"), "{said}");
    let flags = ["--score-scale", "5", "--epochs", "15", "--lr", "3e-3", "--json"];
    let output = run(&scratch(&file, &out, &flags));
    let last = last(&output);
    assert!(last["dev_spearman"].as_f64().unwrap() > 0.5, "{last}");
    assert!(last["train_loss"].as_f64().unwrap() < 0.05, "{last}");
    assert!(last["dev_pearson"].is_number());
}

#[test]
fn what_is_wrong_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let good = data(dir.path());
    let out = dir.path().join("out");
    let fails = |data: &Path, more: &[&str], code: i32, parts: &[&str]| {
        let output = run(&scratch(data, &out, more));
        assert_eq!(output.status.code(), Some(code), "{more:?}: {}", stderr(&output));
        for part in parts {
            assert!(stderr(&output).contains(part), "no `{part}` in: {}", stderr(&output));
        }
    };
    fails(&good, &["--temperature", "0"], 2, &["--temperature is 0"]);
    fails(&good, &["--dimensions", "64,200"], 2, &["--dimensions is 200", "128"]);
    fails(
        &good,
        &["--dimensions", "64", "--dimension-weights", "1,2"],
        2,
        &["--dimension-weights"],
    );
    let alone: Vec<&str> =
        scratch(&good, &out, &[]).into_iter().map(|a| if a == "6" { "1" } else { a }).collect();
    let said = stderr(&run(&alone));
    assert!(said.contains("--batch-size is 1; it must be 2 or more"), "{said}");
    fails(&good, &["--cached-negatives"], 2, &["--accumulate 2"]);
    fails(&good, &["--head-lr", "1"], 2, &["--head-lr", "no head"]);
    fails(&good, &["--score-scale", "5"], 2, &["--score-scale does nothing here"]);
    fails(&good, &["--metric", "spearman"], 2, &["--metric", "recall_at_1, mrr"]);
    fails(&good, &["--pooling", "sum"], 2, &["sum", "mean"]);
    fails(&good, &["--anchor-column", "q"], 1, &["no column `q`"]);
    let unclear = dir.path().join("unclear.csv");
    std::fs::write(&unclear, "question,answer,context\na,b,c\n").unwrap();
    fails(&unclear, &[], 1, &["`answer` and `context`", "--positive-column"]);
    let named = ["--positive-column", "answer", "--steps", "1"];
    fails(&unclear, &named, 1, &["needs 2 of them"]);
    let scored = dir.path().join("scored.csv");
    std::fs::write(&scored, "text1,text2,score\na,b,1\nc,d,0\n").unwrap();
    fails(&scored, &["--temperature", "1"], 2, &["--temperature does nothing here"]);
    fails(
        &scored,
        &["--accumulate", "2", "--cached-negatives"],
        2,
        &["--cached-negatives does nothing here"],
    );
    fails(&scored, &["--query-prompt", "q"], 2, &["--query-prompt does nothing here"]);
}

/// A model is trained on pairs, and measured by scores.
#[test]
fn dev_may_have_scores() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (data(dir.path()), dir.path().join("out"));
    std::fs::remove_file(data.join("test.jsonl")).unwrap();
    std::fs::remove_file(data.join("dev.tsv")).unwrap();
    let dev = "sentence1,sentence2,score\nwhere is the cat,a cat,0.9\nthe cat,a lamp,0.2\nis it,the lamp,0\n";
    std::fs::write(data.join("dev.csv"), dev).unwrap();
    let output = run(&scratch(&data, &out, &["--steps", "4", "--accumulate", "2", "--json"]));
    let last = last(&output);
    assert!(last["dev_spearman"].is_number() && last.get("dev_mrr").is_none(), "{last}");
    let said = stderr(&output);
    assert!(said.contains("--cached-negatives takes them"), "{said}");
    assert!(said.contains("1 of the 3 first texts of the dev set"), "{said}");
}
