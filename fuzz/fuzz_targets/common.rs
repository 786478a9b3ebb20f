//! What the targets that read files share.

use std::path::Path;

use tempfile::TempDir;

/// A folder for one input: in memory where there is such a place, for a fuzzer writes it thousands of times a second.
pub fn scratch() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() };
    made.expect("a temporary folder can be made")
}

/// Lets panics reach whoever catches them: the crate `tokenizers` panics on some files, which Gradus turns into errors.
/// One that nobody catches still ends the run.
#[allow(dead_code)] // not of every target
pub fn panics_may_be_caught() {
    std::panic::set_hook(Box::new(|panic| eprintln!("{panic}")));
}

/// As `std::fs::write`, of a file that the target needs.
pub fn write(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).expect("the temporary folder takes files");
}
