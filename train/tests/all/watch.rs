//! What a run leaves for those who watch it: the report, TensorBoard's files, a comparison.

use std::path::Path;

use crate::common::{data, from_scratch, json, last, metrics, ok, run, scratch, stderr};
use crate::{answer, distill, embed, tokens};

/// Texts of a page that would be fetched from elsewhere.
const OUTSIDE: [&str; 4] = ["http://", "https://", "<link", "src="];

#[test]
fn a_report_tells_the_whole_run_in_one_file() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (data(dir.path()), dir.path().join("out"));
    let train = data.join("train.csv");
    let text = std::fs::read_to_string(&train).unwrap();
    // A text that would break the page, and one that is almost a dev text.
    let odd = "\"<script>alert(1)</script> & more\",list\n\"The GLASS is red, and round!\",looks\n";
    std::fs::write(&train, text + odd).unwrap();
    let output = run(&scratch(&data, &out, &["--epochs", "4", "--eval-every", "3", "--json"]));
    let last = last(&output);
    let page = std::fs::read_to_string(out.join("report.html")).unwrap();
    for part in [
        "<h2>Result</h2>",
        "<h2>Course</h2>",
        "norm of the weights",
        "layer 0",
        "<h2>Confusions on the test set</h2>",
        "<h2>Calibration on the test set</h2>",
        "<h2>Labels on the test set</h2>",
        "confident mistakes on the test set",
        "<h2>Texts</h2>",
        "1 of 3 dev texts are almost a training text",
        "The GLASS is red, and round!",
        "<h2>Configuration</h2>",
        "--batch-size",
    ] {
        assert!(page.contains(part), "{part} is not in the page");
    }
    let accuracy = format!("{:.2}%", last["test_accuracy"].as_f64().unwrap() * 100.0);
    assert!(page.contains(&accuracy), "{accuracy}");
    assert!(!page.contains("<script>"), "text of the data is not escaped");
    for outside in OUTSIDE {
        assert!(!page.contains(outside), "the page needs {outside}");
    }
}

/// Traced steps become one page, and leave the weights as they are without a trace.
#[test]
fn traced_steps_are_a_page_and_change_no_bit() {
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    let weights = |name: &str, more: &[&str]| {
        let out = dir.path().join(name);
        let output =
            run(&scratch(&data, &out, &[&["--steps", "4", "--dropout", "0.1"], more].concat()));
        ok(&output);
        (std::fs::read(out.join("model.safetensors")).unwrap(), stderr(&output), out)
    };
    let (plain, _, _) = weights("plain", &[]);
    let (traced, told, out) = weights("traced", &["--trace-step", "1,3"]);
    assert!(plain == traced, "a traced step computes what another does");
    assert!(told.contains("step 3:") && told.contains("trace.html"), "{told}");
    let page = std::fs::read_to_string(out.join("trace.html")).unwrap();
    assert!(page.contains("<title>train classify: "));
    for outside in OUTSIDE {
        assert!(!page.contains(outside), "the page needs {outside}");
    }
    let refused = run(&scratch(&data, &dir.path().join("zero"), &["--trace-step", "0"]));
    assert!(stderr(&refused).contains("--trace-step"), "{}", stderr(&refused));
}

#[test]
fn evaluations_have_the_norms_of_each_part() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (data(dir.path()), dir.path().join("out"));
    ok(&run(&scratch(&data, &out, &["--steps", "6", "--eval-every", "3", "-q"])));
    let lines = metrics(&out);
    let dev: Vec<_> = lines.iter().filter(|line| line["split"] == "dev").collect();
    assert_eq!(dev.len(), 2);
    for line in dev {
        let step = lines.iter().find(|l| l["step"] == line["step"] && l["grad_norm"].is_number());
        let whole = step.unwrap()["grad_norm"].as_f64().unwrap();
        let parts = line["gradient_norms"].as_object().unwrap();
        let names: Vec<&String> = parts.keys().collect();
        assert_eq!(names, ["classifier", "embeddings", "layer 0", "layer 1"]);
        let sum: f64 = parts.values().map(|norm| norm.as_f64().unwrap().powi(2)).sum();
        assert!((sum.sqrt() / whole - 1.0).abs() < 1e-4, "{} and {whole}", sum.sqrt());
        assert!(line["weight_norms"]["layer 1"].as_f64().unwrap() > 0.0);
    }
}

#[test]
fn event_files_are_for_those_who_ask() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (data(dir.path()), dir.path().join("out"));
    let steps = ["--steps", "4", "--save-every", "2", "-q"];
    ok(&run(&scratch(&data, &out, &steps)));
    let board = out.join("tensorboard");
    assert!(!board.exists());
    let more = [&steps[..], &["--overwrite", "--tensorboard", "--histograms"]].concat();
    ok(&run(&scratch(&data, &out, &more)));
    let files = || std::fs::read_dir(&board).unwrap().count();
    assert_eq!(files(), 1);
    // A resumed run adds a file; one that begins removes those of the run before.
    let middle = out.join("checkpoint-2");
    ok(&run(&["classify", "--resume", middle.to_str().unwrap(), "--tensorboard", "-q"]));
    assert_eq!(files(), 2);
    ok(&run(&scratch(&data, &out, &more)));
    assert_eq!(files(), 1);
    let refused = run(&scratch(&data, &dir.path().join("other"), &["--histograms"]));
    assert!(stderr(&refused).contains("--tensorboard"), "{}", stderr(&refused));
}

#[test]
fn runs_side_by_side() {
    let dir = tempfile::tempdir().unwrap();
    let data = data(dir.path());
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    ok(&run(&scratch(&data, &a, &["--steps", "6", "-q"])));
    ok(&run(&scratch(&data, &b, &["--steps", "8", "--lr", "3e-3", "-q"])));
    let page = dir.path().join("both.html");
    let paths = [a.to_str().unwrap(), b.to_str().unwrap(), "--output", page.to_str().unwrap()];
    let output = run(&[&["compare"][..], &paths].concat());
    ok(&output);
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    for part in ["test accuracy", "dev loss", "--lr", "0.003", "--steps"] {
        assert!(table.contains(part), "{part} is not in\n{table}");
    }
    assert!(!table.contains("--batch-size"), "both runs have the same:\n{table}");
    let html = std::fs::read_to_string(&page).unwrap();
    assert!(html.contains("training loss, smoothed") && html.contains("<svg"));
    assert!(OUTSIDE.iter().all(|outside| !html.contains(outside)));
    let lines = run(&[&["compare", "--json"][..], &paths].concat());
    let lines = String::from_utf8_lossy(&lines.stdout).into_owned();
    let steps: Vec<serde_json::Value> = lines
        .lines()
        .map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap()["steps"].clone())
        .collect();
    assert_eq!(steps, [6.0, 8.0]);
    let refused = run(&["compare", dir.path().to_str().unwrap()]);
    let told = stderr(&refused);
    assert!(told.contains("train.json is missing") && !told.contains("--resume"), "{told}");
    for subcommand in ["compare", "merge"] {
        let refused = run(&["--lr", "1", subcommand, a.to_str().unwrap()]);
        let told = format!("--lr is no flag of train {subcommand}");
        assert!(stderr(&refused).contains(&told), "{}", stderr(&refused));
    }
}

#[test]
fn a_dry_run_tells_what_is_needed_and_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (data(dir.path()), dir.path().join("out"));
    let train = data.join("train.csv");
    let text = std::fs::read_to_string(&train).unwrap();
    std::fs::write(&train, text + "the door is red and round,list\n").unwrap();
    let output = run(&scratch(&data, &out, &["--epochs", "2", "--dry-run"]));
    ok(&output);
    let told = stderr(&output);
    for part in [
        "training: 19 rows of",
        "labels: list 7, ",
        "duplicates: 1 training rows repeat an earlier one; 1 texts have several labels",
        "10 steps, 5 an epoch",
        "the highest dev accuracy decides",
        "s a step",
        "MiB at most",
        "nothing was written",
    ] {
        assert!(told.contains(part), "{part} is not in\n{told}");
    }
    assert!(!out.exists());
}

/// A rate of 1e30 spoils the weights at once, so that every later step fails.
#[test]
fn a_run_that_diverges_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (data(dir.path()), dir.path().join("out"));
    let flags = ["--steps", "40", "--lr", "1e30", "--clip-norm", "0", "--optimizer", "sgd"];
    let output = run(&scratch(&data, &out, &[&flags[..], &["--max-skipped", "4"]].concat()));
    assert_eq!(output.status.code(), Some(1));
    let told = stderr(&output);
    for part in ["is skipped: the loss is", "the last of 4 skipped in a row", "try a lower --lr"] {
        assert!(told.contains(part), "{part} is not in\n{told}");
    }
    let lines = metrics(&out);
    assert_eq!(lines.last().unwrap()["skipped_steps"], 4, "{:?}", lines.last());
    assert!(json(&out.join("train.json"))["flags"]["max-skipped"] == 4);
}

/// Runs `args` into a folder, and checks that its page has all `parts` and needs nothing else.
fn page_has(args: &[String], out: &Path, parts: &[&str]) {
    ok(&run(&args.iter().map(String::as_str).collect::<Vec<_>>()));
    let html = std::fs::read_to_string(out.join("report.html")).unwrap();
    for part in parts {
        assert!(html.contains(part), "`{part}` is not in {}", out.display());
    }
    assert!(OUTSIDE.iter().all(|outside| !html.contains(outside)));
}

fn owned(args: Vec<&str>) -> Vec<String> {
    args.into_iter().map(String::from).collect()
}

const FEW: [&str; 3] = ["--steps", "3", "-q"];

/// The page of every task tells what the model gets wrong, and of the texts.
#[test]
fn pages_of_taggers_answerers_and_embedders() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let (tags, out) = (tokens::data(dir.path()), at("tokens"));
    let parts = [
        "Entities on the test set",
        "Confusions on the test set",
        "The most confident mistakes on the test set",
        "training sentences; half have",
        "test texts are almost a training text",
    ];
    page_has(&owned(tokens::scratch(&tags, &out, &FEW)), &out, &parts);

    let (questions, out) = (answer::data(dir.path(), true), at("answer"));
    let parts = [
        "Answers on the test set",
        "without an answer",
        "The worst answers on the test set",
        "training windows; half have",
    ];
    page_has(&owned(answer::scratch(&questions, &out, &FEW)), &out, &parts);

    let (pairs, out) = (embed::data(dir.path()), at("embed"));
    let parts = [
        "Ranks on the test set",
        "share up to here",
        "The hardest pairs of the test set",
        "training different texts; half have",
    ];
    page_has(&owned(embed::scratch(&pairs, &out, &FEW)), &out, &parts);
    let (scored, out) = (at("scored.jsonl"), at("scored"));
    let row = |i: usize| {
        format!("{{\"sentence1\": \"a {i}\", \"sentence2\": \"b\", \"score\": 0.{i}}}\n")
    };
    std::fs::write(&scored, (0..60).map(row).collect::<String>()).unwrap();
    page_has(&owned(embed::scratch(&scored, &out, &FEW)), &out, &["The largest errors on the dev"]);
}

#[test]
fn pages_of_students_and_masked_language_models() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let (data, teacher) = distill::teacher(dir.path());
    let student = [&FEW[..], &["--layers", "1"]].concat();
    let out = at("labelled");
    let parts =
        ["Student and teacher on the test set", "teacher right", "Confusions on the test set"];
    page_has(&owned(distill::distill(&data, &teacher, &out, &student)), &out, &parts);
    let (texts, out) = (at("texts.txt"), at("unlabelled"));
    let line = |i: usize| format!("who has seen my cat {i} today\n");
    std::fs::write(&texts, (0..60).map(line).collect::<String>()).unwrap();
    let args = owned(distill::distill(&texts, &teacher, &out, &student));
    page_has(&args, &out, &["compares the student with its teacher"]);

    let (text, out) = (at("text.txt"), at("mlm"));
    std::fs::write(&text, "the tiger sleeps in the forest of the night\n".repeat(60)).unwrap();
    let own = ["mlm", "--vocab-size", "36", "--max-length", "24"];
    let parts = [
        "Masked tokens of the dev text",
        "later pieces",
        "The words of the dev text that cost most",
        "training blocks; half have",
        "dev texts are almost a training text",
    ];
    page_has(&owned(from_scratch(&own, [&text, &out], &FEW)), &out, &parts);
}

#[test]
fn pages_of_numbers_and_of_several_labels() {
    let dir = tempfile::tempdir().unwrap();
    let page = |problem: &str, row: &dyn Fn(usize) -> String, parts: &[&str]| {
        let [rows, out] = ["csv", "out"].map(|end| dir.path().join(format!("{problem}.{end}")));
        let lines: String = (0..60).map(row).collect();
        std::fs::write(&rows, format!("text,label\n{lines}")).unwrap();
        let more = [&FEW[..], &["--problem", problem]].concat();
        page_has(&owned(scratch(&rows, &out, &more)), &out, parts);
        std::fs::read_to_string(out.join("report.html")).unwrap()
    };
    let numbers = |i: usize| format!("the cat {i} is red,0.{i:02}\n");
    let parts = ["Numbers of the dev set", "The largest errors on the dev set"];
    let html = page("regression", &numbers, &parts);
    let section = html.split(parts[0]).nth(1).and_then(|rest| rest.split("</section>").next());
    let points = section.map(|section| section.matches("<circle").count());
    assert_eq!(points, Some(6), "a point for each of the dev set's texts, a tenth of all");
    let labels = |i: usize| format!("the cat {i} is red,{}\n", ["animal", "animal|red"][i % 2]);
    let parts = ["Labels on the dev set", "The most confident mistakes on the dev set"];
    page("multi", &labels, &parts);
}
