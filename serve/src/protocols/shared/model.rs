//! Which model a request is for.

use std::sync::Arc;

use crate::call::Call;
use crate::error::{Kind, Problem, Result};
use crate::json::Fields;
use crate::pipeline::Task;
use crate::registry::Version;
use crate::served::Served;

/// The model that the field `model` names, or the first one with one of these tasks.
pub fn of_task(call: &Call, fields: &mut Fields, tasks: &[Task]) -> Result<Arc<Served>> {
    let wanted: Vec<&str> = tasks.iter().map(|task| task.name()).collect();
    fitting(call, fields, &wanted.join(" or "), |served| tasks.contains(&served.task()))
}

/// The model that the field `model` names, or the first one that fits. `wanted` says what for.
pub fn fitting(
    call: &Call,
    fields: &mut Fields,
    wanted: &str,
    fits: impl Fn(&Served) -> bool,
) -> Result<Arc<Served>> {
    let Some(name) = fields.string("model")? else { return call.app.models.first(wanted, fits) };
    let served = call.app.models.get(&name, &Version::Default)?;
    match fits(&served) {
        true => Ok(served),
        false => Err(served.wrong_task(wanted)),
    }
}

/// The model that the field `model` names, or the first model.
pub fn any(call: &Call, fields: &mut Fields) -> Result<Arc<Served>> {
    match fields.string("model")? {
        Some(name) => call.app.models.get(&name, &Version::Default),
        None => {
            let any = call.app.models.any();
            any.ok_or_else(|| Problem::new(Kind::Unavailable, "no model is loaded"))
        }
    }
}
