//! The texts of a file with rows, a part of which is in memory at a time.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use serde_json::Value;

use super::ending::is_gzip;
use super::read::{Source, key, kind, not_gzip};
use super::{Columns, Format, parquet};
use crate::error::{Error, Result};

/// The bytes of a part, which ends with a row.
const PART: usize = 1 << 20;

/// The endings of files with rows.
pub(super) const ENDINGS: [&str; 4] = ["csv", "tsv", "jsonl", "parquet"];

/// Calls `each` with the text of every row of a file, in the column or under the key `column`.
///
/// # Errors
/// When the file cannot be read, a row is malformed or has no text, or `each` fails.
pub(super) fn texts(
    path: &Path,
    column: &str,
    mut each: impl FnMut(&str) -> Result<()>,
) -> Result<()> {
    let format = Format::of(path)?;
    if format == Format::Parquet {
        for row in parquet::Rows::of_file(path)? {
            let (row, object) = row?;
            match key(path, row, &object, column)? {
                Value::String(text) => each(text)?,
                other => {
                    let message = format!("`{column}` is {}, not a string", kind(other));
                    return Err(Error::data(path, row, message));
                }
            }
        }
        return Ok(());
    }
    let columns = Columns { text: column.into(), ..Columns::text_only() };
    let mut parts = Parts::open(path, format)?;
    while let Some((before, bytes)) = parts.next(PART)? {
        let source = Source::part(path, &bytes, &columns, before)?;
        source.examples(format, false)?.iter().try_for_each(|example| each(&example.text))?;
    }
    Ok(())
}

/// A file, cut where rows end. Every part begins with the header, where the format has one.
struct Parts<'a> {
    path: &'a Path,
    reader: Box<dyn BufRead>,
    format: Format,
    header: Vec<u8>,
    /// The lines that were read.
    lines: u64,
}

impl<'a> Parts<'a> {
    fn open(path: &'a Path, format: Format) -> Result<Parts<'a>> {
        let file = File::open(path).map_err(|e| Error::io(path, e))?;
        let reader: Box<dyn Read> = match is_gzip(path) {
            true => Box::new(MultiGzDecoder::new(file)),
            false => Box::new(file),
        };
        let reader = Box::new(BufReader::new(reader));
        let mut parts = Parts { path, reader, format, header: Vec::new(), lines: 0 };
        // The header is the first row that is not blank.
        while format != Format::Jsonl && parts.header.trim_ascii().is_empty() {
            let header = parts.rows(1)?;
            if header.is_empty() {
                break;
            }
            parts.header.extend(header);
        }
        Ok(parts)
    }

    /// The next rows, of at least `least` bytes unless the file ends.
    fn rows(&mut self, least: usize) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        // In a row that has ended, every quote is closed.
        let mut within_quotes = false;
        while bytes.len() < least || within_quotes {
            let from = bytes.len();
            let read = self.reader.read_until(b'\n', &mut bytes);
            let read = read.map_err(|e| match is_gzip(self.path) {
                true => not_gzip(self.path, &e),
                false => Error::io(self.path, e),
            });
            if read? == 0 {
                break;
            }
            self.lines += 1;
            let quotes = bytes[from..].iter().filter(|&&byte| byte == b'"').count();
            within_quotes ^= self.format == Format::Csv && quotes % 2 == 1;
        }
        Ok(bytes)
    }

    /// The next part, and the number of lines of the file before it, without its header's.
    fn next(&mut self, least: usize) -> Result<Option<(u64, Vec<u8>)>> {
        let before = self.lines - lines(&self.header);
        let rows = self.rows(least)?;
        Ok((!rows.is_empty()).then(|| (before, [self.header.as_slice(), &rows].concat())))
    }
}

fn lines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|&&byte| byte == b'\n').count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The texts of a file with this name and content.
    fn read(name: &str, content: &str, column: &str) -> Result<Vec<String>> {
        let folder = tempfile::tempdir().unwrap();
        let (path, mut found) = (folder.path().join(name), Vec::new());
        std::fs::write(&path, content).unwrap();
        texts(&path, column, |text| {
            found.push(text.to_string());
            Ok(())
        })?;
        Ok(found)
    }

    #[test]
    fn files_of_several_parts_are_read_like_one() {
        let wanted: Vec<String> = (0..40_000)
            .map(|i| format!("row {i}, with \"some\" words\nand a second line"))
            .collect();
        let csv = |text: &String| format!("1,\"{}\"\r\n", text.replace('"', "\"\""));
        let csv: String = wanted.iter().map(csv).collect();
        let csv = format!("\n\"an\nid\",\"body\"\n{csv}");
        assert!(csv.len() > 2 * PART);
        assert!(read("a.csv", &csv, "body").unwrap() == wanted);
        let jsonl = |text: &String| format!("{}\n\n", serde_json::json!({ "body": text }));
        let jsonl: String = wanted.iter().map(jsonl).collect();
        assert!(read("a.jsonl", &jsonl, "body").unwrap() == wanted);
        let wanted: Vec<String> = wanted.iter().map(|text| text.replace('\n', " ")).collect();
        let tsv: String = wanted.iter().map(|text| format!("{text}\t2\n")).collect();
        assert!(read("a.tsv", &format!("body\tid\n{tsv}"), "body").unwrap() == wanted);
    }

    #[test]
    fn errors_name_the_line_of_the_file() {
        let rows = "\"a text\nof two lines\",1\n".repeat(PART / 10);
        let line = 1 + 2 * (PART as u64 / 10) + 1;
        let of = |content: String, name: &str| match read(name, &content, "text") {
            Err(Error::Data { line, message, .. }) => (line, message),
            other => panic!("{:?}", other.map(|texts| texts.len())),
        };
        let wide = of(format!("text,id\n{rows}one,two,three\n"), "a.csv");
        assert_eq!(wide.0, Some(line), "{}", wide.1);
        let stray = of(format!("text,id\n{rows}a,\"b\" c\nd,e\n"), "a.csv");
        assert_eq!(stray.0, Some(line), "{}", stray.1);
        let open = of(format!("text,id\n{rows}a,\"b\nd,e\n"), "a.csv");
        assert!(open.1.contains("never closes"), "{}", open.1);
        assert_eq!(open.0, Some(line));
        let object = "{\"text\": \"a text\"}\n".repeat(PART / 10);
        let bad = of(format!("{object}{{\"txt\": 1}}\n"), "a.jsonl");
        assert_eq!(bad.0, Some(PART as u64 / 10 + 1));
        assert!(bad.1.contains("no key `text`; the keys are: txt"), "{}", bad.1);
        let none = of("body,id\na,1\n".into(), "a.csv");
        assert!(none.0 == Some(1) && none.1.contains("no column `text`"), "{}", none.1);
    }

    #[test]
    fn a_file_without_rows_has_no_texts() {
        for (name, content) in
            [("a.csv", "text"), ("a.csv", "text,id\n"), ("a.jsonl", ""), ("a.tsv", "\n")]
        {
            assert!(read(name, content, "text").unwrap().is_empty(), "{name}: {content:?}");
        }
    }
}
