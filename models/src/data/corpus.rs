//! Raw text of any size, read piece by piece.

use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::read::MultiGzDecoder;
use tempfile::NamedTempFile;
use xxhash_rust::xxh3::Xxh3;

use super::ending::{ending, is_gzip};
use super::folder::{Files, Parts};
use super::read::not_gzip;
use super::rows;
use crate::error::{Error, Result};

/// The bytes of a window. It is read and turned into tokens at once.
pub const WINDOW: u64 = 1 << 20;

/// How far a cut looks for the end of a line.
const REACH: usize = 64 << 10;

/// The endings of the files that a folder's text is read from, where no column is named.
const ENDINGS: [&str; 3] = ["txt", "md", "parquet"];

/// The column of files with rows that has the text, unless another is named.
const COLUMN: &str = "text";

/// The text of a file, on disk.
#[derive(Debug)]
struct Text {
    /// The file, for errors.
    name: PathBuf,
    /// Where the text is.
    path: PathBuf,
    /// Whether the file has rows.
    has_rows: bool,
    /// What had to be unpacked, or came from standard input: it is kept for as long as it is read.
    _spooled: Option<NamedTempFile>,
}

/// A part of a file, which begins and ends with a line where lines are not very long.
#[derive(Debug, Clone)]
struct Part {
    file: Arc<Text>,
    from: u64,
    to: u64,
}

/// Raw text: the files of a corpus, divided into windows of about [`WINDOW`] bytes. Only the window
/// that is read is in memory.
#[derive(Debug)]
pub struct Corpus {
    windows: Vec<Part>,
    /// The bytes that [`read`](Corpus::read) has read.
    read: AtomicU64,
}

/// The corpora of a data set.
#[derive(Debug)]
pub struct Corpora {
    /// What the model learns from.
    pub train: Corpus,
    /// What chooses the best model.
    pub dev: Option<Corpus>,
    /// What the final report is about.
    pub test: Option<Corpus>,
    /// Warnings about files that are not used.
    pub remarks: Vec<String>,
}

impl Corpora {
    /// Opens a data set of raw text: a folder with `train.txt` (or `train.txt.gz`, or files with
    /// rows) has its dev and test sets there too; any other folder, a file and `-` are the training
    /// text.
    ///
    /// # Errors
    /// As [`Corpus::open`]; [`Error::Data`] when two files are one set.
    pub fn open(path: impl AsRef<Path>) -> Result<Corpora> {
        Corpora::with_column(path, None)
    }

    /// As [`open`](Corpora::open); `column` (or JSON key) of files with rows has the text.
    ///
    /// # Errors
    /// As [`Corpora::open`].
    pub fn with_column(path: impl AsRef<Path>, column: Option<&str>) -> Result<Corpora> {
        let path = path.as_ref();
        let sets = if path.is_dir() { sets(path, column)? } else { None };
        let Some(Files { train, dev, test, remarks }) = sets else {
            let (files, remarks) = found(path, column)?;
            let train = Corpus::of(path, files, column)?;
            return Ok(Corpora { train, dev: None, test: None, remarks });
        };
        let open = |parts: Parts| Corpus::of(path, parts, column);
        let (dev, test) = (dev.map(open).transpose()?, test.map(open).transpose()?);
        Ok(Corpora { train: open(train)?, dev, test, remarks })
    }
}

/// The sets of a folder. Files of text go before files with rows, unless a column is named.
fn sets(path: &Path, column: Option<&str>) -> Result<Option<Files>> {
    if column.is_none()
        && let Some(files) = Files::of_folder(path, &["txt", "parquet"])?
    {
        return Ok(Some(files));
    }
    Files::of_folder(path, &[&["txt"][..], &rows::ENDINGS].concat())
}

/// The files of a folder without sets, or the one file; and warnings about files that are not used.
fn found(path: &Path, column: Option<&str>) -> Result<(Vec<PathBuf>, Vec<String>)> {
    if !path.is_dir() {
        return Ok((vec![path.to_path_buf()], Vec::new()));
    }
    let mut files = Vec::new();
    collect(path, &mut files)?;
    let is_text = |file: &PathBuf| ENDINGS.contains(&ending(file).as_str());
    if column.is_some() || !files.iter().any(is_text) {
        return Ok((files, Vec::new()));
    }
    let (files, others): (Vec<PathBuf>, Vec<PathBuf>) = files.into_iter().partition(is_text);
    let remark = |file: PathBuf| {
        let file = file.display();
        format!("{file} is not used, because the folder has text; name the column of its texts")
    };
    Ok((files, others.into_iter().map(remark).collect()))
}

impl Corpus {
    /// Opens a file, a folder with files (in subfolders too, in the order of their names), or
    /// standard input for `-`, which is copied to a temporary file.
    ///
    /// A file is text, or has rows with a text in the column `text`: `.csv`, `.tsv`, `.jsonl` and
    /// `.parquet`. A text of one line is a line of the corpus, a text of several is a document of
    /// its own. gzip may have packed a file (`.txt.gz`). Rows and packed text are written to a
    /// temporary file. In a folder, text is `.txt`, `.md` or `.parquet`; other files with rows are
    /// used where there is no such file.
    ///
    /// # Errors
    /// When a file cannot be read, or there is no text.
    pub fn open(path: impl AsRef<Path>) -> Result<Corpus> {
        Corpus::with_column(path, None)
    }

    /// As [`open`](Corpus::open); `column` (or JSON key) of files with rows has the text. In a folder
    /// all files are used.
    ///
    /// # Errors
    /// As [`Corpus::open`].
    pub fn with_column(path: impl AsRef<Path>, column: Option<&str>) -> Result<Corpus> {
        let path = path.as_ref();
        Corpus::of(path, found(path, column)?.0, column)
    }

    /// The text of these files, one after the other. `name` stands in errors.
    fn of(name: &Path, files: Vec<PathBuf>, column: Option<&str>) -> Result<Corpus> {
        let open = |file| Text::open(file, column.unwrap_or(COLUMN));
        let texts = files.into_iter().map(open).collect::<Result<Vec<Text>>>()?;
        Corpus::of_texts(name, texts)
    }

    /// Whether any of the text is from a file with rows.
    pub fn has_rows(&self) -> bool {
        self.windows.iter().any(|part| part.file.has_rows)
    }

    fn of_texts(name: &Path, texts: Vec<Text>) -> Result<Corpus> {
        let mut parts = Vec::new();
        for text in texts {
            let to = File::open(&text.path).and_then(|file| file.metadata());
            let to = to.map_err(|e| Error::io(&text.name, e))?.len();
            parts.push(Part { file: Arc::new(text), from: 0, to });
        }
        let corpus = Corpus { windows: divided(&parts)?, read: AtomicU64::new(0) };
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
        (0..self.windows()).map(|window| self.bytes_of(window)).sum()
    }

    /// The bytes of a window.
    ///
    /// # Panics
    /// If there is no such window.
    pub fn bytes_of(&self, window: usize) -> u64 {
        self.windows[window].to - self.windows[window].from
    }

    /// The bytes that were read so far, those of windows that were read again included.
    pub fn bytes_read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
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
        Ok(Some(Corpus { windows: taken, read: AtomicU64::new(0) }))
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
        let read = File::open(&file.path).and_then(|mut file| {
            file.seek(SeekFrom::Start(*from))?;
            file.read_exact(&mut bytes)
        });
        read.map_err(|e| Error::io(&file.name, e))?;
        self.read.fetch_add(to - from, Ordering::Relaxed);
        let text = String::from_utf8(bytes).map_err(|e| {
            let at = from + e.utf8_error().valid_up_to() as u64;
            let message = format!("invalid UTF-8 at byte {at}; save the file as UTF-8");
            Error::data(&file.name, None, message)
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

impl Text {
    /// The text of a file, unpacked where it is packed; `column` is that of rows.
    fn open(file: PathBuf, column: &str) -> Result<Text> {
        if file == Path::new("-") {
            return spooled(&file, |to| copied(&mut std::io::stdin().lock(), to, &file));
        }
        if rows::ENDINGS.contains(&ending(&file).as_str()) {
            let rows =
                spooled(&file, |to| rows::texts(&file, column, |text| write(to, text, &file)))?;
            return Ok(Text { has_rows: true, ..rows });
        }
        if is_gzip(&file) {
            let packed = File::open(&file).map_err(|e| Error::io(&file, e))?;
            return spooled(&file, |to| {
                let copied = std::io::copy(&mut MultiGzDecoder::new(packed), to);
                copied.map(drop).map_err(|e| not_gzip(&file, &e))
            });
        }
        Ok(Text { name: file.clone(), path: file, has_rows: false, _spooled: None })
    }
}

fn copied(from: &mut impl Read, to: &mut impl Write, name: &Path) -> Result<()> {
    std::io::copy(from, to).map(drop).map_err(|e| Error::io(name, e))
}

/// Writes the text of a row: as a line, or between empty lines where it has several.
fn write(to: &mut impl Write, text: &str, name: &Path) -> Result<()> {
    let text = text.trim_end_matches(['\r', '\n']);
    let written = match text.contains('\n') {
        true => writeln!(to, "\n{text}\n"),
        false => writeln!(to, "{text}"),
    };
    written.map_err(|e| Error::io(name, e))
}

/// What `write` writes, in a temporary file.
fn spooled(
    name: &Path,
    write: impl FnOnce(&mut BufWriter<&mut NamedTempFile>) -> Result<()>,
) -> Result<Text> {
    let io = |e| Error::io(name, e);
    let mut file = NamedTempFile::new().map_err(io)?;
    let mut buffer = BufWriter::new(&mut file);
    write(&mut buffer)?;
    buffer.flush().map_err(io)?;
    drop(buffer);
    let path = file.path().to_path_buf();
    Ok(Text { name: name.into(), path, has_rows: false, _spooled: Some(file) })
}

/// The files of a folder and its subfolders that may have text, in the order of their names.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries = std::fs::read_dir(folder).and_then(|entries| {
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<std::io::Result<Vec<_>>>()
    });
    let mut entries = entries.map_err(|e| Error::io(folder, e))?;
    entries.sort();
    for path in entries {
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            let ending = ending(&path);
            if [&ENDINGS[..], &rows::ENDINGS].concat().contains(&ending.as_str()) {
                files.push(path);
            }
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
fn cut(text: &Text, at: u64) -> Result<u64> {
    let mut near = Vec::with_capacity(REACH);
    let read = File::open(&text.path).and_then(|mut file| {
        file.seek(SeekFrom::Start(at.saturating_sub(1)))?;
        file.take(REACH as u64).read_to_end(&mut near)
    });
    read.map_err(|e| Error::io(&text.name, e))?;
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
    fn rows_become_lines_and_documents() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let write = |name: &str, content: &str| std::fs::write(path(name), content).unwrap();
        write("a.csv", "id,text\n1,one line\n2,\"two\nlines\"\n3,an end\n");
        write("b.jsonl", "{\"text\": \"more\\n\", \"body\": \"of b\"}\n");
        let of_rows = Corpus::open(folder.path()).unwrap();
        assert_eq!(all(&of_rows), "one line\n\ntwo\nlines\n\nan end\nmore\n");
        assert!(of_rows.has_rows());
        // A folder with text is text, unless a column is named.
        write("c.txt", "plain\n");
        let Corpora { train, remarks, .. } = Corpora::open(folder.path()).unwrap();
        assert!(all(&train) == "plain\n" && !train.has_rows());
        assert_eq!(remarks.len(), 2);
        assert!(remarks[0].contains("a.csv is not used"), "{remarks:?}");
        let told = Corpus::with_column(folder.path(), Some("body")).unwrap_err().to_string();
        assert!(told.contains("a.csv") && told.contains("no column `body`"), "{told}");
        std::fs::remove_file(path("a.csv")).unwrap();
        let named = Corpus::with_column(folder.path(), Some("body")).unwrap();
        assert_eq!(all(&named), "of b\nplain\n");
        // Sets of rows.
        write("train.tsv", "text\nof train\n");
        write("validation.jsonl", "{\"text\": \"of dev\"}\n");
        let Corpora { train, dev, test, .. } = Corpora::open(folder.path()).unwrap();
        assert_eq!((all(&train).as_str(), all(&dev.unwrap()).as_str()), ("of train\n", "of dev\n"));
        assert!(test.is_none());
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
        let mut small = Corpus::open(file.path()).unwrap();
        assert!(small.split_off(1 << 20).unwrap().is_none());
    }
}
