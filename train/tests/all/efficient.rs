//! Efficient fine-tuning end to end: adapters of every task, frozen layers, averaged weights.

use std::path::{Path, PathBuf};

use crate::common::{cut, data, json, last, metrics, ok, run, scratch, stderr, train, weights};
use crate::embed;
use gradus_models::pipelines::{self, Pipeline, TextEmbedder};
use gradus_models::{Checkpoint, ModelRef, Pretrained};
use gradus_nn::Source;
use gradus_tensor::io::safetensors::SafeTensors;

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
        // PEFT's copy of the head has a decoder.
        let decoder = SafeTensors::open(out.join("adapter_model.safetensors"))
            .unwrap()
            .tensor("base_model.model.cls.predictions.decoder.weight");
        assert_eq!(decoder.is_ok(), task == "mlm", "{task}");
        let merged = dir.path().join(task).join("merged");
        ok(&run(&["merge", out.to_str().unwrap(), "--out", merged.to_str().unwrap(), "-q"]));
        assert_eq!(pipelines::open(merged.to_str().unwrap()).unwrap().task(), pipeline.task());
    }
}

/// A base from the hub, here from its cache: the adapter names it by its id, its run goes on, and it
/// is merged.
#[test]
fn the_base_may_come_from_the_hub() {
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    let base = base(&data, dir.path());
    let cache = dir.path().join("hf/hub/models--org--base");
    let snapshot = cache.join("snapshots/c0ffee");
    std::fs::create_dir_all(&snapshot).unwrap();
    std::fs::create_dir_all(cache.join("refs")).unwrap();
    std::fs::write(cache.join("refs/main"), "c0ffee").unwrap();
    for name in ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"] {
        std::fs::copy(base.join(name), snapshot.join(name)).unwrap();
    }
    let at_hub = |args: &[&str]| {
        let mut command = train(args);
        command.env("HF_HOME", dir.path().join("hf")).env("HF_HUB_OFFLINE", "1");
        let output = command.output().unwrap();
        ok(&output);
    };
    let [out, again, merged, local] =
        ["out", "again", "merged", "local"].map(|name| dir.path().join(name));
    let course = ["--steps", "6", "--save-every", "3", "--keep", "9", "-q"];
    let flags = [&LORA[..], &course].concat();
    at_hub(&tuned("classify", [&data, Path::new("org/base"), &out], &flags));
    assert_eq!(json(&out.join("adapter_config.json"))["base_model_name_or_path"], "org/base");
    cut(&out, &again, 3);
    at_hub(&["classify", "--resume", again.to_str().unwrap(), "-q"]);
    assert!(adapter(&again) == adapter(&out), "the resumed run ended with other weights");

    let [out, base] = [&out, &base].map(|path| path.to_str().unwrap());
    at_hub(&["merge", out, "--out", merged.to_str().unwrap(), "-q"]);
    ok(&run(&["merge", out, "--base", base, "--out", local.to_str().unwrap(), "-q"]));
    assert!(weights(&merged) == weights(&local), "the base of the hub is another");
}

/// The adapter of an embedder is merged with the modules of its folder.
#[test]
fn the_adapter_of_an_embedder_is_merged() {
    let dir = tempfile::tempdir().unwrap();
    let data = embed::data(dir.path());
    let [base, out, merged] = ["base", "lora", "merged"].map(|name| dir.path().join(name));
    let settings = ["--pooling", "weightedmean", "--query-prompt", "find: ", "--steps", "2", "-q"];
    ok(&run(&embed::scratch(&data, &base, &settings)));
    let flags = [&LORA[..], &["--steps", "6", "-q"]].concat();
    ok(&run(&tuned("embed", [&data, &base, &out], &flags)));
    ok(&run(&["merge", out.to_str().unwrap(), "--out", merged.to_str().unwrap(), "-q"]));
    let embedded = |folder: &Path| {
        let embedder = TextEmbedder::open(folder.to_str().unwrap(), None, None).unwrap();
        embedder.embed(&["who has seen my lamp", "a door"]).unwrap().to_vec::<f32>().unwrap()
    };
    let (apart, whole, before) = (embedded(&out), embedded(&merged), embedded(&base));
    let far =
        |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max);
    assert!(far(&apart, &whole) < 1e-6, "{}", far(&apart, &whole));
    assert!(far(&apart, &before) > 1e-4, "the adapter changes nothing");
    for name in ["modules.json", "config_sentence_transformers.json", "1_Pooling/config.json"] {
        assert_eq!(json(&out.join(name)), json(&merged.join(name)), "{name}");
    }
    assert!(!merged.join("adapter_config.json").exists());
}

/// The adapters of question answerers and of causal language models, which PEFT knows by the names
/// of their tasks.
#[test]
fn answerers_and_generators_have_adapters() {
    let dir = tempfile::tempdir().unwrap();
    let (text, questions) = (dir.path().join("text.txt"), dir.path().join("questions.jsonl"));
    std::fs::write(&text, "the cat saw the dog and the dog saw the cat in the rain .\n".repeat(60))
        .unwrap();
    let row = r#"{"question": "who saw the dog ?", "context": "the cat saw the dog", "answers": {"text": ["the cat"], "answer_start": [0]}}"#;
    std::fs::write(&questions, format!("{row}\n").repeat(12)).unwrap();
    for (task, data, peft) in [("answer", &questions, "QUESTION_ANS"), ("lm", &text, "CAUSAL_LM")] {
        let [base, out, merged] =
            ["base", "lora", "merged"].map(|name| dir.path().join(task).join(name));
        let vocabulary = ["--vocab-size", "300", "--steps", "2", "-q"];
        ok(&run(&tuned(task, [data, Path::new("scratch"), &base], &vocabulary)));
        let rank = ["--lora-rank", "2", "--steps", "4", "-q"];
        ok(&run(&tuned(task, [data, &base, &out], &rank)));
        let settings = json(&out.join("adapter_config.json"));
        assert_eq!(
            (&settings["task_type"], &settings["fan_in_fan_out"]),
            (&peft.into(), &(task == "lm").into())
        );
        ok(&run(&["merge", out.to_str().unwrap(), "--out", merged.to_str().unwrap(), "-q"]));
        let before = Checkpoint::open(&base).unwrap();
        let after = Checkpoint::open(&merged).unwrap();
        let layer = if task == "lm" {
            "transformer.h.0.attn.c_attn"
        } else {
            "bert.encoder.layer.0.attention.self.query"
        };
        let weight = |of: &Checkpoint| {
            of.tensor(&format!("{layer}.weight")).unwrap().unwrap().to_vec::<f32>().unwrap()
        };
        assert_ne!(weight(&before), weight(&after), "{task}: the adapter is folded in");
        // The head is known without config.json too, as PEFT writes adapters.
        std::fs::remove_file(out.join("config.json")).unwrap();
        let bare = ModelRef { base: base.to_str(), ..out.to_str().unwrap().into() };
        assert_eq!(
            Pretrained::open(bare).unwrap().task().unwrap().name(),
            match task {
                "lm" => "text-generation",
                _ => "question-answering",
            }
        );
    }
}
