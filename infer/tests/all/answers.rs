//! Every subcommand on a tiny model of random weights.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::common::{Head, Model, TEXTS, fails, infer, infer_with, lines, stderr, stdout};
use gradus_models::Pooling;
use gradus_tensor::io::{npy, safetensors::SafeTensors};
use gradus_testing::gpu;
use serde_json::Value;

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn classify() {
    for pooling in [Pooling::Cls, Pooling::Mean] {
        let model = Model::new(Head::Sequence(pooling));
        let mut args = vec!["classify", "--model", model.path(), "--json"];
        args.extend(TEXTS);
        let found = lines(&infer(&args));
        assert_eq!(found.len(), TEXTS.len());
        for (record, text) in found.iter().zip(TEXTS) {
            assert_eq!(keys(record), ["labels", "text"]);
            assert_eq!(record["text"], text);
            let labels = record["labels"].as_array().unwrap();
            assert_eq!(labels.len(), 3);
            assert_eq!(keys(&labels[0]), ["label", "score"]);
            let scores: Vec<f64> = labels.iter().map(|l| l["score"].as_f64().unwrap()).collect();
            assert!(scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
            assert!((scores.iter().sum::<f64>() - 1.0).abs() < 1e-6, "{scores:?}");
        }
        // The texts get different answers, so the order is not right by chance.
        let best: Vec<f64> =
            found.iter().map(|r| r["labels"][0]["score"].as_f64().unwrap()).collect();
        assert!(best.iter().any(|b| (b - best[0]).abs() > 1e-4), "{best:?}");
    }
}

#[test]
fn a_text_alone_and_in_a_batch() {
    let model = Model::new(Head::Sequence(Pooling::Mean));
    let embeddings = Model::new(Head::None);
    for (command, model) in [("classify", &model), ("embed", &embeddings)] {
        let base = [command, "--model", model.path(), "--json"];
        let together = lines(&infer(&[&base[..], &TEXTS].concat()));
        let small = lines(&infer(&[&base[..], &["--batch-size", "2"], &TEXTS].concat()));
        for (i, text) in TEXTS.iter().enumerate() {
            let alone = lines(&infer(&[&base[..], &[text]].concat()));
            for other in [&alone[0], &small[i]] {
                assert_eq!(together[i]["text"], other["text"]);
                let values = |record: &Value| match command {
                    "embed" => numbers(&record["embedding"]),
                    _ => {
                        let labels = record["labels"].as_array().unwrap().iter();
                        labels.map(|l| l["score"].as_f64().unwrap()).collect()
                    }
                };
                for (a, b) in values(&together[i]).into_iter().zip(values(other)) {
                    assert!((a - b).abs() <= 1e-6, "{command} {text}: {a} {b}");
                }
            }
        }
    }
}

#[test]
fn threads_change_nothing() {
    let model = Model::new(Head::None);
    let run = |n| {
        stdout(&infer(
            &[&["embed", "--model", model.path(), "--json", "--threads", n], &TEXTS[..]].concat(),
        ))
    };
    assert_eq!(run("1"), run("3"));
}

#[test]
fn embed_to_every_kind_of_file() {
    let model = Model::new(Head::None);
    let base = ["embed", "--model", model.path()];
    let printed = lines(&infer(&[&base[..], &["--json"], &TEXTS].concat()));
    assert_eq!(keys(&printed[0]), ["embedding", "text"]);
    let rows: Vec<Vec<f64>> = printed.iter().map(|r| numbers(&r["embedding"])).collect();
    for row in &rows {
        assert_eq!(row.len(), 32);
        let norm: f64 = row.iter().map(|v| v * v).sum();
        assert!((norm - 1.0).abs() < 1e-5, "{norm}");
    }
    for name in ["out.npy", "out.safetensors", "out.jsonl"] {
        let path = model.file(name);
        let output = ["--output", path.to_str().unwrap()];
        let run = infer(&[&base[..], &output, &TEXTS].concat());
        assert!(run.status.success() && run.stdout.is_empty(), "{}", stderr(&run));
        assert!(stderr(&run).contains("wrote 5 results"), "{}", stderr(&run));
        if name == "out.jsonl" {
            let text = fs::read_to_string(&path).unwrap();
            let read: Vec<Value> =
                text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            assert_eq!(read, printed);
            continue;
        }
        let tensor = match name {
            "out.npy" => npy::read(&path).unwrap(),
            _ => SafeTensors::open(&path).unwrap().tensor("embeddings").unwrap(),
        };
        assert_eq!(tensor.shape(), [5, 32]);
        let flat: Vec<f64> = rows.concat();
        for (a, b) in tensor.to_f64_vec().into_iter().zip(flat) {
            assert!((a - b).abs() < 1e-6);
        }
    }
}

#[test]
fn pooling_and_length_of_embeddings() {
    let model = Model::new(Head::None);
    let run = |flags: &[&str]| {
        let args = [&["embed", "--model", model.path(), "--json", TEXTS[0]], flags].concat();
        numbers(&lines(&infer(&args))[0]["embedding"])
    };
    let (mean, cls) = (run(&[]), run(&["--pooling", "cls"]));
    assert_eq!(mean, run(&["--pooling", "mean"]));
    assert!(mean.iter().zip(&cls).any(|(a, b)| (a - b).abs() > 1e-3));
    let long = run(&["--no-normalize"]);
    let norm = long.iter().map(|v| v * v).sum::<f64>().sqrt();
    assert!((norm - 1.0).abs() > 0.1, "{norm}");
    for (a, b) in long.iter().zip(&mean) {
        assert!((a / norm - b).abs() < 1e-5);
    }
    // A folder of sentence-transformers decides the pooling.
    fs::create_dir(model.file("1_Pooling")).unwrap();
    let config = r#"{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false}"#;
    fs::write(model.file("1_Pooling/config.json"), config).unwrap();
    assert_eq!(run(&[]), cls);
    assert_eq!(run(&["--pooling", "mean"]), mean);
}

#[test]
fn fill_mask() {
    let model = Model::new(Head::Masked);
    let text = "my [MASK] was stolen by the [MASK].";
    let args = ["fill-mask", "--model", model.path(), "--json", "--top-k", "3", text];
    let found = lines(&infer(&args));
    assert_eq!(keys(&found[0]), ["masks", "text"]);
    let masks = found[0]["masks"].as_array().unwrap();
    assert_eq!(masks.len(), 2);
    for (mask, (before, after)) in masks
        .iter()
        .zip([("my ", " was stolen by the [MASK]."), ("my [MASK] was stolen by the ", ".")])
    {
        let fills = mask.as_array().unwrap();
        assert_eq!(fills.len(), 3);
        assert_eq!(keys(&fills[0]), ["id", "score", "sequence", "token", "token_str"]);
        for fill in fills {
            let token = fill["token"].as_str().unwrap();
            if !token.starts_with("##") {
                assert_eq!(fill["sequence"], format!("{before}{token}{after}"));
            }
        }
    }
    // Texts with one and two masks, in one batch: each has its own.
    let both = ["hi [MASK]", text, "[MASK] card"];
    let args = [&["fill-mask", "--model", model.path(), "--json", "--top-k", "3"], &both[..]];
    let batch = lines(&infer(&args.concat()));
    let counts: Vec<usize> = batch.iter().map(|r| r["masks"].as_array().unwrap().len()).collect();
    assert_eq!(counts, [1, 2, 1]);
    assert_eq!(batch[1]["masks"][0][0]["token"], found[0]["masks"][0][0]["token"]);
}

#[test]
fn generated_texts() {
    let model = Model::new(Head::Causal);
    let base = ["generate", "--model", model.path(), "--max-new-tokens", "9"];
    let with = |more: &[&str]| infer(&[&base[..], more].concat());
    let found = lines(&with(&["--json", "my card", "hi"]));
    let names =
        ["finish_reason", "generated_text", "generated_tokens", "prompt_tokens", "sample", "text"];
    assert_eq!((keys(&found[0]), found.len()), (names.to_vec(), 2));
    assert_eq!(found[0]["generated_tokens"], 9);
    // People see the prompt and what follows it, text by text.
    let text = |i: usize| {
        let part = |name: &str| found[i][name].as_str().unwrap().to_string();
        part("text") + &part("generated_text")
    };
    let shown = stdout(&with(&["my card", "hi"]));
    assert_eq!(shown, format!("{}\n---\n{}\n", text(0), text(1)));
    // A file is one prompt, of any number of lines.
    let path = model.file("prompt.txt");
    fs::write(&path, "my\ncard\n").unwrap();
    let of_file = lines(&with(&["--json", "--prompt-file", path.to_str().unwrap()]));
    assert_eq!((of_file.len(), &of_file[0]["text"]), (1, &"my\ncard".into()));

    let drawn = |seed: &str| {
        let flags = ["--json", "--temperature", "2", "--samples", "3", "--seed", seed, "my card"];
        let texts = lines(&with(&flags));
        texts.iter().map(|line| line["generated_text"].to_string()).collect::<Vec<_>>()
    };
    assert_eq!(drawn("5"), drawn("5"));
    assert!(drawn("5")[0] != drawn("5")[1] && drawn("5") != drawn("6"));
    // The model's folder may say to draw; --greedy does not.
    fs::write(model.file("generation_config.json"), r#"{"do_sample": true, "top_k": 0}"#).unwrap();
    let own = lines(&with(&["--json", "--seed", "5", "my card"]));
    assert_ne!(own[0]["generated_text"], found[0]["generated_text"]);
    let greedy = lines(&with(&["--json", "--greedy", "my card"]));
    assert_eq!(greedy[0]["generated_text"], found[0]["generated_text"]);

    for (flags, want) in [
        (&["--temperature", "0", "a"][..], "--temperature is 0"),
        (&["--top-p", "1.5", "a"], "--top-p is 1.5"),
        (&["--greedy", "--top-k", "3", "a"], "--top-k is for drawing"),
        (&["--greedy", "--samples", "2", "a"], "--samples"),
        (&["--max-length", "9", "a"], "--max-new-tokens"),
        (&["--batch-size", "9", "a"], "--batch-size"),
        (&["--stop", "", "a"], "--stop is empty"),
    ] {
        fails(&with(flags), 2, &[want]);
    }
    let bert = Model::new(Head::Masked);
    fails(&infer(&["generate", "--model", bert.path(), "a"]), 1, &["`infer fill-mask`"]);
    fails(&infer(&["embed", "--model", bert.path(), "--max-new-tokens", "3", "a"]), 2, &[]);
    fails(&infer(&["fill-mask", "--model", model.path(), "a"]), 1, &["no mask token"]);
}

#[test]
fn sparse_vectors() {
    let model = Model::new(Head::Masked);
    let base = ["embed", "--sparse", "--model", model.path()];
    let found = lines(&infer(&[&base[..], &["--json"], &TEXTS].concat()));
    assert_eq!(found.len(), TEXTS.len());
    for (record, text) in found.iter().zip(TEXTS) {
        assert_eq!(keys(record), ["sparse_embedding", "text"]);
        assert_eq!(record["text"], text);
        let values = record["sparse_embedding"].as_array().unwrap();
        assert_eq!(keys(&values[0]), ["index", "token", "value"]);
        let numbers: Vec<f64> = values.iter().map(|v| v["value"].as_f64().unwrap()).collect();
        assert!(numbers.is_sorted_by(|a, b| a >= b) && numbers.iter().all(|&v| v > 0.0));
    }
    // A person sees the first ten, and how many more there are.
    let shown = stdout(&infer(&[&base[..], &[TEXTS[0]]].concat()));
    let values = found[0]["sparse_embedding"].as_array().unwrap();
    assert_eq!(shown.lines().count(), 1 + 10.min(values.len()) + usize::from(values.len() > 10));
    assert!(shown.contains(values[0]["token"].as_str().unwrap()), "{shown}");
    // A prompt is a part of the text.
    let prompted = infer(&[&base[..], &["--json", "--prompt", "my ", "card was stolen"]].concat());
    let whole = &found[TEXTS.iter().position(|text| *text == "my card was stolen").unwrap()];
    assert_eq!(lines(&prompted)[0]["sparse_embedding"], whole["sparse_embedding"]);
    fails(&infer(&[&base[..], &["--pooling", "cls", "a"]].concat()), 2, &["--pooling"]);
    fails(&infer(&[&base[..], &["--output", "x.npy", "a"]].concat()), 2, &[".jsonl"]);
}

#[test]
fn tokens() {
    let model = Model::new(Head::Tokens);
    let text = "My card, stolen Zürich!";
    let base = ["tokens", "--model", model.path(), "--json", text];
    let words = lines(&infer(&base));
    assert_eq!(keys(&words[0]), ["text", "words"]);
    let words = words[0]["words"].as_array().unwrap();
    let texts: Vec<&str> = words.iter().map(|w| w["text"].as_str().unwrap()).collect();
    assert_eq!(texts, ["My", "card", ",", "stolen", "Zürich", "!"]);
    assert_eq!(keys(&words[0]), ["end", "label", "score", "start", "text"]);
    assert_eq!((words[5]["start"].as_u64(), words[5]["end"].as_u64()), (Some(22), Some(23)));
    let spans = lines(&infer(&[&base[..], &["--aggregate"]].concat()));
    for span in spans[0]["spans"].as_array().unwrap() {
        assert_eq!(span["label"], "THING");
        let (start, end) = (span["start"].as_u64().unwrap(), span["end"].as_u64().unwrap());
        let chars: String =
            text.chars().skip(start as usize).take((end - start) as usize).collect();
        assert_eq!(span["text"], chars);
    }
}

/// Given words stay words, and their places are those in the words with spaces between.
#[test]
fn tokens_of_given_words() {
    let model = Model::new(Head::Tokens);
    let path = model.file("words.jsonl");
    fs::write(&path, "{\"words\": [\"Zürich\", \"\", \"U.S.\", \"card\"]}\n{\"words\": []}\n")
        .unwrap();
    let base = ["tokens", "--model", model.path(), "--json", "--input", path.to_str().unwrap()];
    let found = lines(&infer(&[&base[..], &["--tokens-column", "words"]].concat()));
    assert_eq!((found.len(), &found[0]["text"]), (2, &"Zürich  U.S. card".into()));
    let words = found[0]["words"].as_array().unwrap();
    let places: Vec<_> = words.iter().map(|w| (w["start"].as_u64(), w["end"].as_u64())).collect();
    let expected = [(0, 6), (7, 7), (8, 12), (13, 17)];
    assert_eq!(places, expected.map(|(a, b)| (Some(a), Some(b))));
    // The empty word has no token.
    assert_eq!((&words[1]["label"], &words[1]["score"]), (&"O".into(), &0.0.into()));
    assert!(words[2]["score"].as_f64().unwrap() > 0.0);
    assert!(found[1]["words"].as_array().unwrap().is_empty());
    // Words without punctuation are those of a text.
    let file = model.file("plain.conll");
    fs::write(&file, "my\ncard\nwas\nstolen\n").unwrap();
    let base = ["tokens", "--model", model.path(), "--json", "--aggregate"];
    let given = lines(&infer(&[&base[..], &["--input", file.to_str().unwrap()]].concat()));
    assert_eq!(given, lines(&infer(&[&base[..], &["my card was stolen"]].concat())));
    let refused = |flags: &[&str]| infer(&[&base[..], flags].concat());
    fails(&refused(&["--tokens-column", "words", "a text"]), 2, &["--tokens-column"]);
    let flags = ["--input", file.to_str().unwrap(), "--text-column", "a"];
    fails(&refused(&flags), 2, &["--text-column", "--tokens-column"]);
}

#[test]
fn similarity() {
    let model = Model::new(Head::None);
    let base = ["similarity", "--model", model.path()];
    let same = infer(&[&base[..], &[TEXTS[0], TEXTS[0]]].concat());
    assert_eq!(stdout(&same), "1.0000\n", "{}", stderr(&same));
    let other = lines(&infer(&[&base[..], &["--json", TEXTS[0], TEXTS[3]]].concat()));
    assert_eq!(keys(&other[0]), ["pair", "similarity", "text"]);
    let path = model.file("pairs.tsv");
    fs::write(&path, format!("pair\ttext\n{}\t{}\nhi\thi\n", TEXTS[3], TEXTS[0])).unwrap();
    let file = ["--json", "--input", path.to_str().unwrap()];
    let pairs = lines(&infer(&[&base[..], &file].concat()));
    assert_eq!(pairs[0], other[0]);
    assert!(pairs[1]["similarity"].as_f64().unwrap() > 0.9999);
}

#[test]
fn inputs_of_every_kind() {
    let model = Model::new(Head::None);
    let base = ["embed", "--model", model.path(), "--json"];
    let expected = lines(&infer(&[&base[..], &["hi", "my card"]].concat()));
    for (name, text, flags) in [
        ("a.txt", "hi\nmy card\n", vec![]),
        ("a.csv", "id,text\n1,hi\n2,my card\n", vec![]),
        ("a.tsv", "id\tbody\n1\thi\n2\tmy card\n", vec!["--text-column", "body"]),
        ("a.jsonl", "{\"q\":\"hi\"}\n{\"q\":\"my card\"}\n", vec!["--text-column", "q"]),
    ] {
        let path = model.file(name);
        fs::write(&path, text).unwrap();
        let run = infer(&[&base[..], &["--input", path.to_str().unwrap()], &flags].concat());
        assert_eq!(lines(&run), expected, "{name}");
        assert!(Command::new("gzip").arg(&path).status().unwrap().success());
        let packed = format!("{}.gz", path.display());
        let run = infer(&[&base[..], &["--input", &packed], &flags].concat());
        assert_eq!(lines(&run), expected, "{name}.gz");
    }
    // Of the tests of `gradus-models`.
    let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/tests/files");
    let parquet = files.join("pairs.parquet").display().to_string();
    let of_column = |column: &str| {
        let flags = ["--input", parquet.as_str(), "--text-column", column];
        lines(&infer(&[&base[..], &flags].concat()))
    };
    assert_eq!(of_column("positive"), lines(&infer(&[&base[..], &["A", "B"]].concat())));
    let tagger = Model::new(Head::Tokens);
    let parquet = files.join("tags.parquet").display().to_string();
    let flags = ["tokens", "--model", tagger.path(), "--json", "--input", parquet.as_str()];
    let tagged = lines(&infer(&[&flags[..], &["--tokens-column", "tokens"]].concat()));
    assert_eq!(tagged[0]["text"], "Ada lives in New York");
    let piped = infer_with(&base, b"hi\nmy card\n");
    assert_eq!(lines(&piped), expected);
    let dash = infer_with(&[&base[..], &["--input", "-"]].concat(), b"hi\r\nmy card");
    assert_eq!(lines(&dash), expected);
}

#[test]
fn pairs_are_classified_as_pairs() {
    let model = Model::new(Head::Sequence(Pooling::Cls));
    let path = model.file("pairs.csv");
    fs::write(&path, "text,pair\nhi,my card\nhi,a fee\n").unwrap();
    let base = ["classify", "--model", model.path(), "--json", "--input", path.to_str().unwrap()];
    let pairs = lines(&infer(&[&base[..], &["--pair-column", "pair"]].concat()));
    let texts = lines(&infer(&base));
    assert_eq!(pairs[0]["pair"], "my card");
    assert_ne!(pairs[0]["labels"], texts[0]["labels"]);
    assert_ne!(pairs[0]["labels"], pairs[1]["labels"]);
}

#[test]
fn people_see_aligned_scores() {
    let model = Model::new(Head::Sequence(Pooling::Mean));
    let run = infer(&["classify", "--model", model.path(), "--top-k", "2", TEXTS[0]]);
    let text = stdout(&run);
    let found: Vec<&str> = text.lines().collect();
    assert_eq!(found.len(), 3, "{text}");
    assert_eq!(found[0], TEXTS[0]);
    assert!(found[1].starts_with("  ") && found[1].contains("  0."), "{text}");
    assert!(stderr(&run).is_empty(), "{}", stderr(&run));
}

#[test]
fn several_labels_may_be_right() {
    let model = Model::new(Head::Sequence(Pooling::Mean));
    let path = model.file("config.json");
    let text = fs::read_to_string(&path).unwrap();
    let text = text.replacen('{', "{\"problem_type\": \"multi_label_classification\",", 1);
    fs::write(&path, text).unwrap();
    let found = lines(&infer(&["classify", "--model", model.path(), "--json", TEXTS[0]]));
    let scores: f64 =
        found[0]["labels"].as_array().unwrap().iter().map(|l| l["score"].as_f64().unwrap()).sum();
    assert!((scores - 1.0).abs() > 1e-3, "{scores}");
}

#[test]
fn a_configuration_file_and_the_command_line() {
    let model = Model::new(Head::Sequence(Pooling::Mean));
    let path = model.file("infer.toml");
    let escaped = model.path().replace('\\', "\\\\");
    fs::write(&path, format!("model = \"{escaped}\"\ntop-k = 2\njson = true\n")).unwrap();
    let config = ["classify", "--config", path.to_str().unwrap(), TEXTS[0]];
    let count = |run| lines(&run)[0]["labels"].as_array().unwrap().len();
    assert_eq!(count(infer(&config)), 2);
    assert_eq!(count(infer(&[&config[..], &["--top-k", "1"]].concat())), 1);
}

#[test]
fn a_long_text_is_cut_and_said_to_be() {
    let model = Model::new(Head::None);
    let path = model.file("long.txt");
    fs::write(&path, format!("{}\nhi\n", "card ".repeat(100_000))).unwrap();
    let base = ["embed", "--model", model.path(), "--json", "--input", path.to_str().unwrap()];
    let run = infer(&base);
    assert_eq!(lines(&run).len(), 2);
    assert!(stderr(&run).contains("warning: 1 text was cut to 64 tokens"), "{}", stderr(&run));
    let quiet = infer(&[&base[..], &["--quiet"]].concat());
    assert!(quiet.status.success() && quiet.stderr.is_empty(), "{}", stderr(&quiet));
    let short = infer(&[&base[..], &["--max-length", "16"]].concat());
    assert!(stderr(&short).contains("cut to 16 tokens"), "{}", stderr(&short));
}

#[test]
fn devices() {
    assert!(stdout(&infer(&["devices"])).starts_with("cpu  "));
    assert_eq!(lines(&infer(&["devices", "--json"]))[0]["device"], "cpu");
}

/// The numbers of an answer, and the rest of it.
fn taken_apart(value: &Value, numbers: &mut Vec<f64>, rest: &mut String) {
    match value {
        Value::Number(n) => numbers.push(n.as_f64().unwrap()),
        Value::Array(all) => all.iter().for_each(|v| taken_apart(v, numbers, rest)),
        Value::Object(all) => all.iter().for_each(|(key, v)| {
            rest.push_str(key);
            taken_apart(v, numbers, rest);
        }),
        other => rest.push_str(&other.to_string()),
    }
}

#[test]
fn a_gpu_gives_the_same_answers() {
    if gpu().is_none() {
        return;
    }
    let masked = "how do i [MASK] my card";
    for (command, head, texts) in [
        ("classify", Head::Sequence(Pooling::Mean), &TEXTS[..2]),
        ("embed", Head::None, &TEXTS[..]),
        ("fill-mask", Head::Masked, &[masked, masked]),
        ("tokens", Head::Tokens, &TEXTS[..2]),
        ("similarity", Head::None, &TEXTS[..2]),
    ] {
        let model = Model::new(head);
        let on = |device| {
            let flags = [command, "--model", model.path(), "--json", "--device", device];
            let (mut numbers, mut rest) = (Vec::new(), String::new());
            let found = lines(&infer(&[&flags[..], texts].concat()));
            found.iter().for_each(|line| taken_apart(line, &mut numbers, &mut rest));
            (numbers, rest)
        };
        let ((cpu, what), (gpu, same)) = (on("cpu"), on("gpu"));
        assert_eq!(what, same, "{command}");
        assert!(!cpu.is_empty() && cpu.len() == gpu.len(), "{command}");
        for (a, b) in cpu.iter().zip(&gpu) {
            assert!((a - b).abs() < 1e-5, "{command}: {a} on the CPU and {b} on the GPU");
        }
    }
}

#[test]
fn help_has_examples() {
    for args in [
        vec!["--help"],
        vec!["classify", "--help"],
        vec!["embed", "--help"],
        vec!["fill-mask", "--help"],
        vec!["generate", "--help"],
        vec!["tokens", "--help"],
        vec!["similarity", "--help"],
    ] {
        let run = infer(&args);
        assert!(run.status.success());
        assert!(stdout(&run).contains("Examples:\n  infer "), "{args:?}");
    }
}

#[test]
fn a_reader_that_has_had_enough_is_no_error() {
    let model = Model::new(Head::None);
    let path = model.file("many.txt");
    fs::write(&path, "my card\n".repeat(3000)).unwrap();
    let mut child = crate::common::command(&["embed", "--model", model.path(), "--json"])
        .args(["--input", path.to_str().unwrap()])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let run = child.wait_with_output().unwrap();
    assert_eq!((run.status.code(), stderr(&run).as_str()), (Some(0), ""));
}

#[test]
fn rerank() {
    let model = Model::new(Head::Rank);
    let base = ["rerank", "--model", model.path(), TEXTS[0]];
    let texts = &TEXTS[1..];
    let found = lines(&infer(&[&base[..], &["--json"], texts].concat()));
    assert_eq!(found.len(), texts.len());
    assert_eq!(keys(&found[0]), ["index", "score", "text"]);
    let scores: Vec<f64> = found.iter().map(|r| r["score"].as_f64().unwrap()).collect();
    assert!(scores.is_sorted_by(|a, b| a >= b) && scores[0] > scores[3], "{scores:?}");
    // Each score is the pair's, and belongs to its text.
    let path = model.file("pairs.csv");
    let rows = texts.iter().map(|text| format!("\"{}\",\"{text}\"\n", TEXTS[0]));
    fs::write(&path, format!("text,pair\n{}", rows.collect::<String>())).unwrap();
    let input = ["classify", "--model", model.path(), "--input", path.to_str().unwrap()];
    let pairs = lines(&infer(&[&input[..], &["--pair-column", "pair", "--json"]].concat()));
    for record in &found {
        let index = record["index"].as_u64().unwrap() as usize;
        assert_eq!(record["text"], texts[index]);
        let expected = pairs[index]["labels"][0]["score"].as_f64().unwrap();
        assert!((record["score"].as_f64().unwrap() - expected).abs() < 1e-6);
    }
    let best = lines(&infer(&[&base[..], &["--json", "--top-k", "1"], texts].concat()));
    assert_eq!(best, found[..1]);
    let people = stdout(&infer(&[&base[..], texts].concat()));
    let expected = format!("{:.4}  {}", scores[0], found[0]["text"].as_str().unwrap());
    assert_eq!(people.lines().next().unwrap(), expected);

    // Texts of a file; models of several labels.
    let path = model.file("texts.txt");
    fs::write(&path, texts.join("\n")).unwrap();
    let input = ["--input", path.to_str().unwrap(), "--json"];
    assert_eq!(lines(&infer(&[&base[..], &input].concat())), found);
    let classifier = Model::new(Head::Sequence(Pooling::Mean));
    let refused = infer(&["rerank", "--model", classifier.path(), "a", "b"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("3 labels"), "{}", stderr(&refused));
    let zero = infer(&[&base[..], &["--top-k", "0", "a"]].concat());
    assert_eq!(zero.status.code(), Some(2));
}
