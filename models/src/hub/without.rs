//! Stands in the place of `model.rs` and `data.rs` in a build without the feature `hub`.

use std::path::PathBuf;

use crate::error::{Error, Result};

const LACKING: &str = "this build of Gradus cannot fetch anything from the hub, because it lacks \
                       the feature `hub`; build it with the feature, or pass a folder";

/// A model cannot be fetched.
pub(super) fn model(model: &str, mistyped: Option<String>) -> Result<(PathBuf, Vec<String>)> {
    let message = mistyped.unwrap_or_else(|| format!("no folder of that name, and {LACKING}"));
    Err(Error::hub(model, message))
}

/// A data set cannot be fetched.
pub(super) fn data(name: &str) -> Result<(PathBuf, Vec<String>)> {
    Err(Error::hub(name, LACKING))
}
