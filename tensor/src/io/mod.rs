//! Files: safetensors and NumPy's `.npy`.
//!
//! A file is input from outside: reading any bytes gives a tensor or an error that names the file,
//! never a panic. A file is written under a temporary name and then renamed, so that a failure (a
//! full disk, say) leaves an older file as it was.

pub mod npy;
pub mod safetensors;

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use gradus_base::dispatch_any;

use crate::{Error, Result, Tensor};

// Both formats are little-endian, and elements are copied as they lie in memory.
const _: () = assert!(cfg!(target_endian = "little"), "gradus reads files on little-endian only");

/// Writes a file as a whole or not at all: `write` fills a temporary file in the folder of `path`,
/// which is then flushed to the disk and renamed. On any error (and on a panic in `write`) the
/// temporary file is removed and what was at `path` stays.
///
/// ```
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("labels.txt");
/// gradus_tensor::io::write_atomically(&path, |file| writeln!(file, "{}", 42))?;
/// # Ok::<(), gradus_tensor::Error>(())
/// ```
pub fn write_atomically(
    path: impl AsRef<Path>,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<()> {
    let path = path.as_ref();
    let failed = |error| Error::io(path, error);
    let (mut aside, file) = Aside::create(path).map_err(failed)?;
    let mut file = BufWriter::with_capacity(1 << 20, file);
    write(&mut file).map_err(failed)?;
    let file = file.into_inner().map_err(|e| failed(e.into_error()))?;
    file.sync_all().map_err(failed)?;
    // Some systems refuse to rename an open file.
    drop(file);
    fs::rename(&aside.path, path).map_err(failed)?;
    aside.renamed = true;
    #[cfg(unix)]
    {
        // The rename is durable once the folder is. Not every file system can say so.
        let _ = File::open(folder(path)).and_then(|folder| folder.sync_all());
    }
    Ok(())
}

/// The folder of a file.
fn folder(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A temporary file, removed when dropped unless it was renamed.
struct Aside {
    path: PathBuf,
    renamed: bool,
}

impl Aside {
    fn create(path: &Path) -> io::Result<(Aside, File)> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let Some(name) = path.file_name() else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path names no file"));
        };
        loop {
            let mut aside = OsString::from(".");
            aside.push(name);
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            aside.push(format!(".{}-{count}.tmp", std::process::id()));
            let aside = folder(path).join(aside);
            match OpenOptions::new().write(true).create_new(true).open(&aside) {
                Ok(file) => return Ok((Aside { path: aside, renamed: false }, file)),
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(e) => return Err(e),
            }
        }
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        if !self.renamed {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Writes the elements in row-major order, little-endian.
fn write_elements(tensor: &Tensor, to: &mut dyn Write) -> io::Result<()> {
    let here = tensor.to_device(crate::Device::Cpu).map_err(io::Error::other)?;
    let tensor = here.contiguous().map_err(io::Error::other)?;
    to.write_all(dispatch_any!(tensor.dtype(), bytemuck::cast_slice(tensor.cpu().slice::<T>())))
}

/// A u32 tensor from integers that must all fit; else the first that does not, and its position.
fn ids_from_integers(
    values: impl Iterator<Item = i128>,
    shape: &[usize],
) -> Result<std::result::Result<Tensor, (i128, usize)>> {
    let mut out = gradus_cpu::Output::<u32>::new("read", shape)?;
    for ((i, value), id) in values.enumerate().zip(out.slice_mut()) {
        match u32::try_from(value) {
            Ok(value) => *id = value,
            Err(_) => return Ok(Err((value, i))),
        }
    }
    Ok(Ok(Tensor::from_array(out.into_array(shape))))
}

/// The integers of a little-endian integer type, widened.
fn widened<'a>(bytes: &'a [u8], size: usize, signed: bool) -> impl Iterator<Item = i128> + 'a {
    bytes.chunks_exact(size).map(move |chunk| {
        let negative = signed && chunk[size - 1] >= 0x80;
        let mut wide = [if negative { 0xff } else { 0 }; 16];
        wide[..size].copy_from_slice(chunk);
        i128::from_le_bytes(wide)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_keeps_the_old_file_and_leaves_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.bin");
        write_atomically(&path, |file| file.write_all(b"old")).unwrap();
        let full = |file: &mut dyn Write| {
            file.write_all(&[0; 3 << 20])?;
            Err(io::Error::from(io::ErrorKind::StorageFull))
        };
        let error = write_atomically(&path, full).unwrap_err().to_string();
        assert!(error.contains("model.bin"), "{error}");
        let panicked = std::panic::catch_unwind(|| {
            let _ = write_atomically(&path, |_| panic!("on purpose"));
        });
        assert!(panicked.is_err());
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        write_atomically(&path, |file| file.write_all(b"new")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn paths_that_cannot_be_written_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let nothing = |_: &mut dyn Write| Ok(());
        for path in [Path::new("/"), Path::new(""), &folder.path().join("no/such"), folder.path()] {
            assert!(write_atomically(path, nothing).is_err(), "{}", path.display());
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
