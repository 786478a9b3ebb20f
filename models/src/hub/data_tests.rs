use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use super::tests::{hub, serve_at};

const COMMIT: &str = "c0ffee";

/// A hub with the data set `org/d`.
fn serve(files: &[&str]) -> String {
    let files: Vec<(&str, &str)> = files.iter().map(|name| (*name, "content")).collect();
    serve_at("datasets/org/d", COMMIT, &files)
}

fn nobody() -> String {
    // A port on which nothing listens: bound, then let go.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    format!("http://{address}")
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn the_sets_are_fetched_once_and_then_found_without_a_network() {
    let cache = tempfile::tempdir().unwrap();
    let all = [
        "README.md",
        "data/train-00000-of-00002.parquet",
        "data/train-00001-of-00002.parquet",
        "data/validation-00000-of-00001.parquet",
        "data/train.csv",
        "data/test.jsonl",
        "data/other.parquet",
        "images/photo.png",
    ];
    let (folder, told) = hub(cache.path(), Some(serve(&all))).data("org/d").unwrap();
    assert!(folder.ends_with("datasets--org--d/snapshots/c0ffee/data"), "{folder:?}");
    assert_eq!(told, [""; 0]);
    let sets = [
        "test.jsonl",
        "train-00000-of-00002.parquet",
        "train-00001-of-00002.parquet",
        "validation-00000-of-00001.parquet",
    ];
    assert_eq!(names(&folder), sets);
    for hub in [hub(cache.path(), None), hub(cache.path(), Some(nobody()))] {
        let (again, told) = hub.data("org/d").unwrap();
        assert_eq!(again, folder);
        assert!(told[0].contains("taken from the cache") && told[0].contains("test.jsonl"));
    }
    // A revision that the cache has by its commit.
    assert_eq!(hub(cache.path(), None).data("org/d@c0ffee").unwrap().0, folder);
}

#[test]
fn files_of_another_program_are_used_at_the_same_commit() {
    let cache = tempfile::tempdir().unwrap();
    let snapshot = cache.path().join("datasets--org--d/snapshots/c0ffee");
    fs::create_dir_all(&snapshot).unwrap();
    fs::write(snapshot.join("train.csv"), "of another program").unwrap();
    let server = serve(&["train.csv", "test.csv"]);
    let (folder, _) = hub(cache.path(), Some(server)).data("org/d").unwrap();
    assert_eq!(fs::read_to_string(folder.join("train.csv")).unwrap(), "of another program");
    assert_eq!(fs::read_to_string(folder.join("test.csv")).unwrap(), "content");
}

#[test]
fn a_folder_is_named_where_several_have_a_training_set() {
    let cache = tempfile::tempdir().unwrap();
    let files =
        ["sst2/train.parquet", "cola/train.parquet", "cola/test.parquet", "ax/test.parquet"];
    let server = serve(&files);
    let data = |name: &str| -> Result<PathBuf, String> {
        let found = hub(cache.path(), Some(server.clone())).data(name);
        found.map(|(folder, _)| folder).map_err(|e| e.to_string())
    };
    let told = data("org/d").unwrap_err();
    assert!(told.contains("cola, sst2") && told.contains("hub:owner/name/folder"), "{told}");
    let folder = data("org/d/cola").unwrap();
    assert_eq!(names(&folder), ["test.parquet", "train.parquet"]);
    let told = data("org/d/ax").unwrap_err();
    assert!(told.contains("folder `ax`") && told.contains("cola, sst2"), "{told}");
}

#[test]
fn what_cannot_be_fetched_is_explained() {
    let cache = tempfile::tempdir().unwrap();
    let told = |endpoint: Option<String>, name: &str| {
        hub(cache.path(), endpoint).data(name).unwrap_err().to_string()
    };
    let error = told(None, "org/d");
    assert!(error.contains("HF_HUB_OFFLINE is set") && error.contains("pass a folder"), "{error}");
    let error = told(Some(nobody()), "org/d");
    assert!(
        error.contains("the hub cannot be asked") && error.contains("pass a folder"),
        "{error}"
    );
    let error = told(Some(serve(&["train.csv"])), "org/other");
    assert!(error.contains("no such data set") && error.contains("HF_TOKEN"), "{error}");
    let error = told(Some(serve(&["a.png", "b.arrow"])), "org/d");
    assert!(error.contains("no training set") && error.contains("a.png, b.arrow"), "{error}");
    for name in ["", "/d", "a b", "org/d/../x", "org/d@", "org/d//x", "org/d@a/../b"] {
        assert!(told(None, name).contains("no name of a data set"), "{name}");
    }
}
