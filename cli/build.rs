//! Tells the programs which commit they were built from, for `--version`.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let commit = git().or_else(packaged);
    let target = std::env::var("TARGET").unwrap_or_default();
    let profile = std::env::var("PROFILE").unwrap_or_default();
    println!("cargo:rustc-env=GRADUS_COMMIT={}", commit.as_deref().unwrap_or("commit unknown"));
    println!("cargo:rustc-env=GRADUS_TARGET={target} ({profile})");
}

/// Hash and date of the commit that is checked out. The script runs again when git changes either
/// file.
fn git() -> Option<String> {
    for name in ["HEAD", "index"] {
        let path = output(&["rev-parse", "--git-path", name])?;
        println!("cargo:rerun-if-changed={path}");
    }
    // A package that was unpacked inside another checkout does not have that checkout's commit.
    output(&["ls-files", "--error-unmatch", "build.rs"])?;
    let commit = output(&["show", "--no-patch", "--format=%h %cs", "HEAD"])?;
    let changed = !output(&["status", "--porcelain", "--untracked-files=no"])?.is_empty();
    Some(if changed { format!("{commit}, changed since") } else { commit })
}

fn output(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_string())
}

/// The commit that `cargo package` notes in a crate.
fn packaged() -> Option<String> {
    let path = Path::new(&std::env::var("CARGO_MANIFEST_DIR").ok()?).join(".cargo_vcs_info.json");
    let text = std::fs::read_to_string(path).ok()?;
    let hash = text.split("\"sha1\": \"").nth(1)?.split('"').next()?;
    Some(hash.get(..9).unwrap_or(hash).to_string())
}
