//! The pages of the book: what they link, quote and change is there.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use gradus_quote::{Link, Target, links, quote};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The files of a folder with one of these extensions, from the root of the repository.
fn files(folder: &str, extensions: &[&str]) -> Vec<PathBuf> {
    let found = gradus_quote::files(&root().join(folder), extensions).unwrap();
    assert!(!found.is_empty(), "nothing in {folder}");
    found.iter().map(|file| file.strip_prefix(root()).unwrap().to_path_buf()).collect()
}

fn read(file: &Path) -> String {
    std::fs::read_to_string(root().join(file)).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

/// The pages of the book, and those at the root of the repository.
fn pages() -> Vec<PathBuf> {
    let at_root = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"];
    files("book/src", &["md"]).into_iter().chain(at_root.map(PathBuf::from)).collect()
}

/// What is wrong with a link.
fn fault(link: &Link, page: &Path) -> Option<String> {
    let target = match Target::of(&link.target, page) {
        Ok(target) => target?,
        Err(error) => return Some(error.to_string()),
    };
    let path = root().join(&target.file);
    if !path.exists() {
        return Some(format!("there is no {}", target.file.display()));
    }
    let symbol = target.symbol()?;
    quote(&read(&target.file), symbol).err()
}

#[test]
fn links_lead_to_files_and_quotes_to_symbols() {
    let mut faults = Vec::new();
    let mut quotes = 0;
    for page in pages() {
        for link in links(&read(&page)) {
            quotes += (link.alone && link.target.contains(".rs#")) as usize;
            if let Some(fault) = fault(&link, &page) {
                faults.push(format!("{}:{}: {}: {fault}", page.display(), link.line, link.target));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(quotes > 0, "no page quotes a source: the scan misses them");
}

#[test]
fn the_summary_has_every_page() {
    let summary = Path::new("book/src/SUMMARY.md");
    let listed: BTreeSet<PathBuf> = links(&read(summary))
        .iter()
        // A chapter to come has no page.
        .filter(|link| !link.target.is_empty())
        .map(|link| Target::of(&link.target, summary).unwrap().unwrap().file)
        .collect();
    let written: BTreeSet<PathBuf> =
        files("book/src", &["md"]).into_iter().filter(|page| page != summary).collect();
    assert_eq!(listed, written);
}

#[test]
fn what_a_page_changes_is_in_the_sources_once() {
    for page in files("book/src", &["md"]) {
        for change in gradus_quote::changes(&read(&page)).unwrap() {
            let changed = change.apply(&read(Path::new(&change.file)));
            assert!(changed.is_ok(), "{}: {}", page.display(), changed.unwrap_err());
        }
    }
}

/// Every function that a source has at its outermost level is found by its name.
#[test]
fn every_source_can_be_read() {
    let folders = ["shaders/src", "tensor", "autograd", "nn/src", "models/src", "train/src"];
    // A shader inside a text has functions at the beginnings of lines.
    let text = Path::new("shaders/src/custom.rs");
    let mut faults = Vec::new();
    let all = folders.iter().flat_map(|folder| files(folder, &["rs", "wgsl"]));
    for file in all.filter(|file| file != text) {
        let source = read(&file);
        let source = gradus_quote::without_tests(&source);
        let mut names = BTreeSet::new();
        for line in source.lines() {
            let words: Vec<&str> =
                line.split(|c: char| !c.is_alphanumeric() && c != '_').take(5).collect();
            let outermost = line.starts_with("fn ") || line.starts_with("pub");
            if let Some(at) = words.iter().position(|word| *word == "fn").filter(|_| outermost) {
                names.extend(words.get(at + 1).filter(|name| !name.is_empty()));
            }
        }
        for name in names {
            let found = quote(source, name);
            let twice = found.as_ref().is_err_and(|error| error.starts_with("there are"));
            if found.is_err() && !twice {
                faults.push(format!("{}: {name}: {found:?}", file.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The most that the reading path may have.
const MAX_PATH: usize = 3500;

/// The lines of a file or of a symbol.
fn lines_of(target: &Target) -> usize {
    let source = read(&target.file);
    match target.symbol() {
        Some(symbol) => gradus_quote::lines_to_read(&quote(&source, symbol).unwrap().code),
        None => gradus_quote::lines_to_read(gradus_quote::without_tests(&source)),
    }
}

/// `GRADUS_BLESS=1 cargo test -p gradus-quote` writes the numbers again.
#[test]
fn the_reading_path_says_its_lines() {
    let file = Path::new("book/src/reading-path.md");
    let page = read(file);
    let mut total = 0;
    let mut counted = String::new();
    for line in page.split_inclusive('\n') {
        let mut parts = line.split(" lines)");
        let mut rest = parts.next().unwrap().to_string();
        for part in parts {
            // … [name](target) (N lines) …
            let link = links(&rest).pop().expect("a number of lines follows a link");
            let target = Target::of(&link.target, file).unwrap().unwrap();
            let count = lines_of(&target);
            total += count;
            counted += &rest[..rest.rfind('(').unwrap()];
            counted += &format!("({count} lines)");
            rest = part.to_string();
        }
        counted += &rest;
    }
    let (before, after) = counted.split_once("**").unwrap();
    let after = after.split_once("**").unwrap().1;
    let thousands = format!("{},{:03}", total / 1000, total % 1000);
    let new = format!("{before}**{thousands} lines**{after}");
    assert!(total > 2000 && total < MAX_PATH, "the path has {total} lines");
    if std::env::var_os("GRADUS_BLESS").is_some() {
        std::fs::write(root().join(file), &new).unwrap();
    }
    assert_eq!(read(file), new, "run with GRADUS_BLESS=1 to renew {}", file.display());
}
