//! Data in the forms in which people have it: Parquet files, packed ones, data sets of the hub.

use std::path::{Path, PathBuf};

use crate::common::{data, json, last, ok, run, scratch, stderr, train, weights};

/// A file of the tests of `gradus-models`.
fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/tests/files").join(name)
}

const STEPS: [&str; 6] = ["--steps", "4", "--dev-fraction", "0", "--lr", "1e-3"];

#[test]
fn every_form_of_the_same_texts_gives_the_same_model() {
    let dir = tempfile::tempdir().unwrap();
    let csv = dir.path().join("texts.csv");
    let text = "text,label\na fine film,pos\n\"dull, \"\"very\"\" dull\",neg\n\
                größer als 東京 🙂,pos\n\"line one\nline two\",neg\nfine,pos\n";
    std::fs::write(&csv, text).unwrap();
    ok(&std::process::Command::new("gzip").arg("-k").arg(&csv).output().unwrap());
    let forms = [csv, dir.path().join("texts.csv.gz"), file("texts.parquet"), file("hub")];
    let model = |(i, data): (usize, &PathBuf)| {
        let out = dir.path().join(i.to_string());
        // The folder has a dev set of its own, which decides nothing here.
        let more = [&STEPS[..], &["--keep-last", "-q", "--vocab-size", "60"]].concat();
        ok(&run(&crate::common::from_scratch(&["classify"], [data, &out], &more)));
        weights(&out)
    };
    let models: Vec<Vec<u8>> = forms.iter().enumerate().map(model).collect();
    assert!(models.iter().all(|other| *other == models[0]));
}

/// A cache of the hub with a data set in it.
fn cache(dir: &Path) -> PathBuf {
    let home = dir.join("home");
    let snapshot = home.join("hub/datasets--org--texts/snapshots/c0ffee");
    std::fs::create_dir_all(&snapshot).unwrap();
    for entry in std::fs::read_dir(data(dir)).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), snapshot.join(entry.file_name())).unwrap();
    }
    let refs = home.join("hub/datasets--org--texts/refs");
    std::fs::create_dir_all(&refs).unwrap();
    std::fs::write(refs.join("main"), "c0ffee").unwrap();
    home
}

#[test]
fn a_data_set_of_the_hub_is_trained_on_and_its_run_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let home = cache(dir.path());
    let call = |args: &[&str]| {
        let mut train = train(args);
        train.env("HF_HOME", &home).env("HF_HUB_OFFLINE", "1").current_dir(dir.path());
        train.output().unwrap()
    };
    let hub = Path::new("hub:org/texts");
    let output = call(&scratch(hub, Path::new("out"), &["--steps", "4", "--json"]));
    assert!(last(&output)["test_accuracy"].is_number());
    assert!(stderr(&output).contains("taken from the cache"), "{}", stderr(&output));
    let out = dir.path().join("out");
    assert_eq!(json(&out.join("train.json"))["flags"]["data"], "hub:org/texts");
    ok(&call(&["classify", "--resume", "out", "--steps", "6", "-q"]));
    // The folder without --out has the name of the data set.
    let own = ["classify", "--model", "scratch", "--data", "hub:org/texts", "--vocab-size", "120"];
    ok(&call(&[&own[..], &["--steps", "1", "-q"]].concat()));
    assert!(dir.path().join("runs/texts/model.safetensors").is_file());
    let told = stderr(&call(&scratch(Path::new("hub:org/none"), Path::new("b"), &STEPS)));
    assert!(told.contains("not in the cache") && told.contains("HF_HUB_OFFLINE is set"), "{told}");
}
