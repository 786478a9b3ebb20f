//! Flags: those that every task has, and what a task's own must offer.

mod columns;
mod common;
mod course;
mod efficient;
mod ranks;

use clap::Args;
use gradus_cli::{Failure, Outcome};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

pub use columns::TextColumns;
pub use common::{
    Flags, MAX_LENGTH, Size, VOCABULARY, flag, is_on_disk, is_stdin, one_of, share, with_flag,
};
pub use course::Course;
pub use ranks::{Adding, RankFlags};

/// The flags of a task: those of every task, and its own.
pub trait TaskFlags: Args + Clone + Default + Serialize + DeserializeOwned {
    /// The name of the subcommand.
    const TASK: &'static str;
    /// Maximum tokens of a text, unless --max-length says otherwise.
    const MAX_LENGTH: usize = MAX_LENGTH;

    /// The flags that every task has.
    fn common(&self) -> &Flags;

    /// The same, to be changed.
    fn common_mut(&mut self) -> &mut Flags;

    /// The defaults of flags that are the same for every model.
    fn plain() -> Self;

    /// Gives flags the values that follow from others.
    fn complete(&mut self) {}

    /// Checks the task's own flags.
    ///
    /// # Errors
    /// A usage error with the flag.
    fn check(&self) -> Outcome {
        Ok(())
    }
}

/// The flags `above` over those of `below`: a flag given above wins. Flags of another task must be
/// flags of this one too.
pub fn over<F: TaskFlags>(above: &impl Serialize, below: &F) -> Outcome<F> {
    let (mut merged, above) = (object(below)?, object(above)?);
    for (name, value) in above.into_iter().filter(|(_, value)| given(value)) {
        if merged.insert(name.clone(), value).is_none() {
            return Err(Failure::usage(format!("--{name} is no flag of train {}", F::TASK)));
        }
    }
    Ok(serde_json::from_value(Value::Object(merged))?)
}

/// The flags as an object: `null` or `false` where one is not given.
pub fn object(flags: &impl Serialize) -> Outcome<Map<String, Value>> {
    match serde_json::to_value(flags)? {
        Value::Object(map) => Ok(map),
        _ => Err(Failure::error("flags must be a struct")),
    }
}

/// Whether the value of a flag says that it was given.
pub fn given(value: &Value) -> bool {
    !value.is_null() && *value != false
}
