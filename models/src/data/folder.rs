//! The files of a folder, and the set that each is.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Columns, Dataset, Format, Split, read};
use crate::error::{Error, Result};

// Some are the names of SQuAD's files.
const TRAIN: [&str; 3] = ["train", "train-v1.1", "train-v2.0"];
const DEV: [&str; 7] = ["dev", "validation", "valid", "val", "eval", "dev-v1.1", "dev-v2.0"];
const TEST: [&str; 1] = ["test"];

/// The files of a data set.
pub(super) struct Files {
    pub train: PathBuf,
    pub dev: Option<PathBuf>,
    pub test: Option<PathBuf>,
    /// Warnings about files that are not used.
    pub remarks: Vec<String>,
}

impl Files {
    /// The files of a folder with one of these endings, or one file as the training set.
    pub fn find(path: &Path, endings: &[&str]) -> Result<Files> {
        let kind = fs::metadata(path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => {
                Error::data(path, None, "no such file or folder; check the path")
            }
            _ => Error::io(path, e),
        })?;
        if !kind.is_dir() {
            let (train, remarks) = (path.to_path_buf(), Vec::new());
            return Ok(Files { train, dev: None, test: None, remarks });
        }
        let files = listing(path)?;
        let of = |names: &[&str]| one_of(path, &files, names, endings).map(|file| file.cloned());
        let train = of(&TRAIN)?.ok_or_else(|| {
            let expected: Vec<String> = endings.iter().map(|e| format!("train.{e}")).collect();
            let expected = expected.join(", ");
            let message = format!("no training set: expected {expected}; found {}", names(&files));
            Error::data(path, None, message)
        })?;
        let (dev, test) = (of(&DEV)?, of(&TEST)?);
        let used = [Some(&train), dev.as_ref(), test.as_ref()];
        let listed: Vec<String> = endings.iter().map(|ending| format!(".{ending}")).collect();
        let remarks = files
            .iter()
            .filter(|file| !used.contains(&Some(*file)) && looks_like_data(file, endings))
            .map(|file| {
                format!(
                    "{} is not used; the sets are train.*, dev.* (or validation, valid, val, eval) and test.*, each {}",
                    file.display(),
                    listed.join(", ")
                )
            })
            .collect();
        Ok(Files { train, dev, test, remarks })
    }
}

/// Reads a folder, or one file as the training set.
pub(super) fn open(path: &Path, columns: &Columns) -> Result<Dataset> {
    let Files { train, dev, test, mut remarks } = Files::find(path, &Format::ENDINGS)?;
    let read = |file: PathBuf| Split::read(file, columns);
    let (train, dev) = (read(train)?, dev.map(read).transpose()?);
    let test = match test {
        Some(file) => labelled(&file, columns, &train, &mut remarks)?,
        None => None,
    };
    Ok(Dataset { train, dev, test, remarks })
}

/// Reads a folder, or one file as the training set. A file without the label column has no labels.
pub(super) fn open_partly(path: &Path, columns: &Columns) -> Result<Dataset> {
    let Files { train, dev, test, remarks } = Files::find(path, &Format::ENDINGS)?;
    let read = |file: PathBuf| {
        let label = match &columns.label {
            Some(name) if Format::of(&file)? != Format::Text => {
                read::has_column(&file, columns, name)?.then(|| name.clone())
            }
            _ => None,
        };
        Split::read(file, &Columns { label, ..columns.clone() })
    };
    Ok(Dataset {
        train: read(train)?,
        dev: dev.map(read).transpose()?,
        test: test.map(read).transpose()?,
        remarks,
    })
}

/// The test set; if it has no labels, a remark says that it is not used.
fn labelled(
    file: &Path,
    columns: &Columns,
    train: &Split,
    remarks: &mut Vec<String>,
) -> Result<Option<Split>> {
    let Some(name) = &columns.label else { return Split::read(file, columns).map(Some) };
    let path = file.display();
    if Format::of(file)? != Format::Text && !read::has_column(file, columns, name)? {
        remarks.push(format!("{path} has no column `{name}`, so it is not used: there is no test"));
        return Ok(None);
    }
    let split = Split::read(file, columns)?;
    // GLUE's test sets have -1 everywhere.
    let filler = split.examples.first().and_then(|first| first.label.clone());
    let filled = split.examples.iter().all(|example| example.label == filler);
    if filled && split.examples.len() > 1 && train.examples.iter().all(|e| e.label != filler) {
        let label = filler.unwrap_or_default();
        remarks.push(format!(
            "every text of {path} has the label `{label}`, and the training set has no such \
             label, so the file is not used: there is no test"
        ));
        return Ok(None);
    }
    Ok(Some(split))
}

/// The files and folders in a folder, sorted.
fn listing(path: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(path).map_err(|e| Error::io(path, e))?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.sort();
    Ok(files)
}

/// The one file of a set, which may have any of `names`.
fn one_of<'a>(
    folder: &Path,
    files: &'a [PathBuf],
    names: &[&str],
    endings: &[&str],
) -> Result<Option<&'a PathBuf>> {
    let mut found = files.iter().filter(|file| {
        let known = endings.contains(&lower(file.extension()).as_str());
        known && names.contains(&lower(file.file_stem()).as_str()) && file.is_file()
    });
    let first = found.next();
    match (first, found.next()) {
        (Some(first), Some(second)) => Err(Error::data(
            folder,
            None,
            format!(
                "both {} and {} exist; keep one, or pass the file itself",
                file_name(first),
                file_name(second)
            ),
        )),
        _ => Ok(first),
    }
}

/// Whether a person may expect that a file is read: it has the ending or the name of a set.
fn looks_like_data(file: &Path, endings: &[&str]) -> bool {
    let name = lower(file.file_name());
    let stem = name.split('.').next().unwrap_or_default();
    let set = [&TRAIN[..], &DEV, &TEST].concat();
    let ending = lower(file.extension());
    // A text may be about the data.
    (ending != "txt" && endings.contains(&ending.as_str())) || set.contains(&stem)
}

fn lower(name: Option<&std::ffi::OsStr>) -> String {
    name.unwrap_or_default().to_string_lossy().to_lowercase()
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// What a folder holds, for an error message.
fn names(files: &[PathBuf]) -> String {
    let mut names: Vec<String> = files.iter().map(|file| file_name(file)).collect();
    if names.len() > 12 {
        let more = names.len() - 12;
        names.truncate(12);
        names.push(format!("and {more} more"));
    }
    match names.is_empty() {
        true => "nothing".into(),
        false => names.join(", "),
    }
}
