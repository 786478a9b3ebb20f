//! What the file of a sweep says.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use gradus_cli::{Failure, Outcome, SharedArgs};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::range::Range;
use crate::flags::{TaskFlags, object};

/// The flags of every program that a trial may have of its own; the others are the sweep's.
const SHARED: [&str; 2] = ["precision", "seed"];

/// Flags of a task that the sweep sets for each trial.
const OWN: [&str; 5] = ["out", "overwrite", "resume", "dry-run", "metric"];

/// What the file of a sweep says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The task, such as `classify`.
    pub task: String,
    /// The number of trials.
    #[serde(default = "trials")]
    pub trials: u64,
    /// The seed of the draws.
    #[serde(default)]
    pub seed: u64,
    /// The number on the dev set by which trials are compared, as --metric.
    #[serde(default)]
    pub metric: Option<String>,
    /// The folder.
    #[serde(default)]
    pub out: Option<PathBuf>,
    /// Flags that are the same in all trials.
    #[serde(default)]
    pub flags: Map<String, Value>,
    /// Flags that are drawn, and from what.
    pub ranges: BTreeMap<String, Value>,
}

fn trials() -> u64 {
    20
}

/// The flags of a trial.
pub type Drawn = BTreeMap<String, Value>;

impl Plan {
    /// Reads a file.
    ///
    /// # Errors
    /// A usage error with the file and what is wrong in it.
    pub fn read(path: &Path) -> Outcome<Plan> {
        let usage = |message: String| Failure::usage(format!("{}: {message}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|e| usage(e.to_string()))?;
        toml::from_str(&text).map_err(|e| usage(e.to_string().trim_end().to_string()))
    }

    /// Whether another file describes the same trials, perhaps more or fewer of them.
    pub fn is_same(&self, other: &Plan) -> bool {
        let apart = |plan: &Plan| Plan { trials: 0, out: None, ..plan.clone() };
        apart(self) == apart(other)
    }

    /// The ranges, each with its name.
    ///
    /// # Errors
    /// A usage error with the name of a range that is impossible.
    pub fn ranges(&self) -> Outcome<BTreeMap<String, Range>> {
        let read = |(name, value): (&String, &Value)| match Range::read(value) {
            Ok(range) => Ok((name.clone(), range)),
            Err(why) => Err(Failure::usage(format!("[ranges] {name} {why}"))),
        };
        self.ranges.iter().map(read).collect()
    }

    /// What a trial draws.
    pub fn draw(&self, ranges: &BTreeMap<String, Range>, trial: u64) -> Drawn {
        let draw =
            |(name, range): (&String, &Range)| (name.clone(), range.draw(self.seed, trial, name));
        ranges.iter().map(draw).collect()
    }

    /// The flags of the program and of the task with those of the file and those drawn.
    ///
    /// # Errors
    /// A usage error with the flag whose value is of the wrong kind.
    pub fn flags<F: TaskFlags>(
        &self,
        shared: &SharedArgs,
        drawn: &Drawn,
    ) -> Outcome<(SharedArgs, F)> {
        let (mut of_all, mut of_task) = (object(shared)?, object(&F::default())?);
        for (place, name, value) in self.values(drawn) {
            let wrong = |why| Failure::usage(format!("[{place}] {name}: {why}"));
            match SHARED.contains(&name.as_str()) {
                true => {
                    check::<SharedArgs>(name, value).map_err(wrong)?;
                    of_all.insert(name.clone(), value.clone());
                }
                false => {
                    check::<F>(name, value).map_err(wrong)?;
                    of_task.insert(name.clone(), value.clone());
                }
            }
        }
        let mut flags: F = serde_json::from_value(Value::Object(of_task))?;
        if let Some(metric) = &self.metric {
            flags.common_mut().course.metric = Some(metric.clone());
        }
        let shared_flags: SharedArgs = serde_json::from_value(Value::Object(of_all))?;
        Ok((SharedArgs { config: shared.config.clone(), ..shared_flags }, flags))
    }

    fn values<'a>(
        &'a self,
        drawn: &'a Drawn,
    ) -> impl Iterator<Item = (&'static str, &'a String, &'a Value)> {
        let fixed = self.flags.iter().map(|(name, value)| ("flags", name, value));
        fixed.chain(drawn.iter().map(|(name, value)| ("ranges", name, value)))
    }

    /// Checks the names of all flags, and that every value of a range is one that its flag takes.
    ///
    /// # Errors
    /// A usage error with the name of what is wrong.
    pub fn check<F: TaskFlags>(&self, shared: &SharedArgs) -> Outcome<BTreeMap<String, Range>> {
        let ranges = self.ranges()?;
        if self.trials == 0 || ranges.is_empty() {
            return Err(Failure::usage(
                "a sweep needs one trial or more (trials = 20) and one range or more, such as \
                 lr = { min = 1e-5, max = 1e-3, log = true } under [ranges]",
            ));
        }
        let known = object(&F::default())?;
        let names = self.flags.keys().map(|name| ("flags", name));
        for (place, name) in names.chain(ranges.keys().map(|name| ("ranges", name))) {
            check_name(place, name, F::TASK, &known)?;
        }
        if let Some(name) = ranges.keys().find(|name| self.flags.contains_key(*name)) {
            return Err(Failure::usage(format!(
                "{name} is under [flags] and under [ranges]; keep one of the two"
            )));
        }
        // The other flags as in the first trial.
        let first = self.draw(&ranges, 0);
        self.try_flags::<F>(shared, &first, "the first trial")?;
        for (name, range) in &ranges {
            for value in range.extremes() {
                let place = format!("[ranges] {name} = {value}");
                let mut drawn = first.clone();
                drawn.insert(name.clone(), value);
                self.try_flags::<F>(shared, &drawn, &place)?;
            }
        }
        Ok(ranges)
    }

    fn try_flags<F: TaskFlags>(&self, shared: &SharedArgs, drawn: &Drawn, place: &str) -> Outcome {
        let (shared, mut flags) = self.flags::<F>(shared, drawn)?;
        flags.complete();
        let recipe = flags.common().recipe(shared.seed(), shared.precision()).map(drop);
        recipe
            .and_then(|()| flags.check())
            .map_err(|error| Failure::usage(format!("{place}: {error}")))
    }
}

/// Refuses a name that is no flag of the task, or one that the sweep sets.
fn check_name(place: &str, name: &str, task: &str, known: &Map<String, Value>) -> Outcome {
    let refuse = |why: String| Err(Failure::usage(format!("[{place}] {name} {why}")));
    if OWN.contains(&name) {
        let instead = match name {
            "metric" => "is no flag of a trial; write it above the tables: metric = \"…\"",
            _ => "is no flag of a trial; the sweep gives each trial its folder",
        };
        return refuse(instead.into());
    }
    if known.contains_key(name) || SHARED.contains(&name) {
        return Ok(());
    }
    if object(&SharedArgs::default())?.contains_key(name) {
        return refuse(format!("goes on the command line: train sweep FILE --{name} …"));
    }
    let dashed = name.to_lowercase().replace('_', "-");
    match known.contains_key(&dashed) {
        true => refuse(format!("is no flag of train {task}; did you mean `{dashed}`?")),
        false => refuse(format!("is no flag of train {task}; see train {task} --help")),
    }
}

/// Checks one value against its flag.
fn check<T: DeserializeOwned>(name: &str, value: &Value) -> Result<(), String> {
    let alone = Map::from_iter([(name.to_string(), value.clone())]);
    serde_json::from_value::<T>(Value::Object(alone)).map(drop).map_err(|e| e.to_string())
}
