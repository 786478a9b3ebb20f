//! Stands in the place of `parquet.rs` in a build without the feature `parquet`.

use std::convert::Infallible;
use std::path::Path;

use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// The rows of a file: there are none.
pub(super) struct Rows(Infallible);

impl Rows {
    pub fn of_bytes(path: &Path, _: Vec<u8>) -> Result<Rows> {
        Err(lacking(path))
    }

    pub fn of_file(path: &Path) -> Result<Rows> {
        Err(lacking(path))
    }
}

impl Iterator for Rows {
    type Item = Result<(u64, Map<String, Value>)>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.0 {}
    }
}

pub(super) fn has_column(path: &Path, _: Vec<u8>, _: &str) -> Result<bool> {
    Err(lacking(path))
}

fn lacking(path: &Path) -> Error {
    let message = "this build of Gradus reads no Parquet files, because it lacks the feature \
                   `parquet`; build it with the feature, or write the file as .jsonl";
    Error::data(path, None, message)
}
