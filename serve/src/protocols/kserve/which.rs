//! The model of a path, and its version.

use std::sync::Arc;

use serde::Deserialize;

use crate::error::Result;
use crate::registry::{Registry, Version};
use crate::served::Served;

/// The model of a path, and its version if it has one.
#[derive(Deserialize)]
pub struct Which {
    /// The model's name.
    pub model: String,
    /// The version's number.
    pub version: Option<String>,
}

impl Which {
    /// The version of the model.
    ///
    /// # Errors
    /// When there is none.
    pub fn find(&self, models: &Registry) -> Result<Arc<Served>> {
        match self.version.as_deref() {
            None | Some("") => models.get(&self.model, &Version::Default),
            Some(version) => models.get(&self.model, &Version::parse(version)?),
        }
    }
}
