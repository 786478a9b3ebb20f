//! The book's page of every operation is that of the registry and of the engine's own numbers. This
//! is a program of its own, because it counts the work of all threads.
//!
//! `GRADUS_BLESS=1 cargo test -p gradus --test book` writes the pages again.

mod numbers;
mod page;
mod plot;
mod sources;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use gradus::autograd::Op;
use gradus::tensor::Result;

/// The root of the repository.
fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The files of the pages, by their paths from `book/src`.
fn files() -> Result<BTreeMap<String, String>> {
    let step = numbers::step_of_bert();
    let mut files = BTreeMap::new();
    for op in Op::all() {
        let name = format!("operations/{}", op.name());
        if let Op::Unary(function) = op {
            files.insert(format!("{name}.svg"), plot::svg(function)?);
        }
        files.insert(format!("{name}.md"), page::page(op, &step)?);
    }
    Ok(files)
}

#[test]
fn the_book_has_a_page_of_every_operation() {
    let folder = root().join("book/src");
    let files = files().unwrap();
    let bless = std::env::var_os("GRADUS_BLESS").is_some();
    if bless {
        std::fs::create_dir_all(folder.join("operations")).unwrap();
    }
    let mut stale = Vec::new();
    for (name, text) in &files {
        let path = folder.join(name);
        let found = std::fs::read_to_string(&path).unwrap_or_default().replace("\r\n", "\n");
        if found != *text && bless {
            std::fs::write(&path, text).unwrap();
        } else if found != *text {
            let difference = gradus_quote::difference(&found, text).unwrap_or_default();
            stale.push(format!("{name}:\n{difference}"));
        }
    }
    assert!(stale.is_empty(), "run with GRADUS_BLESS=1 to renew:\n{}", stale.join("\n"));
    for entry in std::fs::read_dir(folder.join("operations")).unwrap() {
        let name = format!("operations/{}", entry.unwrap().file_name().to_string_lossy());
        assert!(files.contains_key(&name), "{name} is the page of no operation");
    }
}

/// A link from a page of an operation to a file of the repository.
fn link(file: &str) -> String {
    assert!(Path::new(&root()).join(file).exists(), "there is no {file}");
    format!("../../../{file}")
}
