//! The version of a model in a path.

use std::sync::Arc;

use crate::app::App;
use crate::error::Result;
use crate::registry::{Version, no_model};
use crate::served::Served;

/// A version of a model. `model/version` may also be a name of two parts that no model has.
pub fn find(app: &App, model: &str, version: &str) -> Result<Arc<Served>> {
    match Version::parse(version) {
        Ok(version) => app.models.get(model, &version),
        Err(_) if !app.models.knows(model) => Err(no_model(&format!("{model}/{version}"))),
        Err(problem) => Err(problem),
    }
}
