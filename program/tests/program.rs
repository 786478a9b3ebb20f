//! Tests of the installed program, called as a user calls it.

use std::process::{Command, Output};

fn gradus(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_gradus")).args(arguments).output().unwrap()
}

fn printed(arguments: &[&str]) -> String {
    let output = gradus(arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_version_names_the_commit_and_what_was_built() {
    let short = printed(&["-V"]);
    assert!(short.starts_with(&format!("gradus {} (", env!("CARGO_PKG_VERSION"))), "{short}");
    let long = printed(&["--version"]);
    assert!(long.contains("built for: ") && long.contains("GPUs through wgpu"), "{long}");
}

#[test]
fn help_shows_what_can_be_typed() {
    for (arguments, example) in [
        (vec!["train", "--help"], "\n  gradus train classify --data"),
        (vec!["infer", "--help"], "\n  gradus infer embed --model"),
        (vec!["infer", "embed", "--help"], "\n  gradus infer embed --model MODEL --json"),
        (vec!["serve", "--help"], "\n  gradus serve --model runs/"),
    ] {
        let help = printed(&arguments);
        assert!(help.contains(example), "{arguments:?}: {help}");
        assert!(help.contains(&format!("Usage: gradus {}", arguments[0])), "{help}");
    }
}

#[test]
fn shells_complete_the_subcommands_flags() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = printed(&["completions", shell]);
        assert!(script.contains("max-batch-tokens") && script.contains("fill-mask"), "{shell}");
    }
}

#[test]
fn manual_pages_are_written_for_every_subcommand() {
    let folder = tempfile::tempdir().unwrap();
    let man1 = folder.path().join("man1");
    printed(&["man", man1.to_str().unwrap()]);
    for page in ["gradus.1", "gradus-train.1", "gradus-infer-embed.1", "gradus-serve.1"] {
        let text = std::fs::read_to_string(man1.join(page)).unwrap();
        assert!(text.contains(".SH SYNOPSIS"), "{page}");
    }
}

#[test]
fn programs_run_and_fail_as_they_do_alone() {
    assert!(printed(&["infer", "devices"]).starts_with("cpu "));
    let wrong = gradus(&["infer", "embed", "--model", "/no/such/folder", "a"]);
    assert_eq!(wrong.status.code(), Some(1));
    assert_eq!(gradus(&["serve"]).status.code(), Some(2));
    assert_eq!(gradus(&["fly"]).status.code(), Some(2));
}
