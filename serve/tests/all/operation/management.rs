//! Models are registered, replaced and unregistered.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use gradus_models::Pooling;
use serde_json::json;

use super::with_store;
use crate::common::{Head, Server, TEXTS, write_model};

#[test]
fn models_are_registered_described_and_unregistered() {
    let (server, dir) = with_store(&[]);
    assert_eq!(server.get("/ping").code, 503);
    let registered =
        server.send("POST", "/models?url=first&model_name=m&initial_workers=2", &[], b"");
    assert_eq!(
        registered.ok()["status"],
        "Model \"m\" Version: 1.0 registered with 2 initial workers"
    );
    assert_eq!(server.get("/ping").ok(), json!({"status": "Healthy"}));
    assert_eq!(server.send("POST", "/models?url=second&model_name=m", &[], b"").code, 200);
    assert_eq!(server.send("POST", "/models?url=versions", &[], b"").code, 200);
    let listed = server.get("/models").ok();
    assert_eq!(listed["models"][0], json!({"modelName": "m", "modelUrl": "first"}));
    assert_eq!(listed["models"][1]["modelName"], "versions");
    assert_eq!(server.get("/models?limit=1").ok()["nextPageToken"], "1");

    let all = server.get("/models/m/all").ok();
    assert_eq!(all.as_array().unwrap().len(), 2);
    assert_eq!(all[0]["workers"].as_array().unwrap().len(), 2);
    assert_eq!(all[0]["jobQueueStatus"]["pendingRequests"], 0);
    assert_eq!(server.get("/models/m").ok()[0]["modelVersion"], "1.0");
    assert_eq!(server.send("PUT", "/models/m/2/set-default", &[], b"").code, 200);
    assert_eq!(server.get("/models/m").ok()[0]["modelVersion"], "2.0");
    assert_eq!(server.send("PUT", "/models/m?min_worker=3", &[], b"").code, 202);
    assert_eq!(server.send("PUT", "/models/m?min_worker=3&synchronous=true", &[], b"").code, 200);
    assert_eq!(server.get("/models/m").ok()[0]["minWorkers"], 3);
    assert_eq!(server.post("/predictions/m/1", TEXTS[0]).code, 200);

    // A numbered folder is a version, as in TensorFlow Serving.
    let versions = server.get("/v1/models/versions").ok();
    assert_eq!(versions["model_version_status"][0]["version"], "7");
    assert_eq!(versions["object"], "model");
    assert_eq!(
        server.post("/v1/models/versions/versions/3:predict", json!({"instances": ["a"]})).code,
        200
    );

    // A model that is loaded again has its last version as the default again.
    assert_eq!(server.send("PUT", "/models/versions/3/set-default", &[], b"").code, 200);
    assert_eq!(server.get("/models/versions").ok()[0]["modelVersion"], "3.0");
    assert_eq!(server.post("/v2/repository/models/versions/load", "").code, 200);
    assert_eq!(server.get("/models/versions").ok()[0]["modelVersion"], "7.0");

    let default = server.send("DELETE", "/models/m/2", &[], b"");
    assert_eq!((default.code, &default.json()["type"]), (409, &json!("ConflictStatusException")));
    assert_eq!(server.send("DELETE", "/models/m/1", &[], b"").code, 200);
    let gone = server.post("/predictions/m/1", TEXTS[0]);
    assert_eq!(gone.json()["type"], "ModelVersionNotFoundException");
    assert_eq!(server.send("DELETE", "/models/m", &[], b"").code, 200);
    assert_eq!(server.post("/predictions/m", TEXTS[0]).json()["type"], "ModelNotFoundException");

    // Folders outside the store are refused.
    std::os::unix::fs::symlink(dir.path().join("outside"), dir.path().join("store/link")).unwrap();
    for url in ["../outside", "link", "/etc", "first/../../outside", "none", "", ".", "%00"] {
        let refused = server.send("POST", &format!("/models?url={url}&model_name=x"), &[], b"");
        assert_eq!(refused.code, 400, "{url}: {}", refused.text());
        assert_eq!(refused.json()["type"], "BadRequestException");
    }
}

#[test]
fn a_broken_folder_leaves_the_old_version_serving() {
    let (server, dir) = with_store(&[]);
    let load =
        |name: &str| server.send("POST", &format!("/v2/repository/models/{name}/load"), &[], b"");
    assert_eq!(load("first").code, 200);
    let index = server.send("POST", "/v2/repository/index", &[], b"").ok();
    assert_eq!(index[0], json!({"name": "first", "version": "1", "state": "READY", "reason": ""}));
    let before = server.post("/predictions/first", TEXTS[0]).ok();
    let weights = dir.path().join("store/first/model.safetensors");
    let bytes = std::fs::read(&weights).unwrap();
    // Written elsewhere and renamed, as `train` does it, so the old file stays whole.
    let aside = dir.path().join("aside");
    std::fs::write(&aside, &bytes[..bytes.len() / 2]).unwrap();
    std::fs::rename(&aside, &weights).unwrap();
    let broken = load("first");
    assert_eq!(broken.code, 400, "{}", broken.text());
    assert!(broken.json()["error"].as_str().unwrap().contains("first"));
    assert_eq!(server.post("/predictions/first", TEXTS[0]).ok(), before);
    assert_eq!(server.send("POST", "/v2/repository/models/first/unload", &[], b"").code, 200);
    assert_eq!(server.get("/v2/models/first/ready").code, 404);
    assert_eq!(load("none").code, 404);
}

/// Only the log says where folders lie on the machine.
#[test]
fn no_answer_names_a_folder_of_the_machine() {
    let dir = tempfile::tempdir().unwrap();
    let (store, own) = (dir.path().join("store"), dir.path().join("own"));
    for folder in [&store.join("a"), &own.join("3")] {
        std::fs::create_dir_all(folder).unwrap();
        write_model(folder, Head::Sequence(Pooling::Mean));
    }
    let model = format!("own={}", own.display());
    let server = Server::start(&["--model", &model, "--model-store", store.to_str().unwrap()]);
    assert_eq!(server.post("/models?url=a&model_name=b", "").code, 200);
    assert_eq!(server.get("/info").ok()["model_id"], "own");
    let listed = server.get("/models").ok();
    assert_eq!(listed["models"][0], json!({"modelName": "own", "modelUrl": "own"}));
    assert_eq!(listed["models"][1], json!({"modelName": "b", "modelUrl": "a"}));
    assert_eq!(server.get("/models/own/all").ok()[0]["modelUrl"], "own");
    assert_eq!(server.get("/models/b").ok()[0]["modelUrl"], "a");
    for folder in [store.join("a"), own.join("3")] {
        std::fs::write(folder.join("config.json"), "{").unwrap();
    }
    let secret = dir.path().to_str().unwrap();
    for name in ["own", "b"] {
        let broken = server.post(&format!("/v2/repository/models/{name}/load"), "");
        assert_eq!(broken.code, 400, "{}", broken.text());
        assert!(broken.text().contains("config.json"), "{}", broken.text());
        assert!(!broken.text().contains(secret), "{}", broken.text());
    }
    // An error must not name the neighbours of a missing folder either.
    std::fs::remove_dir_all(&own).unwrap();
    let gone = server.post("/v2/repository/models/own/load", "");
    assert!(gone.code == 400 && gone.text().contains("is gone"), "{}", gone.text());
    for path in ["/metrics", "/describe", "/v1/models", "/v2/models/own", "/v2/models/own/config"] {
        assert!(!server.get(path).text().contains(secret), "{path}");
    }
    assert!(server.stop().contains(secret));
}

#[test]
fn a_model_is_replaced_without_a_failed_request() {
    let (server, _dir) = with_store(&[]);
    let load = || server.send("POST", "/v2/repository/models/first/load", &[], b"").ok();
    load();
    let (stop, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    assert_eq!(server.post("/predictions/first", TEXTS[0]).code, 200);
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for _ in 0..10 {
            load();
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(asked.load(Ordering::Relaxed) > 0);
}

#[test]
fn a_model_that_answers_questions_is_refused_by_name() {
    let (server, dir) = with_store(&[]);
    write_model(&dir.path().join("store/squad"), Head::Answers);
    let refused = server.send("POST", "/models?url=squad&model_name=squad", &[], b"");
    assert_eq!(refused.code, 400, "{}", refused.text());
    assert!(refused.text().contains("`infer answer`"), "{}", refused.text());
}

/// transformers has no class for a classifier on the mean of the tokens, so `train` names the class
/// BertModel.
#[test]
fn a_classifier_on_the_mean_of_the_tokens_is_served_as_one() {
    let dir = tempfile::tempdir().unwrap();
    write_model(dir.path(), Head::Sequence(Pooling::Mean));
    let path = dir.path().join("config.json");
    let mut config: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    config["architectures"] = json!(["BertModel"]);
    config["problem_type"] = json!("single_label_classification");
    std::fs::write(&path, config.to_string()).unwrap();
    let server = Server::start(&["--model", &format!("m={}", dir.path().display())]);
    let labels = server.post("/predict", json!({"inputs": "my card"})).ok();
    assert_eq!(labels.as_array().unwrap().len(), 3);
}
