//! The names of models: which are valid, and how a path holds a name with a slash.
//!
//! A name may be a hub id, `organisation/model`, so that clients of other servers find their model.
//! In a path some clients write the slash as `%2F`, and others as it is.

use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use crate::error::{Problem, Result};

/// Checks that a name may stand in a path: it has one part, or two like a hub id.
///
/// # Errors
/// When it may not.
pub fn check(name: &str) -> Result<()> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let part = |part: &str| !part.is_empty() && !part.starts_with('.') && part.chars().all(allowed);
    let parts = name.split('/').count();
    if name.len() > 128 || parts > 2 || !name.split('/').all(part) {
        return Err(Problem::invalid(format!(
            "`{}` cannot be the name of a model: use 1 to 128 letters, digits, `.`, `_` or `-`, \
             no `.` at the beginning, and at most one `/`, as in organisation/model",
            name.chars().take(128).collect::<String>()
        )));
    }
    Ok(())
}

/// Aliases of models. They stay when a model is replaced, unloaded or loaded again.
#[derive(Default)]
pub struct Aliases(RwLock<Vec<(String, String)>>);

impl Aliases {
    fn read(&self) -> RwLockReadGuard<'_, Vec<(String, String)>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a model an alias.
    ///
    /// # Errors
    /// When the name may not stand in a path.
    pub fn add(&self, alias: &str, model: &str) -> Result<()> {
        check(alias)?;
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        all.retain(|(name, _)| name != alias);
        all.push((alias.to_string(), model.to_string()));
        Ok(())
    }

    /// The aliases of a model.
    pub fn of(&self, model: &str) -> Vec<String> {
        let all = self.read();
        all.iter().filter(|(_, of)| of == model).map(|(name, _)| name.clone()).collect()
    }

    /// The model that has this alias.
    pub fn model(&self, alias: &str) -> Option<String> {
        self.read().iter().find(|(name, _)| name == alias).map(|(_, model)| model.clone())
    }
}

/// What paths have before a model's name.
const PLACES: [&str; 5] =
    ["/v2/repository/models/", "/v2/models/", "/v1/models/", "/predictions/", "/models/"];

/// The path with the slash of a model's name as `%2F`; `None` if it has no such name. `known` says
/// whether a model has a name.
pub fn joined(path: &str, known: impl Fn(&str) -> bool) -> Option<String> {
    let place = PLACES.iter().find(|place| path.starts_with(**place))?;
    let (organisation, rest) = path[place.len()..].split_once('/')?;
    // The name ends where the path goes on, or where TensorFlow Serving's verb begins.
    let end = rest.find(['/', ':']).unwrap_or(rest.len());
    let (model, rest) = rest.split_at(end);
    known(&format!("{organisation}/{model}"))
        .then(|| format!("{place}{organisation}%2F{model}{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_one_part_and_of_two() {
        for name in ["a", "all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2", "A.b_c/d"] {
            assert!(check(name).is_ok(), "{name}");
        }
        for name in
            ["", "/", "a/", "/a", "a/b/c", "../a", "a/..", ".a", "a/.b", "a b", "a%2Fb", "é"]
        {
            assert!(check(name).is_err(), "{name}");
        }
    }

    #[test]
    fn slashes_are_joined_where_the_name_is_known() {
        let joined = |path: &str| joined(path, |name| name == "org/m");
        for (path, expected) in [
            ("/v1/models/org/m", "/v1/models/org%2Fm"),
            ("/v1/models/org/m:predict", "/v1/models/org%2Fm:predict"),
            ("/v1/models/org/m/versions/1:classify", "/v1/models/org%2Fm/versions/1:classify"),
            ("/v2/models/org/m/infer", "/v2/models/org%2Fm/infer"),
            ("/v2/repository/models/org/m/load", "/v2/repository/models/org%2Fm/load"),
            ("/predictions/org/m/2.0", "/predictions/org%2Fm/2.0"),
            ("/models/org/m", "/models/org%2Fm"),
        ] {
            assert_eq!(joined(path).as_deref(), Some(expected));
        }
        for path in
            ["/models/org", "/models/org/n", "/models/m/1", "/embed/org/m", "/models/org%2Fm"]
        {
            assert_eq!(joined(path), None, "{path}");
        }
    }
}
