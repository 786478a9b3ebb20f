use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;

use hf_hub::Cache;
use hf_hub::api::sync::ApiBuilder;

use super::fetch::Hub;
use super::*;

/// A hub on this machine with a model. Serves until the test ends.
fn serve(files: &[(&str, &str)]) -> String {
    serve_at("org/m", "main", files)
}

/// A hub on this machine: files by name, at one revision. `repo` is the model or the data set, as
/// the paths of the hub have it. Serves until the test ends.
pub(super) fn serve_at(repo: &str, revision: &str, files: &[(&str, &str)]) -> String {
    let name = |name: &str| format!("{{\"rfilename\":\"{name}\"}}");
    let names: Vec<String> = files.iter().map(|(file, _)| name(file)).collect();
    let path = |name: &str| format!("/{repo}/resolve/{revision}/{name}");
    let files: HashMap<String, String> =
        files.iter().map(|(name, content)| (path(name), content.to_string())).collect();
    let kind = if repo.starts_with("datasets/") { "" } else { "models/" };
    let about = format!("/api/{kind}{repo}/");
    let listing = format!("{{\"siblings\":[{}],\"sha\":\"c0ffee\"}}", names.join(","));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut lines = BufReader::new(&stream).lines().map_while(|l| l.ok());
            let request = lines.next().unwrap_or_default();
            let mut start = None;
            for line in lines.take_while(|l| !l.is_empty()) {
                if let Some(range) = line.to_lowercase().strip_prefix("range: bytes=") {
                    start = Some(range.to_string());
                }
            }
            let target = request.split(' ').nth(1).unwrap_or_default();
            let reply = match files.get(target) {
                Some(body) => {
                    let part = if start.as_deref() == Some("0-0") { &body[..1] } else { body };
                    format!(
                        "HTTP/1.1 206 Partial\r\nETag: \"e{}{}\"\r\nX-Repo-Commit: c0ffee\r\nContent-Range: bytes 0-/{}\r\n\
                         Content-Length: {}\r\nConnection: close\r\n\r\n{part}",
                        body.len(),
                        target.len(),
                        body.len(),
                        part.len()
                    )
                }
                None if target.starts_with(&about) => format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{listing}",
                    listing.len()
                ),
                None => "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                    .into(),
            };
            let _ = (&stream).write_all(reply.as_bytes());
        }
    });
    address
}

pub(super) fn hub(cache: &Path, endpoint: Option<String>) -> Hub {
    let cache = Cache::new(cache.to_path_buf());
    let builder = ApiBuilder::from_cache(cache.clone()).with_progress(false).with_token(None);
    Hub { cache, api: endpoint.map(|e| builder.with_endpoint(e).build().unwrap()) }
}

#[test]
fn a_folder_is_itself_and_a_broken_one_is_explained() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    let error = || resolve(path).unwrap_err().to_string();
    assert!(error().contains("no config.json"), "{}", error());
    fs::write(dir.path().join(CONFIG), "{}").unwrap();
    assert!(error().contains("no model.safetensors"), "{}", error());
    fs::write(dir.path().join("pytorch_model.bin"), "").unwrap();
    assert!(error().contains("in pytorch_model.bin only"), "{}", error());
    fs::write(dir.path().join(WEIGHTS), "").unwrap();
    assert_eq!(resolve(path).unwrap(), dir.path());
    let file = dir.path().join(WEIGHTS);
    let error = resolve(file.to_str().unwrap()).unwrap_err().to_string();
    assert!(error.contains("this is a file"), "{error}");
}

#[test]
fn hub_ids_are_told_from_paths() {
    for id in ["bert-base-uncased", "org/name_1.0", "a"] {
        assert!(is_hub_id(id), "{id}");
    }
    for path in ["", "./m", "/m", "a/b/c", "m/", "../m", "a//b", "a b", "ü", "a\\b", "a..b", "~/m"]
    {
        assert!(!is_hub_id(path), "{path}");
    }
    let error = resolve("./no/such/folder").unwrap_err().to_string();
    assert!(error.contains("no such folder"), "{error}");
}

#[test]
fn a_model_is_fetched_once_and_then_found_offline() {
    let cache = tempfile::tempdir().unwrap();
    let server = serve(&[
        (CONFIG, "{\"a\":1}"),
        ("vocab.txt", "[PAD]\n"),
        ("1_Pooling/config.json", "{}"),
        (WEIGHTS, "weights"),
    ]);
    let offline = hub(cache.path(), None);
    let error = offline.fetch("org/m").unwrap_err().to_string();
    assert!(error.contains("HF_HUB_OFFLINE"), "{error}");
    let folder = hub(cache.path(), Some(server)).fetch("org/m").unwrap().0;
    assert_eq!(fs::read_to_string(folder.join(WEIGHTS)).unwrap(), "weights");
    assert_eq!(fs::read_to_string(folder.join("vocab.txt")).unwrap(), "[PAD]\n");
    assert_eq!(fs::read_to_string(folder.join("1_Pooling/config.json")).unwrap(), "{}");
    assert!(folder.ends_with("models--org--m/snapshots/c0ffee"), "{folder:?}");
    assert_eq!(offline.fetch("org/m").unwrap().0, folder);
}

#[test]
fn a_file_left_from_an_older_revision_is_fetched_again() {
    let cache = tempfile::tempdir().unwrap();
    let model = cache.path().join("models--org--m");
    fs::create_dir_all(model.join("snapshots/old")).unwrap();
    fs::create_dir_all(model.join("refs")).unwrap();
    fs::write(model.join("refs/main"), "old").unwrap();
    fs::write(model.join("snapshots/old/config.json"), "old").unwrap();
    let server = serve(&[(CONFIG, "new"), ("vocab.txt", "[PAD]"), (WEIGHTS, "weights")]);
    let folder = hub(cache.path(), Some(server)).fetch("org/m").unwrap().0;
    assert_eq!(fs::read_to_string(folder.join(CONFIG)).unwrap(), "new");
}

const SENTENCE: &str = r#"[{"path": "", "type": "sentence_transformers.models.Transformer"},
    {"path": "pool", "type": "sentence_transformers.models.Pooling"}]"#;

/// The files that `AutoModel` and `AutoTokenizer` leave in the cache.
fn cached_elsewhere(cache: &Path) {
    let model = cache.join("models--org--m");
    let snapshot = model.join("snapshots/c0ffee");
    fs::create_dir_all(&snapshot).unwrap();
    fs::create_dir_all(model.join("refs")).unwrap();
    fs::write(model.join("refs/main"), "c0ffee").unwrap();
    for name in [CONFIG, WEIGHTS, "vocab.txt"] {
        fs::write(snapshot.join(name), "there").unwrap();
    }
}

#[test]
fn what_another_program_left_out_is_fetched() {
    let cache = tempfile::tempdir().unwrap();
    cached_elsewhere(cache.path());
    let offline = hub(cache.path(), None);
    let (folder, told) = offline.fetch("org/m").unwrap();
    assert!(told[0].contains("modules.json") && told[0].contains("org/m"), "{told:?}");
    assert!(!folder.join("modules.json").exists());
    let server = serve(&[("modules.json", SENTENCE), ("pool/config.json", "{}")]);
    let (folder, told) = hub(cache.path(), Some(server)).fetch("org/m").unwrap();
    assert_eq!(told, [""; 0]);
    assert_eq!(fs::read_to_string(folder.join("modules.json")).unwrap(), SENTENCE);
    assert!(folder.join("pool/config.json").is_file());
    assert_eq!(fs::read_to_string(folder.join(WEIGHTS)).unwrap(), "there");
    assert_eq!(offline.fetch("org/m").unwrap(), (folder, vec![]));
}

#[test]
fn a_file_that_the_model_does_not_have_is_asked_for_once() {
    let cache = tempfile::tempdir().unwrap();
    cached_elsewhere(cache.path());
    hub(cache.path(), Some(serve(&[]))).fetch("org/m").unwrap();
    let absent = cache.path().join("models--org--m/.no_exist/c0ffee");
    assert!(absent.join("modules.json").is_file() && absent.join("adapter_config.json").is_file());
    // The cache knows that the file does not exist: there is no note and no request.
    assert_eq!(hub(cache.path(), None).fetch("org/m").unwrap().1, [""; 0]);
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let fetched = hub(cache.path(), Some(format!("http://{nobody}"))).fetch("org/m").unwrap();
    assert_eq!(fetched.1, [""; 0]);
}

#[test]
fn the_oldest_layout_and_weights_in_several_files_are_fetched() {
    let cache = tempfile::tempdir().unwrap();
    let modules = SENTENCE.replacen("\"\"", "\"0_Transformer\"", 1);
    let index = r#"{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}"#;
    let server = serve(&[
        ("modules.json", &modules),
        ("pool/config.json", "{}"),
        ("0_Transformer/config.json", "{}"),
        ("0_Transformer/vocab.txt", "[PAD]"),
        ("0_Transformer/model.safetensors.index.json", index),
        ("0_Transformer/model-1.safetensors", "one"),
        ("0_Transformer/model-2.safetensors", "two"),
    ]);
    let (folder, _) = hub(cache.path(), Some(server)).fetch("org/m").unwrap();
    assert!(folder.ends_with("snapshots/c0ffee"), "{folder:?}");
    assert!(folder.join("0_Transformer/model-2.safetensors").is_file());
    assert_eq!(local(&folder).unwrap(), folder);
}

#[test]
fn a_mistyped_folder_is_no_hub_id() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["banking77", "minilm", "empty"] {
        fs::create_dir(dir.path().join(name)).unwrap();
    }
    for name in ["banking77", "minilm"] {
        fs::write(dir.path().join(name).join(CONFIG), "{}").unwrap();
    }
    let told = mistyped(&dir.path().join("bankin77")).unwrap();
    assert!(told.contains("no such folder") && told.ends_with("holds banking77, minilm"), "{told}");
    let told = mistyped(&dir.path().join("mini")).unwrap();
    assert!(told.ends_with("holds minilm, banking77"), "{told}");
    assert!(mistyped(&dir.path().join("empty/x")).unwrap().ends_with("holds no model"));
    // Without an existing parent it may be a hub id.
    assert_eq!(mistyped(Path::new("no-such-organisation/model")), None);
    assert_eq!(mistyped(Path::new("model")), None);
}

#[test]
fn what_the_hub_lacks_is_named() {
    let cache = tempfile::tempdir().unwrap();
    let fetch = |files: &[(&str, &str)]| {
        hub(cache.path(), Some(serve(files))).fetch("org/m").unwrap_err().to_string()
    };
    let error = fetch(&[]);
    assert!(error.contains("org/m: no folder of that name"), "{error}");
    let error = fetch(&[(CONFIG, "{}"), ("tokenizer.json", "{}")]);
    assert!(error.contains("no model.safetensors"), "{error}");
    let error = fetch(&[(CONFIG, "{}"), ("pytorch_model.bin", "x")]);
    assert!(error.contains("in pytorch_model.bin only"), "{error}");
}

#[test]
fn without_a_network_a_folder_is_asked_for() {
    let cache = tempfile::tempdir().unwrap();
    // A port on which nothing listens: bound, then let go.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = hub(cache.path(), Some(format!("http://{address}"))).fetch("org/m").unwrap_err();
    assert!(error.to_string().contains("pass a folder"), "{error}");
}
