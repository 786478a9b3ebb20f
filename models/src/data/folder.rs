//! The files of a folder, and the set that each is.

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::ending::{Shard, ending, lower, stem};
use super::{Columns, Dataset, Format, Row, Split, read};
use crate::error::{Error, Result};

// Some are the names of SQuAD's files.
const TRAIN: [&str; 3] = ["train", "train-v1.1", "train-v2.0"];
const DEV: [&str; 7] = ["dev", "validation", "valid", "val", "eval", "dev-v1.1", "dev-v2.0"];
const TEST: [&str; 1] = ["test"];

/// A set of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Set {
    /// What a model learns from: `train`.
    Train,
    /// What chooses the best model: `dev`, `validation`, `valid`, `val` or `eval`.
    Dev,
    /// What the final numbers are about: `test`.
    Test,
}

impl Set {
    const ALL: [Set; 3] = [Set::Train, Set::Dev, Set::Test];

    /// The names that its files may have.
    fn names(self) -> &'static [&'static str] {
        match self {
            Set::Train => &TRAIN,
            Set::Dev => &DEV,
            Set::Test => &TEST,
        }
    }
}

impl FromStr for Set {
    type Err = Error;

    /// The set of a name that a file of it may have.
    fn from_str(name: &str) -> Result<Set> {
        Set::ALL.into_iter().find(|set| set.names().contains(&name)).ok_or_else(|| {
            Error::Input(format!(
                "`{name}` is no set; the sets are train, dev (or validation) and test"
            ))
        })
    }
}

/// The file of a set in the folder of a data set, or in its subfolder `data`. The set is `wanted`,
/// else the test set, else the dev set.
///
/// ```
/// use gradus_models::data::{Set, set_file};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let folder = tempfile::tempdir()?;
/// for name in ["train.csv", "validation.csv"] {
///     std::fs::write(folder.path().join(name), "text,label\n")?;
/// }
/// assert!(set_file(folder.path(), None)?.ends_with("validation.csv"));
/// assert!(set_file(folder.path(), Some(Set::Train))?.ends_with("train.csv"));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`Error::Data`] when there is no such file, or there are several.
pub fn set_file(folder: &Path, wanted: Option<Set>) -> Result<PathBuf> {
    let sets = wanted.map_or(vec![Set::Test, Set::Dev], |set| vec![set]);
    for place in [folder.to_path_buf(), folder.join("data")].iter().filter(|place| place.is_dir()) {
        let files = listing(place)?;
        for set in &sets {
            match parts_of(place, &files, set.names(), &ALL_ENDINGS)?.as_deref() {
                None => {}
                Some([file]) => return Ok(file.clone()),
                Some(parts) => {
                    let name = set.names()[0];
                    let message =
                        format!("the set {name} has {} files; name one of them", parts.len());
                    return Err(Error::data(place, None, message));
                }
            }
        }
    }
    let names: Vec<&str> = sets.iter().map(|set| set.names()[0]).collect();
    let (names, found) = (names.join(" or "), names_of(folder)?);
    Err(Error::data(folder, None, format!("no {names} set; found {found}")))
}

/// The endings of data files of every task.
const ALL_ENDINGS: [&str; 10] =
    ["csv", "tsv", "jsonl", "parquet", "conll", "iob", "bio", "json", "txt", "md"];

/// The set that a file is, by its name.
#[cfg_attr(not(feature = "hub"), allow(dead_code))]
pub(crate) fn set_of(path: &Path) -> Option<Set> {
    let sharded = Shard::of(path).filter(|_| ending(path) == SHARDED);
    let name = sharded.map_or_else(|| stem(path), |shard| shard.set);
    Set::ALL.into_iter().find(|set| set.names().contains(&name.as_str()))
}

/// The ending of files of which a set may have several.
const SHARDED: &str = "parquet";

/// The files of a set: one, or its shards in their order.
pub(super) type Parts = Vec<PathBuf>;

/// The files of a data set.
pub(super) struct Files {
    pub train: Parts,
    pub dev: Option<Parts>,
    pub test: Option<Parts>,
    /// Warnings about files that are not used.
    pub remarks: Vec<String>,
}

impl Files {
    /// The files of a folder, or of its subfolder `data`, with one of these endings; or one file as
    /// the training set.
    pub fn find(path: &Path, endings: &[&str]) -> Result<Files> {
        let kind = fs::metadata(path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => {
                Error::data(path, None, "no such file or folder; check the path")
            }
            _ => Error::io(path, e),
        })?;
        if !kind.is_dir() {
            let (train, remarks) = (vec![path.to_path_buf()], Vec::new());
            return Ok(Files { train, dev: None, test: None, remarks });
        }
        if let Some(found) = Files::of_folder(path, endings)? {
            return Ok(found);
        }
        let expected: Vec<String> = endings.iter().map(|e| format!("train.{e}")).collect();
        let (expected, found) = (expected.join(", "), names_of(path)?);
        let message = format!("no training set: expected {expected}; found {found}");
        Err(Error::data(path, None, message))
    }

    /// The files of a folder, or of its subfolder `data`; `None` where neither has a training set.
    pub fn of_folder(path: &Path, endings: &[&str]) -> Result<Option<Files>> {
        let below = path.join("data");
        match Files::within(path, endings)? {
            None if below.is_dir() => Files::within(&below, endings),
            found => Ok(found),
        }
    }

    /// The files of a folder; `None` where it has no training set.
    fn within(path: &Path, endings: &[&str]) -> Result<Option<Files>> {
        let files = listing(path)?;
        let of = |names: &[&str]| parts_of(path, &files, names, endings);
        let Some(train) = of(&TRAIN)? else { return Ok(None) };
        let (dev, test) = (of(&DEV)?, of(&TEST)?);
        let used: Vec<&PathBuf> =
            [Some(&train), dev.as_ref(), test.as_ref()].into_iter().flatten().flatten().collect();
        let listed: Vec<String> = endings.iter().map(|ending| format!(".{ending}")).collect();
        let remarks = files
            .iter()
            .filter(|file| !used.contains(file) && looks_like_data(file, endings))
            .map(|file| {
                format!(
                    "{} is not used; the sets are train.*, dev.* (or validation, valid, val, eval) and test.*, each {}",
                    file.display(),
                    listed.join(", ")
                )
            })
            .collect();
        Ok(Some(Files { train, dev, test, remarks }))
    }
}

impl<E: Row> Split<E> {
    /// The examples of all files of a set, each read by `read`. Rows are counted through all of
    /// them.
    pub(super) fn of_parts(
        parts: &Parts,
        read: impl Fn(&Path) -> Result<Split<E>>,
    ) -> Result<Split<E>> {
        let (Some(first), true) = (parts.first(), parts.len() > 1) else {
            return read(parts.first().map_or(Path::new(""), PathBuf::as_path));
        };
        let mut examples = Vec::new();
        for part in parts {
            let (rows, mut read) = (examples.len() as u64, read(part)?.examples);
            read.iter_mut().for_each(|example| example.shift(rows));
            examples.append(&mut read);
        }
        Ok(Split { path: pattern(first), examples })
    }
}

/// The name that the shards of a set share: `train-*-of-00002.parquet`.
fn pattern(first: &Path) -> PathBuf {
    let name = file_name(first);
    let of = name.rfind("-of-").unwrap_or(name.len());
    let number = name.get(..of).and_then(|before| before.rfind('-')).unwrap_or(0);
    first.with_file_name(format!("{}-*{}", &name[..number], &name[of..]))
}

/// Reads a folder, or one file as the training set.
pub(super) fn open(path: &Path, columns: &Columns) -> Result<Dataset> {
    let Files { train, dev, test, mut remarks } = Files::find(path, &Format::ENDINGS)?;
    let read = |parts: Parts| Split::of_parts(&parts, |file| Split::read(file, columns));
    let (train, dev) = (read(train)?, dev.map(read).transpose()?);
    let test = match test {
        Some(parts) => labelled(&parts, columns, &train, &mut remarks)?,
        None => None,
    };
    Ok(Dataset { train, dev, test, remarks })
}

/// Reads a folder, or one file as the training set. A file without the label column has no labels.
pub(super) fn open_partly(path: &Path, columns: &Columns) -> Result<Dataset> {
    let Files { train, dev, test, remarks } = Files::find(path, &Format::ENDINGS)?;
    let part = |file: &Path| {
        let label = match &columns.label {
            Some(name) if Format::of(file)? != Format::Text => {
                read::has_column(file, columns, name)?.then(|| name.clone())
            }
            _ => None,
        };
        Split::read(file, &Columns { label, ..columns.clone() })
    };
    let read = |parts: Parts| Split::of_parts(&parts, part);
    Ok(Dataset {
        train: read(train)?,
        dev: dev.map(read).transpose()?,
        test: test.map(read).transpose()?,
        remarks,
    })
}

/// The test set; if it has no labels, a remark says that it is not used.
fn labelled(
    parts: &Parts,
    columns: &Columns,
    train: &Split,
    remarks: &mut Vec<String>,
) -> Result<Option<Split>> {
    let read = || Split::of_parts(parts, |file| Split::read(file, columns));
    let Some(name) = &columns.label else { return read().map(Some) };
    for file in parts {
        if Format::of(file)? != Format::Text && !read::has_column(file, columns, name)? {
            let path = file.display();
            let why = format!("{path} has no column `{name}`, so it is not used: there is no test");
            remarks.push(why);
            return Ok(None);
        }
    }
    let split = read()?;
    let path = split.path.display();
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

/// The file of a set, which may have any of `names`, or its shards.
fn parts_of(
    folder: &Path,
    files: &[PathBuf],
    names: &[&str],
    endings: &[&str],
) -> Result<Option<Parts>> {
    let known = |file: &&PathBuf| endings.contains(&ending(file).as_str()) && file.is_file();
    let whole = |file: &&PathBuf| names.contains(&stem(file).as_str());
    let found: Vec<&PathBuf> = files.iter().filter(known).filter(whole).collect();
    let shards: Vec<(Shard, &PathBuf)> = files
        .iter()
        .filter(|file| known(file) && ending(file) == SHARDED)
        .filter_map(|file| Some((Shard::of(file)?, file)))
        .filter(|(shard, _)| names.contains(&shard.set.as_str()))
        .collect();
    let shard = shards.first().map(|(_, file)| *file);
    let both = [found.first().copied(), found.get(1).copied().or(shard)];
    if let [Some(first), Some(second)] = both {
        let (first, second) = (file_name(first), file_name(second));
        let message = format!("both {first} and {second} exist; keep one, or pass the file itself");
        return Err(Error::data(folder, None, message));
    }
    match found.first() {
        Some(file) => Ok(Some(vec![(*file).clone()])),
        None => in_order(folder, shards),
    }
}

/// The shards of a set in their order; `None` where there are none.
fn in_order(folder: &Path, mut shards: Vec<(Shard, &PathBuf)>) -> Result<Option<Parts>> {
    shards.sort_by_key(|(shard, _)| shard.number);
    let Some((Shard { set, count, .. }, _)) = shards.first() else { return Ok(None) };
    if let Some((other, file)) =
        shards.iter().find(|(shard, _)| shard.count != *count || shard.set != *set)
    {
        let file = file_name(file);
        let message = format!(
            "{file} is of {} shards of `{}`, and others are of {count} of `{set}`: they are not \
             of one data set; keep one of them",
            other.count, other.set
        );
        return Err(Error::data(folder, None, message));
    }
    let numbers = shards.iter().map(|(shard, _)| shard.number);
    let missing = (0..*count).zip(numbers.map(Some).chain(std::iter::repeat(None)));
    if let Some((number, _)) =
        missing.into_iter().find(|(expected, found)| *found != Some(*expected))
    {
        let message = format!(
            "the set `{set}` has {count} shards, and shard {number} is missing (or there twice)"
        );
        return Err(Error::data(folder, None, message));
    }
    Ok(Some(shards.into_iter().map(|(_, file)| file.clone()).collect()))
}

/// Whether a person may expect that a file is read: it has the ending or the name of a set.
fn looks_like_data(file: &Path, endings: &[&str]) -> bool {
    let name = lower(file.file_name());
    let stem = name.split('.').next().unwrap_or_default();
    let set = [&TRAIN[..], &DEV, &TEST].concat();
    let ending = ending(file);
    // A text may be about the data.
    (ending != "txt" && endings.contains(&ending.as_str())) || set.contains(&stem)
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// What a folder holds, for an error message.
fn names_of(folder: &Path) -> Result<String> {
    let mut names: Vec<String> = listing(folder)?.iter().map(|file| file_name(file)).collect();
    if names.len() > 12 {
        let more = names.len() - 12;
        names.truncate(12);
        names.push(format!("and {more} more"));
    }
    Ok(match names.is_empty() {
        true => "nothing".into(),
        false => names.join(", "),
    })
}
