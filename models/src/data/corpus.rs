//! Raw text of any size, read piece by piece.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;
use xxhash_rust::xxh3::Xxh3;

use crate::error::{Error, Result};

/// The bytes of a window. It is read and turned into tokens at once.
pub const WINDOW: u64 = 1 << 20;

/// How far a cut looks for the end of a line.
const REACH: usize = 64 << 10;

/// The endings of the files that a folder's text is read from.
const ENDINGS: [&str; 2] = ["txt", "md"];

/// A part of a file, which begins and ends with a line where lines are not very long.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    file: PathBuf,
    from: u64,
    to: u64,
}

/// Raw text: the files of a corpus, divided into windows of about [`WINDOW`] bytes. Only the window
/// that is read is in memory.
#[derive(Debug)]
pub struct Corpus {
    windows: Vec<Part>,
    /// What came from standard input, kept on disk for as long as the corpus lives.
    _spooled: Option<NamedTempFile>,
}

impl Corpus {
    /// Opens a text file, a folder with text files (`.txt`, `.md`, in subfolders too, in the order
    /// of their names), or standard input for `-`, which is copied to a temporary file.
    ///
    /// # Errors
    /// When a file cannot be read, or there is no text.
    pub fn open(path: impl AsRef<Path>) -> Result<Corpus> {
        let path = path.as_ref();
        if path == Path::new("-") {
            let spooled = spool(path)?;
            let corpus = Corpus::of(path, vec![spooled.path().to_path_buf()])?;
            return Ok(Corpus { _spooled: Some(spooled), ..corpus });
        }
        let mut files = Vec::new();
        if path.is_dir() {
            collect(path, &mut files)?
        } else {
            files.push(path.to_path_buf())
        }
        Corpus::of(path, files)
    }

    /// The text of these files, one after the other. `name` stands in errors.
    ///
    /// # Errors
    /// As [`Corpus::open`].
    pub fn of(name: &Path, files: Vec<PathBuf>) -> Result<Corpus> {
        let mut parts = Vec::new();
        for file in files {
            let to = File::open(&file).and_then(|file| file.metadata());
            let to = to.map_err(|e| Error::io(&file, e))?.len();
            parts.push(Part { file, from: 0, to });
        }
        let corpus = Corpus { windows: divided(&parts)?, _spooled: None };
        match corpus.windows.is_empty() {
            true => Err(Error::data(name, None, "there is no text in it")),
            false => Ok(corpus),
        }
    }

    /// The number of windows.
    pub fn windows(&self) -> usize {
        self.windows.len()
    }

    /// The bytes of all windows.
    pub fn bytes(&self) -> u64 {
        self.windows.iter().map(|part| part.to - part.from).sum()
    }

    /// Takes about `bytes` bytes off the end, cut at a line, as a corpus of their own; `None` where
    /// nothing would be left of either.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn split_off(&mut self, bytes: u64) -> Result<Option<Corpus>> {
        let (mut kept, mut taken, mut left) = (Vec::new(), Vec::new(), bytes);
        for part in self.windows.iter().rev() {
            let size = part.to - part.from;
            if left == 0 {
                kept.push(part.clone());
            } else if size <= left {
                taken.push(part.clone());
            } else {
                let at = cut(&part.file, part.to - left)?.clamp(part.from, part.to);
                kept.push(Part { to: at, ..part.clone() });
                taken.push(Part { from: at, ..part.clone() });
            }
            left = left.saturating_sub(size);
        }
        for parts in [&mut kept, &mut taken] {
            parts.reverse();
            parts.retain(|part| part.from < part.to);
        }
        if kept.is_empty() || taken.is_empty() {
            return Ok(None);
        }
        self.windows = kept;
        Ok(Some(Corpus { windows: taken, _spooled: None }))
    }

    /// The text of a window.
    ///
    /// # Errors
    /// When the file cannot be read, has changed its size, or is not UTF-8.
    ///
    /// # Panics
    /// If there is no such window.
    pub fn read(&self, window: usize) -> Result<String> {
        let Part { file, from, to } = &self.windows[window];
        let mut bytes = vec![0; (to - from) as usize];
        let read = File::open(file).and_then(|mut file| {
            file.seek(SeekFrom::Start(*from))?;
            file.read_exact(&mut bytes)
        });
        read.map_err(|e| Error::io(file, e))?;
        let text = String::from_utf8(bytes).map_err(|e| {
            let at = from + e.utf8_error().valid_up_to() as u64;
            let message = format!("invalid UTF-8 at byte {at}; save the file as UTF-8");
            Error::data(file, None, message)
        })?;
        let start = if *from == 0 { text.strip_prefix('\u{feff}') } else { None };
        Ok(start.map(str::to_string).unwrap_or(text))
    }

    /// A hash (XXH3, 128 bits) of the whole text.
    ///
    /// # Errors
    /// As [`Corpus::read`].
    pub fn hash(&self) -> Result<String> {
        let mut hash = Xxh3::new();
        for window in 0..self.windows() {
            hash.update(self.read(window)?.as_bytes());
        }
        Ok(format!("{:032x}", hash.digest128()))
    }
}

/// Copies standard input to a temporary file.
fn spool(name: &Path) -> Result<NamedTempFile> {
    let copied = NamedTempFile::new().and_then(|mut file| {
        std::io::copy(&mut std::io::stdin().lock(), &mut file)?;
        Ok(file)
    });
    copied.map_err(|e| Error::io(name, e))
}

/// The text files of a folder and its subfolders, in the order of their names.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries = std::fs::read_dir(folder).and_then(|entries| {
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<std::io::Result<Vec<_>>>()
    });
    let mut entries = entries.map_err(|e| Error::io(folder, e))?;
    entries.sort();
    for path in entries {
        let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        if path.is_dir() {
            collect(&path, files)?;
        } else if ENDINGS.contains(&ending.as_str()) {
            files.push(path);
        }
    }
    Ok(())
}

/// The windows of some parts.
fn divided(parts: &[Part]) -> Result<Vec<Part>> {
    let mut windows = Vec::new();
    for part in parts {
        let count = (part.to - part.from).div_ceil(WINDOW);
        let mut from = part.from;
        for i in 1..=count {
            let to = if i == count { part.to } else { cut(&part.file, part.from + i * WINDOW)? };
            if from < to {
                windows.push(Part { file: part.file.clone(), from, to });
            }
            from = from.max(to);
        }
    }
    Ok(windows)
}

/// Where a file is cut near `at`: after the next end of a line, else after the next space, else
/// before the next character.
fn cut(path: &Path, at: u64) -> Result<u64> {
    let mut near = Vec::with_capacity(REACH);
    let read = File::open(path).and_then(|mut file| {
        file.seek(SeekFrom::Start(at.saturating_sub(1)))?;
        file.take(REACH as u64).read_to_end(&mut near)
    });
    read.map_err(|e| Error::io(path, e))?;
    let after = |found: usize| at.saturating_sub(1) + found as u64 + 1;
    if let Some(line) = near.iter().position(|&b| b == b'\n') {
        return Ok(after(line));
    }
    if let Some(space) = near.iter().position(u8::is_ascii_whitespace) {
        return Ok(after(space));
    }
    // The later bytes of a character are 0b10xxxxxx.
    let whole = near.iter().skip(1).position(|&b| b & 0xc0 != 0x80);
    Ok(at + whole.unwrap_or(0) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(corpus: &Corpus) -> String {
        (0..corpus.windows()).map(|window| corpus.read(window).unwrap()).collect()
    }

    #[test]
    fn windows_hold_the_whole_text_in_lines() {
        let folder = tempfile::tempdir().unwrap();
        let line = "a line of some words, äöü\n";
        let text = line.repeat(3 * WINDOW as usize / line.len() + 7);
        std::fs::write(folder.path().join("a.txt"), &text).unwrap();
        std::fs::create_dir(folder.path().join("more")).unwrap();
        std::fs::write(folder.path().join("more/b.TXT"), "the end").unwrap();
        std::fs::write(folder.path().join("c.csv"), "not,text\n").unwrap();
        let mut corpus = Corpus::open(folder.path()).unwrap();
        assert_eq!(corpus.windows(), 4 + 1);
        assert_eq!(all(&corpus), text.clone() + "the end");
        for window in 0..3 {
            assert!(corpus.read(window).unwrap().ends_with('\n'));
        }
        let (hash, bytes) = (corpus.hash().unwrap(), corpus.bytes());
        let tail = corpus.split_off(1000).unwrap().unwrap();
        assert!(tail.bytes() <= 1000 && tail.bytes() > 900, "{}", tail.bytes());
        assert!(all(&corpus).ends_with('\n'));
        assert_eq!(corpus.bytes() + tail.bytes(), bytes);
        assert_eq!(all(&corpus) + &all(&tail), text + "the end");
        assert_ne!(corpus.hash().unwrap(), hash);
    }

    #[test]
    fn text_without_lines_or_spaces_is_cut_between_characters() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for text in ["é".repeat(WINDOW as usize), "ab ".repeat(WINDOW as usize)] {
            std::fs::write(file.path(), &text).unwrap();
            let corpus = Corpus::open(file.path()).unwrap();
            assert!(corpus.windows() > 1);
            assert_eq!(all(&corpus), text);
        }
    }

    #[test]
    fn what_is_no_text_is_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = Corpus::open(file.path()).unwrap_err().to_string();
        assert!(error.contains("no text"), "{error}");
        std::fs::write(file.path(), b"good\xff").unwrap();
        let error = Corpus::open(file.path()).unwrap().read(0).unwrap_err().to_string();
        assert!(error.contains("invalid UTF-8 at byte 4"), "{error}");
        assert!(Corpus::open("/no/such/file").is_err());
        let mut small = Corpus::of(file.path(), vec![file.path().to_path_buf()]).unwrap();
        assert!(small.split_off(1 << 20).unwrap().is_none());
    }
}
