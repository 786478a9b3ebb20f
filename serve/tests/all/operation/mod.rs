//! What operators rely on: management, keys, limits, metrics, shutting down.

mod access;
mod limits;
mod management;
mod stopping;

use gradus_models::Pooling;

use crate::common::{Head, Server, write_model};

/// A model store with two classifiers, and a server on it.
fn with_store(args: &[&str]) -> (Server, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    for name in ["first", "second"] {
        std::fs::create_dir_all(store.join(name)).unwrap();
        write_model(&store.join(name), Head::Sequence(Pooling::Mean));
    }
    std::fs::create_dir_all(store.join("versions")).unwrap();
    for version in ["3", "7"] {
        let folder = store.join("versions").join(version);
        std::fs::create_dir_all(&folder).unwrap();
        write_model(&folder, Head::None);
    }
    std::fs::create_dir(dir.path().join("outside")).unwrap();
    write_model(&dir.path().join("outside"), Head::None);
    let store = store.to_str().unwrap().to_string();
    let args: Vec<&str> =
        ["--model-store", &store].into_iter().chain(args.iter().copied()).collect();
    (Server::start(&args), dir)
}
