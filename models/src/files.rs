//! Reading and writing whole files, with the path in every error.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Reads a file whole.
///
/// # Errors
/// [`Error::Io`] with the path.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|e| Error::io(path, e))
}

/// Writes `bytes` to `path` so that a reader finds the old content or the new, never a part of either.
///
/// The bytes go to a file beside `path`, reach the disk, and the file is then renamed. When anything fails (a full
/// disk, say) the part written is removed and what was at `path` stays as it was.
///
/// # Errors
/// [`Error::Io`] with the path.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    let aside = aside(path);
    let written = File::create(&aside)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&aside, path));
    written.map_err(|e| {
        // Best effort: the first error is the one worth reporting.
        let _ = fs::remove_file(&aside);
        Error::io(path, e)
    })
}

/// The name under which [`write_atomic`] writes before it renames: of this process alone, in the same folder.
fn aside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.part", std::process::id()));
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_replaces_and_leaves_nothing_aside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        write_atomic(&path, b"one").unwrap();
        write_atomic(&path, b"two").unwrap();
        assert_eq!(read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failed_write_keeps_the_old_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        write_atomic(&path, b"one").unwrap();
        // The name of the part file is taken by a folder, so that it cannot be created.
        fs::create_dir(aside(&path)).unwrap();
        let error = write_atomic(&path, b"two").unwrap_err();
        assert!(error.to_string().contains("a.json"), "{error}");
        assert_eq!(read(&path).unwrap(), b"one");
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = read(Path::new("no/such/file")).unwrap_err();
        assert!(error.to_string().contains("no/such/file"), "{error}");
    }
}
