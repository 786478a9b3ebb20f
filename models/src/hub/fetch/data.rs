//! Data sets of the hub.

use std::fs;
use std::path::{Path, PathBuf};

use hf_hub::{Repo, RepoType};

use super::super::is_hub_id;
use super::{Hub, status};
use crate::data::{Set, set_of};
use crate::error::{Error, Result};

/// The branch that is meant where no revision is named.
const MAIN: &str = "main";

/// Forms of data, by the endings of files, the one to be taken first.
const FORMS: [&str; 9] = ["parquet", "jsonl", "csv", "tsv", "conll", "iob", "bio", "json", "txt"];

/// The folder of a data set, with its files fetched where the cache lacks them, and notes.
pub(in super::super) fn data(name: &str) -> Result<(PathBuf, Vec<String>)> {
    Hub::from_env(name)?.data(name)
}

/// What a name says: `owner/name/folder@revision`.
struct Named<'a> {
    id: String,
    folder: Option<&'a str>,
    revision: &'a str,
}

impl<'a> Named<'a> {
    fn of(name: &'a str) -> Result<Named<'a>> {
        let (path, revision) = name.split_once('@').unwrap_or((name, MAIN));
        let mut parts = path.splitn(3, '/');
        let id: Vec<&str> = parts.by_ref().take(2).collect();
        let (id, folder) = (id.join("/"), parts.next().map(|folder| folder.trim_end_matches('/')));
        let strange = |part: &str| part.split('/').any(|part| matches!(part, "" | "." | ".."));
        if !is_hub_id(&id) || strange(revision) || folder.is_some_and(strange) {
            let message = "no name of a data set of the hub; write hub:owner/name, perhaps with a \
                           folder and a revision: hub:owner/name/folder@revision";
            return Err(Error::hub(name, message));
        }
        Ok(Named { id, folder, revision })
    }

    fn at(&self, revision: &str) -> Repo {
        Repo::with_revision(self.id.clone(), RepoType::Dataset, revision.into())
    }
}

impl Hub {
    /// The folder of a data set, and notes.
    pub fn data(&self, name: &str) -> Result<(PathBuf, Vec<String>)> {
        let named = Named::of(name)?;
        let Some(api) = &self.api else { return self.cached_data(name, &named, None) };
        let info = match api.repo(named.at(named.revision)).info() {
            Ok(info) => info,
            Err(error) => match status(&error) {
                Some(status) => return Err(Error::hub(name, refused(status))),
                None => return self.cached_data(name, &named, Some(error.to_string())),
            },
        };
        let files: Vec<String> = info.siblings.into_iter().map(|file| file.rfilename).collect();
        let chosen = Chosen::of(&files, named.folder).map_err(|why| Error::hub(name, why))?;
        // The commit, so that all files are of one revision.
        let snapshot = self.cache.repo(named.at(&info.sha)).pointer_path(&info.sha);
        let repo = api.repo(named.at(&info.sha));
        for file in chosen.files.iter().filter(|file| !snapshot.join(file).exists()) {
            let got = repo.get(file);
            got.map_err(|e| Error::hub(name, format!("{file}: {e}; try again later")))?;
        }
        // For the next time without a network. Failing to note it costs only that.
        let _ = self.cache.repo(named.at(named.revision)).create_ref(&info.sha);
        Ok((snapshot.join(chosen.folder), Vec::new()))
    }

    /// The data set as it is in the cache; `trouble` is why the hub was not asked.
    fn cached_data(
        &self,
        name: &str,
        named: &Named,
        trouble: Option<String>,
    ) -> Result<(PathBuf, Vec<String>)> {
        let why = trouble.as_deref().unwrap_or("HF_HUB_OFFLINE is set");
        let repo = named.at(named.revision);
        let refs = self.cache.path().join(repo.folder_name()).join("refs").join(named.revision);
        let commit = fs::read_to_string(refs);
        let commit = commit.unwrap_or_else(|_| named.revision.into());
        let snapshot = self.cache.repo(repo).pointer_path(commit.trim());
        let mut files = Vec::new();
        collect(&snapshot, Path::new(""), &mut files);
        if files.is_empty() {
            let message = format!(
                "the data set is not in the cache, and the hub cannot be asked ({why}); open it \
                 once with a network, or pass a folder with its files"
            );
            return Err(Error::hub(name, message));
        }
        let chosen = Chosen::of(&files, named.folder);
        let chosen = chosen.map_err(|message| {
            Error::hub(name, format!("{message} (in the cache; the hub cannot be asked: {why})"))
        })?;
        let note = format!(
            "hub:{name} is taken from the cache ({}), because the hub cannot be asked: {why}",
            chosen.files.join(", ")
        );
        Ok((snapshot.join(chosen.folder), vec![note]))
    }
}

/// The error of a request that the hub refuses.
fn refused(status: u16) -> String {
    match status {
        401 | 403 | 404 => format!(
            "the hub has no such data set or revision, or it is private (set HF_TOKEN) (status \
             {status}); check the name"
        ),
        status => {
            format!("the hub answers with status {status}; try again later, or pass a folder")
        }
    }
}

/// The names of all files below a folder.
fn collect(root: &Path, within: &Path, files: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(root.join(within)) else { return };
    for entry in entries.flatten() {
        let name = within.join(entry.file_name());
        match root.join(&name).is_dir() {
            true => collect(root, &name, files),
            false => files.push(name.to_string_lossy().into_owned()),
        }
    }
    files.sort();
}

/// The files of a data set that are its sets.
struct Chosen {
    folder: PathBuf,
    files: Vec<String>,
}

impl Chosen {
    /// Chooses a folder with a training set among the files of a data set. `wanted` is a folder, or a
    /// folder within `data`.
    ///
    /// # Errors
    /// Where there is none, or it is not clear which is meant.
    fn of(files: &[String], wanted: Option<&str>) -> Result<Chosen, String> {
        let is_train = |file: &&String| form(file, Set::Train).is_some();
        let mut folders: Vec<&Path> = files.iter().filter(is_train).map(|f| folder_of(f)).collect();
        folders.sort();
        folders.dedup();
        let first = |places: &[PathBuf]| {
            let found = places.iter().find(|place| folders.contains(&place.as_path()));
            found.cloned()
        };
        let folder = match wanted {
            Some(wanted) => {
                let wanted = Path::new(wanted);
                first(&[wanted.into(), wanted.join("data"), Path::new("data").join(wanted)])
            }
            None => first(&["".into(), "data".into()]).or(match folders.as_slice() {
                [only] => Some(only.to_path_buf()),
                _ => None,
            }),
        };
        let folder = folder.ok_or_else(|| unclear(files, &folders, wanted))?;
        let sets = [Set::Train, Set::Dev, Set::Test].into_iter();
        let files = sets.flat_map(|set| of_set(files, &folder, set)).collect();
        Ok(Chosen { folder, files })
    }
}

fn folder_of(file: &str) -> &Path {
    Path::new(file).parent().unwrap_or(Path::new(""))
}

/// The place of a file's form in [`FORMS`], if the file is one of `set`.
fn form(file: &str, set: Set) -> Option<usize> {
    let path = Path::new(file);
    let ending = crate::data::ending(path);
    FORMS.iter().position(|form| *form == ending).filter(|_| set_of(path) == Some(set))
}

/// The files of a set in a folder, all of one form.
fn of_set(files: &[String], folder: &Path, set: Set) -> Vec<String> {
    let here = || files.iter().filter(|file| folder_of(file) == folder);
    let best = here().filter_map(|file| form(file, set)).min();
    here().filter(|file| best.is_some() && form(file, set) == best).cloned().collect()
}

/// The error of a data set whose folder is not clear.
fn unclear(files: &[String], folders: &[&Path], wanted: Option<&str>) -> String {
    let names = |names: Vec<String>| match names.len() {
        0 => "none".to_string(),
        n if n > 12 => format!("{} and {} more", names[..12].join(", "), n - 12),
        _ => names.join(", "),
    };
    let folders = folders.iter().map(|folder| folder.display().to_string()).collect();
    match wanted {
        Some(wanted) => {
            format!("no training set in a folder `{wanted}`; folders with one: {}", names(folders))
        }
        None if folders.is_empty() => format!(
            "no training set that Gradus reads (train.parquet, .jsonl, .csv, …); its files: {}",
            names(files.to_vec())
        ),
        None => format!(
            "several folders have a training set: {}; name one after the data set: \
             hub:owner/name/folder",
            names(folders)
        ),
    }
}
