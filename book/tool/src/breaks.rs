//! Makes the changes that chapters ask for: each makes the engine wrong, and a test must notice.
//!
//! `break` makes each change, runs the test, and takes the change back. It takes minutes, because
//! the engine is compiled for each, and no other build may run meanwhile.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Error, Result};
use gradus_quote::{Change, changes, files};

/// Tries the changes of the pages whose names contain `only`.
pub fn run(repository: &Path, only: &str) -> Result<()> {
    let mut unnoticed = Vec::new();
    let mut tried = 0;
    for page in files(&repository.join("book/src"), &["md"])? {
        let name = page.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !name.contains(only) {
            continue;
        }
        let text = std::fs::read_to_string(&page)?;
        for change in changes(&text).map_err(Error::msg).context(name.clone())? {
            println!("{name}: {} (in {})", change.test, change.file);
            let seen = try_one(repository, &change).with_context(|| name.clone())?;
            println!("{name}: {}", if seen { "noticed" } else { "NOT NOTICED" });
            tried += 1;
            if !seen {
                unnoticed.push(name.clone());
            }
        }
    }
    match unnoticed.is_empty() {
        true if tried == 0 => Err(Error::msg(format!("no page called …{only}… has a change"))),
        true => Ok(()),
        false => {
            Err(Error::msg(format!("no test notices the changes of {}", unnoticed.join(", "))))
        }
    }
}

/// Whether the test notices the change.
fn try_one(repository: &Path, change: &Change) -> Result<bool> {
    let path = repository.join(&change.file);
    let before = std::fs::read_to_string(&path)?;
    let changed = change.apply(&before).map_err(Error::msg)?;
    let file = Restored { path: &path, text: &before };
    std::fs::write(&path, changed)?;
    let output = test(repository, &change.test)?;
    drop(file);
    let text = String::from_utf8_lossy(&output.stdout);
    let failed: Vec<&str> = text.lines().filter(|line| line.ends_with("FAILED")).collect();
    failed.iter().for_each(|line| println!("    {line}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() && failed.is_empty() {
        // It does not compile, or something else went wrong: nothing has been tested.
        return Err(Error::msg(format!("no test failed, but {}:\n{errors}", change.test)));
    }
    Ok(!failed.is_empty())
}

fn test(repository: &Path, command: &str) -> Result<Output> {
    let test = Command::new("sh")
        .args(["-c", command])
        .current_dir(repository)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .output();
    Ok(test?)
}

/// A file that gets its text back, whatever happens.
struct Restored<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Drop for Restored<'_> {
    fn drop(&mut self) {
        if let Err(error) = std::fs::write(self.path, self.text) {
            eprintln!("{} keeps a change: {error}; git restores it", self.path.display());
        }
    }
}
