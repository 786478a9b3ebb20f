//! Efficient fine-tuning end to end: adapters of every task, frozen layers, averaged weights.

use std::path::{Path, PathBuf};

use crate::common::{cut, data, json, last, metrics, ok, run, scratch, stderr};
use gradus_models::pipelines::{self, Pipeline};

/// A base for adapters: a classifier of a few steps.
fn base(data: &Path, dir: &Path) -> PathBuf {
    let base = dir.join("base");
    let steps = ["--steps", "3", "--vocab-size", "120", "-q"];
    ok(&run(&tuned("classify", [data, Path::new("scratch"), &base], &steps)));
    base
}

/// `train TASK` on `data` from `model`, into `out`.
fn tuned<'a>(task: &'a str, places: [&'a Path; 3], more: &[&'a str]) -> Vec<&'a str> {
    let [data, model, out] = places.map(|path| path.to_str().unwrap());
    let mut args = vec![task, "--data", data, "--model", model, "--out", out, "--batch-size", "4"];
    args.extend(more);
    args
}

const LORA: [&str; 6] = ["--lora-rank", "4", "--lora-dropout", "0.2", "--lr", "5e-3"];

fn adapter(folder: &Path) -> Vec<u8> {
    std::fs::read(folder.join("adapter_model.safetensors")).unwrap()
}

fn labels(model: &Path, text: &str) -> Vec<(String, f32)> {
    let Pipeline::Classify(model) = pipelines::open(model.to_str().unwrap()).unwrap() else {
        panic!()
    };
    let scores = model.predict(&[(text.to_string(), None)], None).unwrap();
    let mut scores: Vec<_> = scores[0].iter().map(|s| (s.label.clone(), s.score)).collect();
    scores.sort_by(|a, b| a.0.cmp(&b.0));
    scores
}

#[test]
fn an_adapter_is_trained_resumed_and_merged() {
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    let (base, out) = (base(&data, dir.path()), dir.path().join("lora"));
    let course =
        ["--steps", "20", "--eval-every", "5", "--save-every", "10", "--ema", "0.9", "--keep", "9"];
    let args = tuned("classify", [&data, &base, &out], &[&LORA[..], &course].concat());
    let output = run(&[&args[..], &["--json"]].concat());
    assert!(last(&output)["test_accuracy"].is_number());
    let said = stderr(&output);
    assert!(said.contains("parameters are trained (") && !said.contains("at random"), "{said}");
    let settings = json(&out.join("adapter_config.json"));
    assert_eq!(settings["base_model_name_or_path"], base.to_str().unwrap());
    assert_eq!(settings["r"], 4);
    assert_eq!(settings["lora_alpha"], 8);
    assert_eq!(settings["target_modules"], serde_json::json!(["query", "value"]));
    assert_eq!(settings["modules_to_save"], serde_json::json!(["classifier"]));
    assert!(!out.join("model.safetensors").exists());
    assert_eq!(json(&out.join("config.json"))["id2label"]["0"], "list");

    // A run that stopped half-way ends with the same bits.
    let again = dir.path().join("again");
    cut(&out, &again, 10);
    ok(&run(&["classify", "--resume", again.to_str().unwrap(), "-q"]));
    assert!(adapter(&again) == adapter(&out), "the resumed run ended with other weights");
    assert_eq!(metrics(&again), metrics(&out));

    let merged = dir.path().join("merged");
    let merge = |out: &Path| {
        let (adapter, out) =
            (again.to_str().unwrap().to_string(), out.to_str().unwrap().to_string());
        run(&["merge", &adapter, "--out", &out])
    };
    ok(&merge(&merged));
    assert!(stderr(&merge(&merged)).contains("already holds a run or a model"));
    let text = "who has seen my glass today";
    for ((name, score), (merged_name, merged_score)) in
        labels(&out, text).iter().zip(labels(&merged, text))
    {
        assert_eq!(*name, merged_name);
        assert!((score - merged_score).abs() < 1e-6);
    }

    // An adapter is no base, and its base must be there.
    let other = dir.path().join("other");
    let output = run(&tuned("classify", [&data, &out, &other], &LORA));
    assert!(stderr(&output).contains("train merge"), "{}", stderr(&output));
    let moved = dir.path().join("moved");
    std::fs::rename(&base, &moved).unwrap();
    let output = merge(&other);
    assert!(stderr(&output).contains("--base DIR"), "{}", stderr(&output));
    ok(&run(&[
        "merge",
        out.to_str().unwrap(),
        "--base",
        moved.to_str().unwrap(),
        "--out",
        other.to_str().unwrap(),
    ]));
}

#[test]
fn flags_of_adapters_are_checked() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (data(dir.path()), dir.path().join("out"));
    let base = base(&data, dir.path());
    for (flags, part) in [
        (&["--lora-alpha", "4"][..], "--lora-alpha goes with --lora-rank"),
        (&["--lora-rank", "0"], "--lora-rank is 0"),
        (&["--lora-rank", "2", "--lora-targets", "querry"], "--lora-targets is querry"),
        (&["--lora-rank", "2", "--lora-dropout", "1"], "--lora-dropout is 1"),
        (&["--freeze", "embedings"], "there are embeddings"),
        (&["--layer-decay", "1.5"], "--layer-decay is 1.5"),
        (&["--ema", "1"], "--ema is 1"),
    ] {
        let output = run(&tuned("classify", [&data, &base, &out], flags));
        assert!(!output.status.success() && stderr(&output).contains(part), "{}", stderr(&output));
    }
    let output = run(&scratch(&data, &out, &["--lora-rank", "2"]));
    assert!(
        stderr(&output).contains("--lora-rank leaves the model's weights"),
        "{}",
        stderr(&output)
    );
    // A resumed run keeps them.
    ok(&run(&tuned(
        "classify",
        [&data, &base, &out],
        &["--steps", "2", "--freeze", "encoder", "-q"],
    )));
    let resume = ["classify", "--resume", out.to_str().unwrap(), "--steps", "3", "-q"];
    let other = run(&[&resume[..], &["--freeze", "embeddings"]].concat());
    assert!(stderr(&other).contains("--freeze was"), "{}", stderr(&other));
    ok(&run(&[&resume[..], &["--activation-checkpointing"]].concat()));
}

/// Every task trains an adapter, resumes it, and its pipeline folds it.
#[test]
fn taggers_and_masked_language_models_have_adapters() {
    let dir = tempfile::tempdir().unwrap();
    let tags = dir.path().join("tags");
    std::fs::create_dir(&tags).unwrap();
    let sentence = "ada B-PER\nlives O\nin O\nrome B-LOC\n\nthe O\nroad O\nto O\noslo B-LOC\n\n";
    std::fs::write(tags.join("train.conll"), sentence.repeat(8)).unwrap();
    let text = dir.path().join("text.txt");
    std::fs::write(&text, "the cat saw the dog and the dog saw the cat in the rain .\n".repeat(60))
        .unwrap();
    for (task, data) in [("tokens", &tags), ("mlm", &text)] {
        let [base, out, again] =
            ["base", "lora", "again"].map(|name| dir.path().join(task).join(name));
        let vocabulary = ["--vocab-size", "80", "--steps", "2", "-q"];
        ok(&run(&tuned(task, [data, Path::new("scratch"), &base], &vocabulary)));
        let flags = ["--steps", "6", "--save-every", "3", "--keep", "9", "-q"];
        ok(&run(&tuned(task, [data, &base, &out], &[&LORA[..], &flags].concat())));
        cut(&out, &again, 3);
        ok(&run(&[task, "--resume", again.to_str().unwrap(), "-q"]));
        assert!(
            adapter(&again) == adapter(&out),
            "{task}: the resumed run ended with other weights"
        );
        let pipeline = pipelines::open(out.to_str().unwrap()).unwrap();
        assert_eq!(pipeline.base(), base.to_str());
        let merged = dir.path().join(task).join("merged");
        ok(&run(&["merge", out.to_str().unwrap(), "--out", merged.to_str().unwrap(), "-q"]));
        assert_eq!(pipelines::open(merged.to_str().unwrap()).unwrap().task(), pipeline.task());
    }
}
