//! Reading and writing whole files, with the path in every error.

use std::path::Path;

use crate::error::{Error, Result};

/// Reads a file whole.
///
/// # Errors
/// [`Error::Io`] with the path.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|e| Error::io(path, e))
}

/// Writes `bytes` to `path` as a whole or not at all (see [`gradus_tensor::io::write_atomically`]):
/// a full disk leaves what was there.
///
/// # Errors
/// With the path.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    Ok(gradus_tensor::io::write_atomically(path, |file| file.write_all(bytes))?)
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
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = read(Path::new("no/such/file")).unwrap_err();
        assert!(error.to_string().contains("no/such/file"), "{error}");
    }
}
