//! What the names of data files tell.

use std::path::Path;

/// The ending of files that gzip has packed.
const GZIP: &str = "gz";

/// The ending of a file's name in lower case, without the dot. The `.gz` of a packed file does not
/// count: `train.CSV.gz` ends in `csv`.
pub fn ending(path: &Path) -> String {
    lower(unpacked(path).extension())
}

/// The name of a file in lower case, without its ending.
pub(super) fn stem(path: &Path) -> String {
    lower(unpacked(path).file_stem())
}

/// Whether gzip has packed a file.
pub(super) fn is_gzip(path: &Path) -> bool {
    lower(path.extension()) == GZIP
}

/// The name of a file without `.gz`.
fn unpacked(path: &Path) -> &Path {
    match is_gzip(path) {
        true => path.file_stem().map_or(path, Path::new),
        false => path,
    }
}

pub(super) fn lower(name: Option<&std::ffi::OsStr>) -> String {
    name.unwrap_or_default().to_string_lossy().to_lowercase()
}

/// The place of a file in a set of several: `train-00001-of-00003.parquet` is shard 1 of the 3 of
/// `train`.
pub(super) struct Shard {
    pub set: String,
    pub number: usize,
    pub count: usize,
}

impl Shard {
    /// What the name of a file tells; `None` where it is not the name of a shard.
    pub fn of(path: &Path) -> Option<Shard> {
        let stem = stem(path);
        let (rest, count) = stem.rsplit_once("-of-")?;
        let (set, number) = rest.rsplit_once('-')?;
        Some(Shard { set: set.into(), number: number.parse().ok()?, count: count.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_the_form_and_the_set() {
        for (name, form, set) in [
            ("a/train.csv", "csv", "train"),
            ("Train.CSV.GZ", "csv", "train"),
            ("train.gz", "", "train"),
            ("train-v1.1.json", "json", "train-v1.1"),
            ("train", "", "train"),
        ] {
            let path = Path::new(name);
            assert_eq!((ending(path).as_str(), stem(path).as_str()), (form, set), "{name}");
        }
        let shard = Shard::of(Path::new("data/validation-00001-of-00003.parquet")).unwrap();
        assert_eq!((shard.set.as_str(), shard.number, shard.count), ("validation", 1, 3));
        for name in ["train.parquet", "train-of-3.parquet", "train-a-of-3.parquet"] {
            assert!(Shard::of(Path::new(name)).is_none(), "{name}");
        }
    }
}
