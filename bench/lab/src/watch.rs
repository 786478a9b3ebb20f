//! `--watch`: the program again whenever one's own shader changes.

use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use gradus_cli::Outcome;

/// Runs this program without `--watch` now, and whenever the file at `path` is saved, until Ctrl-C.
///
/// Each run is a process of its own, because a shader that breaks the device breaks it for the
/// process. The file is looked at a few times a second: that sees every editor's way of saving,
/// also those that put a new file in the place of the old one.
pub fn again_and_again(path: &Path) -> Outcome {
    let arguments: Vec<_> = std::env::args_os().skip(1).filter(|word| word != "--watch").collect();
    loop {
        let before = state(path);
        Command::new(std::env::current_exe()?).args(&arguments).status()?;
        eprintln!("waiting for {} to change; Ctrl-C ends", path.display());
        while state(path) == before {
            sleep(Duration::from_millis(200));
        }
        // An editor may be writing it still.
        sleep(Duration::from_millis(100));
        eprintln!();
    }
}

/// When a file was changed, and how long it is; `None` while there is none.
fn state(path: &Path) -> Option<(SystemTime, u64)> {
    let found = std::fs::metadata(path).ok()?;
    Some((found.modified().ok()?, found.len()))
}
