//! Outputs that pages show: each is the output of the command in its first line.
//!
//! A block of `console` begins with `$ COMMAND`. `renew` runs the commands and writes what they
//! print; `check` compares. Commands run in the root of the repository, without `--release`: the
//! numbers are the same. `check` takes the examples that `cargo test` has built, where they are:
//! another selection of packages would build the engine again.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Error, Result};
use gradus_quote::{difference, files};

/// Runs every command and writes what it prints.
pub fn renew(repository: &Path) -> Result<()> {
    for page in files(&repository.join("book/src"), &["md"])? {
        let old = std::fs::read_to_string(&page)?;
        let new = renewed(&old, repository, false).with_context(|| page.display().to_string())?;
        if new != old {
            std::fs::write(&page, new)?;
            println!("renewed {}", page.display());
        }
    }
    Ok(())
}

/// Runs every command and compares what it prints.
pub fn check(repository: &Path) -> Result<()> {
    let mut stale = Vec::new();
    for page in files(&repository.join("book/src"), &["md"])? {
        let old = std::fs::read_to_string(&page)?;
        let new = renewed(&old, repository, true).with_context(|| page.display().to_string())?;
        if let Some(difference) = difference(&old, &new) {
            stale.push(format!("{}:\n{difference}", page.display()));
        }
    }
    match stale.is_empty() {
        true => Ok(()),
        false => Err(Error::msg(format!("renew these outputs:\n{}", stale.join("\n")))),
    }
}

/// A page with new outputs.
fn renewed(page: &str, repository: &Path, built: bool) -> Result<String> {
    let mut out = String::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        out += &format!("{line}\n");
        if line != "```console" {
            continue;
        }
        let first = lines.next().unwrap_or_default();
        let command = first.strip_prefix("$ ").context("a console block begins with `$ `")?;
        out += &format!("{first}\n{}```\n", output(command, repository, built)?);
        if !lines.any(|line| line == "```") {
            return Err(Error::msg(format!("the block of {command} has no end")));
        }
    }
    Ok(out)
}

/// What a command prints.
fn output(command: &str, repository: &Path, built: bool) -> Result<String> {
    eprintln!("$ {command}");
    let quick = command.replace(" --release", "");
    let example = quick.strip_prefix("cargo run --example ").filter(|_| built);
    let path = example.map(|example| format!("target/debug/examples/{example}"));
    let exists = |path: &String| {
        path.split(' ').next().is_some_and(|program| repository.join(program).exists())
    };
    let quiet = path.filter(exists).unwrap_or_else(|| quick.replace("cargo run ", "cargo run -q "));
    let run = Command::new("sh")
        .args(["-c", &quiet])
        .current_dir(repository)
        .stderr(Stdio::inherit())
        .output()?;
    if !run.status.success() {
        return Err(Error::msg(format!("{command}: {}", run.status)));
    }
    let text = String::from_utf8(run.stdout).context("an output that is no text")?;
    Ok(text.lines().map(|line| format!("{}\n", line.trim_end())).collect())
}
