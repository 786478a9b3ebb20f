//! Commands to show a person, spelled so that they can be pasted into a shell.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// A command of `program`, a neighbour of this program, with its arguments. It is called as this
/// program was: through `cargo run`, by a path, or by its name.
pub fn command<'a>(program: &str, args: impl IntoIterator<Item = &'a str>) -> String {
    let called = env::args_os().next().unwrap_or_default();
    let own = env::current_exe().unwrap_or_default();
    let cargo = env::var_os("CARGO").is_some() && env::var_os("CARGO_PKG_NAME").is_some();
    let mut words = spelled(program, &called, &own, cargo);
    words.extend(args.into_iter().map(str::to_string));
    words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
}

/// The words that start `program`. This program was started as `called`, from the file `own`.
fn spelled(program: &str, called: &OsString, own: &Path, cargo: bool) -> Vec<String> {
    if cargo {
        let release = own.parent().is_some_and(|folder| folder.ends_with("release"));
        let release = release.then_some("--release");
        let bin: &[&str] = match own.file_stem().is_some_and(|name| name == "gradus") {
            true => &["gradus", "--", program],
            false => &[program, "--"],
        };
        let words = ["cargo", "run"].into_iter().chain(release).chain(["--bin"]);
        return words.chain(bin.iter().copied()).map(str::to_string).collect();
    }
    let called = PathBuf::from(called);
    // `gradus` contains all programs; the others are neighbours.
    match called.file_stem().is_some_and(|name| name == "gradus") {
        true => vec![called.display().to_string(), program.to_string()],
        false => vec![called.with_file_name(program).display().to_string()],
    }
}

/// A word as a POSIX shell takes it.
fn quoted(word: &str) -> String {
    // Only a NUL, which no argument can hold, has no spelling.
    shlex::try_quote(word).map_or_else(|_| word.to_string(), |word| word.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_neighbour_is_called_as_this_program_was() {
        let spelled = |called: &str, own: &str, cargo| {
            spelled("infer", &called.into(), Path::new(own), cargo).join(" ")
        };
        let own = "/src/target/release/train";
        assert_eq!(spelled(own, own, true), "cargo run --release --bin infer --");
        assert_eq!(spelled(own, "/src/target/debug/train", true), "cargo run --bin infer --");
        assert_eq!(spelled("train", "/usr/bin/train", false), "infer");
        assert_eq!(spelled("gradus", "/usr/bin/gradus", false), "gradus infer");
        assert_eq!(
            spelled("x/release/gradus", "/x/release/gradus", true),
            "cargo run --release --bin gradus -- infer"
        );
        assert_eq!(
            spelled("target/debug/train", "/src/target/debug/train", false),
            "target/debug/infer"
        );
        assert_eq!(spelled("", "", false), "infer");
    }

    #[test]
    fn words_survive_a_shell() {
        for word in ["it's", "two words", "$HOME `x` \"y\"", "", "ü\n;", "-x", "a\\b"] {
            let script = format!("printf %s {}", quoted(word));
            let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), word, "{script}");
        }
    }
}
