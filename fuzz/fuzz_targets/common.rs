//! Shared code of the targets that read files.

use std::path::Path;

use tempfile::TempDir;

/// A folder for inputs, in memory where possible, because a fuzzer writes it thousands of times a
/// second.
pub fn scratch() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() };
    made.expect("a temporary folder can be made")
}

/// Lets caught panics pass: the crate `tokenizers` panics on some files, which Gradus turns into
/// errors. A panic that is not caught still ends the run.
#[allow(dead_code)] // some targets do not use it
pub fn panics_may_be_caught() {
    std::panic::set_hook(Box::new(|panic| eprintln!("{panic}")));
}

/// Like `std::fs::write`, for a file that the target needs.
pub fn write(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).expect("the temporary folder takes files");
}
