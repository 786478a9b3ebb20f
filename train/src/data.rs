//! The data of a run: read and checked, with a dev set drawn where there is none.

use std::path::{Path, PathBuf};

use gradus_cli::{Failure, Outcome, SharedArgs, note};
use gradus_models::data::Row;
use gradus_models::{Dataset, resolve_data};

use crate::flags::Flags;

/// The share of a single file that is set aside.
const FRACTION: f64 = 0.1;

/// A dev set of fewer texts says nothing.
const LEAST_DEV: f64 = 4.0;

/// The place of the data on disk: a data set of the hub is fetched.
///
/// # Errors
/// When it cannot be fetched.
pub fn located(shared: &SharedArgs, data: &Path) -> Outcome<PathBuf> {
    let (path, notes) = resolve_data(data)?;
    notes.iter().for_each(|told| note(shared, format!("note: {told}")));
    Ok(path)
}

/// Warns of texts of the dev set and the test set that are in the training set too.
pub fn warn_of_leaks<E: Row>(shared: &SharedArgs, dataset: &Dataset<E>) {
    for (name, split) in [("dev", &dataset.dev), ("test", &dataset.test)] {
        let Some(split) = split else { continue };
        let (seen, all) = (dataset.seen_in_training(split), split.examples.len());
        if seen > 0 {
            note(
                shared,
                format!(
                    "warning: {seen} of the {all} {name} texts are also in the training set; the \
                     model may remember their labels"
                ),
            );
        }
    }
}

/// Sets texts aside as the dev set where the data has none. `flags` then have the share that was
/// set aside, so that a resumed run sets the same texts aside. `by_label`: a share of every label.
///
/// # Errors
/// When --dev-fraction does not fit the data.
pub fn hold_out<E: Row>(
    shared: &SharedArgs,
    flags: &mut Flags,
    path: &Path,
    dataset: &mut Dataset<E>,
    by_label: bool,
) -> Outcome {
    let texts = dataset.train.examples.len();
    if dataset.dev.is_some() {
        return match flags.dev_fraction {
            None | Some(0.0) => Ok(()),
            Some(_) => Err(Failure::usage(
                "--dev-fraction: the data has a dev set of its own; leave the flag out",
            )),
        };
    }
    let few = (texts as f64) * FRACTION < LEAST_DEV;
    let fraction = match flags.dev_fraction {
        Some(fraction) => fraction,
        None if path.is_dir() || few => 0.0,
        None => FRACTION,
    };
    let count = match (fraction > 0.0, by_label) {
        (false, _) => 0,
        (true, true) => dataset.hold_out(fraction, shared.seed()),
        (true, false) => dataset.hold_out_any(fraction, shared.seed()),
    };
    if count > 0 {
        let share = count as f64 * 100.0 / texts as f64;
        note(
            shared,
            format!("no dev set: {count} of {texts} texts ({share:.0} %) are set aside for one"),
        );
    } else if fraction > 0.0 {
        return Err(Failure::usage(format!(
            "--dev-fraction {fraction} of {texts} texts leaves the dev set empty, or a label \
             without a text to train on; choose another fraction"
        )));
    } else if dataset.test.is_none() && flags.dev_fraction.is_none() {
        let which = if few { "too few texts for a dev set" } else { "no dev set and no test set" };
        note(
            shared,
            format!(
                "{which}: nothing will tell how good the model is; --dev-fraction 0.2 sets some texts aside"
            ),
        );
    }
    flags.dev_fraction = Some(fraction);
    Ok(())
}

/// Refuses flags that need a dev set.
pub fn refuse_evaluation(flags: &Flags) -> Outcome {
    let given = [
        ("early-stop", flags.course.early_stop.is_some()),
        ("eval-every", flags.course.eval_every.is_some()),
        ("metric", flags.course.metric.is_some()),
    ];
    match given.iter().find(|(_, given)| *given) {
        None => Ok(()),
        Some((name, _)) => Err(Failure::usage(format!(
            "--{name} needs a dev set, and there is none: add one to the data, or set texts aside with \
             --dev-fraction 0.1"
        ))),
    }
}
