//! Answers, and what they took.

use crate::error::Result;
use crate::usage::Usage;

/// Answers, one per input, and what they took.
#[derive(Debug)]
pub struct Asked<T> {
    /// The answers.
    pub answers: Vec<T>,
    /// What they took.
    pub usage: Usage,
}

impl<T> Asked<T> {
    /// The same with each answer changed.
    ///
    /// # Errors
    /// Those of `change`.
    pub fn map<U>(self, change: impl FnMut(T) -> Result<U>) -> Result<Asked<U>> {
        let answers = self.answers.into_iter().map(change).collect::<Result<_>>()?;
        Ok(Asked { answers, usage: self.usage })
    }
}
