//! `train lm`, and the model that it writes.

use crate::common::{interrupted, json, last, ok, run, stderr, weights};

const LINES: &str = "the tiger sleeps in the forest of the night\nwho wakes it in the morning ?\n\n\
                     the hand and the eye of the night\nthe fire burns in the forest\n";

fn flags<'a>(data: &'a str, out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let fixed = ["lm", "--data", data, "--model", "scratch", "--vocab-size", "280", "--out", out];
    [&fixed[..], more].concat()
}

#[test]
fn from_scratch_and_further() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (dir.path().join("text.txt"), dir.path().join("out"));
    std::fs::write(&data, LINES.repeat(40)).unwrap();
    let (data, out_name) = (data.to_str().unwrap(), out.to_str().unwrap());
    let course = ["--max-length", "24", "--batch-size", "8", "--steps", "30", "--json"];
    let output = run(&flags(data, out_name, &course));
    ok(&output);
    let line = last(&output);
    let number = |name: &str| line[name].as_f64().unwrap_or_else(|| panic!("{name}: {line}"));
    assert!((number("dev_perplexity") - number("dev_loss").exp()).abs() < 1e-9);
    assert!(number("dev_bits_per_byte") < 8.0 && (0.0..=1.0).contains(&number("dev_accuracy")));
    let config = json(&out.join("config.json"));
    assert_eq!(config["architectures"][0], "GPT2LMHeadModel");
    assert_eq!((&config["model_type"], &config["n_embd"]), (&"gpt2".into(), &128.into()));
    // Which a BERT cannot do, and what the model cannot.
    let further = dir.path().join("further");
    let further = further.to_str().unwrap();
    let train = |task, model| {
        run(&[
            task,
            "--data",
            data,
            "--model",
            model,
            "--steps",
            "3",
            "--out",
            further,
            "--overwrite",
            "--json",
        ])
    };
    let before = number("dev_loss");
    let output = train("lm", out_name);
    ok(&output);
    assert!(last(&output)["train_loss"].as_f64().unwrap() < before + 0.5, "it begins where it was");
    let masked = train("mlm", out_name);
    assert!(stderr(&masked).contains("[MASK]"), "{}", stderr(&masked));
    let bert = dir.path().join("bert");
    let bert = bert.to_str().unwrap();
    ok(&run(&[
        "mlm",
        "--data",
        data,
        "--model",
        "scratch",
        "--vocab-size",
        "80",
        "--steps",
        "2",
        "--out",
        bert,
    ]));
    let causal = train("lm", bert);
    assert!(stderr(&causal).contains("sees the words after a word too"), "{}", stderr(&causal));
}

#[test]
fn a_stopped_run_goes_on_to_the_same_bits() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (dir.path().join("text.txt"), dir.path().join("out"));
    let whole = dir.path().join("whole");
    std::fs::write(&data, LINES.repeat(10)).unwrap();
    let course = ["--max-length", "24", "--batch-size", "8", "--steps", "400", "-q"];
    let data = data.to_str().unwrap();
    let stopped = interrupted(&flags(data, out.to_str().unwrap(), &course), &out, 20);
    assert!((20..400).contains(&stopped), "stopped at step {stopped}");
    ok(&run(&["lm", "--resume", out.to_str().unwrap(), "--threads", "1"]));
    ok(&run(&flags(data, whole.to_str().unwrap(), &course)));
    assert!(weights(&out) == weights(&whole), "the resumed run ended with other weights");
}

#[test]
fn a_vocabulary_has_room_for_the_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("text.txt");
    std::fs::write(&data, LINES).unwrap();
    let output =
        run(&["lm", "--data", data.to_str().unwrap(), "--model", "scratch", "--vocab-size", "200"]);
    assert!(stderr(&output).contains("257 tokens or more"), "{}", stderr(&output));
}
