//! The commands of the book's page of tasks work as they are pasted.
#![cfg(unix)]

use std::path::Path;
use std::process::{Command, Stdio};

/// The shell commands of a page.
fn commands(page: &str) -> String {
    let blocks = page.split("```sh\n").skip(1);
    blocks.filter_map(|block| block.split("```").next()).collect()
}

/// The same commands with two steps in place of all epochs.
fn shortened(script: &str) -> String {
    let mut parts = script.split("--epochs ");
    let first = parts.next().unwrap_or_default().to_string();
    parts.fold(first, |script, part| {
        script + "--steps 2" + part.trim_start_matches(|c: char| c.is_ascii_digit())
    })
}

#[test]
fn every_command_of_the_page_of_tasks_works() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let page = std::fs::read_to_string(root.join("book/src/tasks.md")).unwrap();
    let script = commands(&page);
    for task in ["classify", "tokens", "mlm", "lm", "embed", "answer", "distill", "merge"] {
        assert!(script.contains(&format!("\ntrain {task} ")), "no command for {task}");
    }
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(root.join("data"), folder.path().join("data")).unwrap();
    let programs =
        "set -eu\ntrain() { \"$GRADUS\" train \"$@\"; }\ninfer() { \"$GRADUS\" infer \"$@\"; }\n";
    let output = Command::new("sh")
        .args(["-xc", &format!("{programs}{}", shortened(&script))])
        .current_dir(folder.path())
        .env("GRADUS", env!("CARGO_BIN_EXE_gradus"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let [told, errors] =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(output.status.success(), "{told}\n{errors}");
    for run in ["intents", "names", "masked", "words", "near", "places", "student", "merged"] {
        assert!(folder.path().join("runs").join(run).join("model.safetensors").is_file(), "{run}");
    }
}
