//! The changes that chapters ask for: each makes the engine wrong, and a test must notice.
//!
//! A block of `diff` names a file (`--- FILE`) and the lines that it takes away and adds; the block of
//! `sh` after it has the test. `break` makes each change, runs the test, and takes the change back.
//! It takes minutes, and no other build may run meanwhile.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Error, Result};

use crate::runs::pages;

/// A change and the command that must notice it.
struct Break {
    file: String,
    old: String,
    new: String,
    test: String,
}

/// Tries the changes of the pages whose names contain `only`.
pub fn run(repository: &Path, only: &str) -> Result<()> {
    let mut unnoticed = Vec::new();
    for page in pages(&repository.join("book/src"))? {
        let name = page.file_name().unwrap_or_default().to_string_lossy().into_owned();
        for change in breaks(&std::fs::read_to_string(&page)?).context(name.clone())? {
            if !name.contains(only) {
                continue;
            }
            let seen = try_one(repository, &change).with_context(|| name.clone())?;
            println!("{name}: {}", if seen { "noticed" } else { "NOT NOTICED" });
            if !seen {
                unnoticed.push(name.clone());
            }
        }
    }
    match unnoticed.is_empty() {
        true => Ok(()),
        false => {
            Err(Error::msg(format!("no test notices the changes of {}", unnoticed.join(", "))))
        }
    }
}

/// The changes of a page.
fn breaks(page: &str) -> Result<Vec<Break>> {
    let mut found = Vec::new();
    for rest in page.split("```diff\n").skip(1) {
        let (diff, after) = rest.split_once("```").context("a change without an end")?;
        let test = after.split("```sh\n").nth(1).and_then(|test| test.split("```").next());
        let file = diff.lines().next().and_then(|line| line.strip_prefix("--- "));
        let side = |mark: char| -> String {
            let lines = diff.lines().skip(1).filter_map(|line| line.strip_prefix(mark));
            lines.collect::<Vec<_>>().join("\n")
        };
        found.push(Break {
            file: file.context("a change begins with --- FILE")?.to_string(),
            old: side('-'),
            new: side('+'),
            test: test.context("a change without the test that notices it")?.trim().to_string(),
        });
    }
    Ok(found)
}

/// Whether the test notices the change.
fn try_one(repository: &Path, change: &Break) -> Result<bool> {
    let path = repository.join(&change.file);
    let before = std::fs::read_to_string(&path)?;
    if before.matches(&change.old).count() != 1 {
        return Err(Error::msg(format!("{} does not have the lines once", change.file)));
    }
    std::fs::write(&path, before.replacen(&change.old, &change.new, 1))?;
    let test = Command::new("sh")
        .args(["-c", &change.test])
        .current_dir(repository)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .output();
    std::fs::write(&path, before)?;
    let output = test?;
    if String::from_utf8_lossy(&output.stderr).contains("could not compile") {
        return Err(Error::msg(format!("{} does not compile with the change", change.file)));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    for line in text.lines().filter(|line| line.ends_with("FAILED")) {
        println!("    {line}");
    }
    Ok(!output.status.success())
}
