//! The models that are served: names, versions, which is the default.
//!
//! A request takes the [`Served`] that is current when it arrives and keeps it until it is
//! answered, so that a version is replaced or unregistered without failing anybody: what was queued
//! on the old one is still computed, and its memory goes with the last request.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use gradus_models::folder::Prompts;
use gradus_tensor::Device;

use crate::ask::Text;
use crate::error::{Kind, Problem, Result};
use crate::metrics::Metrics;
use crate::names::Aliases;
use crate::pipeline::{self, Compute, Pipeline, Task};
use crate::scheduler::{Options, Scheduler, Terms};

/// Counts of one version since it was loaded.
#[derive(Debug, Default)]
pub struct Stats {
    /// Requests answered.
    pub succeeded: AtomicU64,
    /// Requests failed.
    pub failed: AtomicU64,
    /// Sequences computed.
    pub sequences: AtomicU64,
    /// Batches computed.
    pub batches: AtomicU64,
    /// Nanoseconds that requests waited.
    pub queued_ns: AtomicU64,
    /// Nanoseconds that batches took.
    pub computed_ns: AtomicU64,
    /// When the last request was answered, in milliseconds since 1970.
    pub last_ms: AtomicU64,
}

/// One version of a model at work.
pub struct Served {
    /// The model's name.
    pub name: String,
    /// The version.
    pub version: u64,
    /// What was given as its folder: a folder, or a hub id.
    pub source: String,
    /// Where it computes.
    pub device: Device,
    /// The queue, the workers and the pipeline.
    pub scheduler: Scheduler<Pipeline>,
    /// Texts that sentence-transformers puts before an input, by name.
    pub prompts: Prompts,
    /// When it was loaded.
    pub loaded: SystemTime,
    /// How long that took, warm-up included.
    pub load_time: Duration,
    /// Counts.
    pub stats: Arc<Stats>,
    /// The metrics of the server.
    pub metrics: Arc<Metrics>,
}

impl Served {
    /// Opens a folder and computes something once, so that the first request finds everything
    /// ready.
    ///
    /// # Errors
    /// When the model cannot be opened or does not compute.
    pub fn open(
        name: &str,
        version: u64,
        model: &str,
        options: &Options,
        compute: Compute,
        metrics: &Arc<Metrics>,
    ) -> Result<Served> {
        let start = Instant::now();
        let unfit = |e: &dyn std::fmt::Display| {
            Problem::new(Kind::Invalid, format!("the model `{name}` cannot be loaded: {e}"))
        };
        let pipeline = pipeline::open(model, options.max_batch_tokens, compute);
        let pipeline = pipeline.map_err(|e| unfit(&e))?;
        let stats = Arc::new(Stats::default());
        let (counts, observed) = (Arc::clone(&stats), Arc::clone(metrics));
        let label = name.to_string();
        let scheduler = Scheduler::new(pipeline, options.clone(), move |report| {
            counts.batches.fetch_add(1, Ordering::Relaxed);
            counts.sequences.fetch_add(report.inputs as u64, Ordering::Relaxed);
            counts.computed_ns.fetch_add(report.duration.as_nanos() as u64, Ordering::Relaxed);
            observed.batch(&label, report);
        });
        let mut served = Served {
            name: name.to_string(),
            version,
            prompts: scheduler.model().prompts(),
            source: model.to_string(),
            device: compute.device,
            scheduler,
            loaded: SystemTime::now(),
            load_time: Duration::ZERO,
            stats,
            metrics: Arc::clone(metrics),
        };
        for text in ["a", "the text that warms the model up, of a few words more than one"] {
            let sequence = served.warm_up(text)?;
            let ticket = served.scheduler.submit(vec![sequence], Terms::default());
            ticket.and_then(|ticket| ticket.wait()).map_err(|e| unfit(&e))?;
        }
        served.load_time = start.elapsed();
        Ok(served)
    }

    fn warm_up(&self, text: &str) -> Result<crate::pipeline::Sequence> {
        let text = match self.pipeline() {
            Pipeline::FillMask(p) => format!("{} {text}", p.mask()),
            _ => text.to_string(),
        };
        self.sequence(Text::Plain(text), &crate::ask::Encode::default(), self.usual_want())
    }

    /// The pipeline.
    pub fn pipeline(&self) -> &Pipeline {
        self.scheduler.model()
    }

    /// What the model is made for.
    pub fn task(&self) -> Task {
        self.pipeline().task()
    }

    /// Where this version came from, as others may read it.
    pub fn origin(&self, store: Option<&Path>) -> String {
        origin(&self.name, &self.source, store)
    }
}

/// Where a model came from, as others may read it: a hub id, or its place in the store. Of other
/// folders no more than the model's name: where they lie on this machine is nobody's affair.
fn origin(name: &str, source: &str, store: Option<&Path>) -> String {
    let folder = Path::new(source);
    match store.and_then(|store| folder.strip_prefix(store).ok()) {
        Some(place) => place.display().to_string(),
        // It was opened, and is no folder.
        None if !folder.exists() && crate::names::check(source).is_ok() => source.to_string(),
        None => name.to_string(),
    }
}

/// The versions of one model.
#[derive(Clone, Default)]
struct Versions {
    /// What was given as its folder.
    source: String,
    all: BTreeMap<u64, Arc<Served>>,
    default: u64,
    labels: BTreeMap<String, u64>,
}

/// Which version of a model is meant.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Version {
    /// The default.
    #[default]
    Default,
    /// By its number.
    Number(u64),
    /// By a label: `stable` is the default, `latest` the highest.
    Label(String),
}

impl Version {
    /// A version in a path: `2`, or `2.0` as TorchServe writes it.
    ///
    /// # Errors
    /// When it is neither.
    pub fn parse(text: &str) -> Result<Version> {
        let number = text.strip_suffix(".0").unwrap_or(text);
        let digits = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
        number.parse().ok().filter(|_| digits).map(Version::Number).ok_or_else(|| {
            Problem::new(
                Kind::NoVersion,
                format!("there is no version `{text}`; versions are numbers"),
            )
        })
    }
}

/// What a list of models says of one.
pub struct Listed {
    /// Its name.
    pub name: String,
    /// What was given as its folder.
    pub source: String,
    /// Its versions, ascending.
    pub versions: Vec<Arc<Served>>,
    /// The default among them.
    pub default: u64,
}

impl Listed {
    /// Where the model came from, as others may read it: what it would be registered again by.
    pub fn origin(&self, store: Option<&Path>) -> String {
        origin(&self.name, &self.source, store)
    }
}

/// All models by name.
pub struct Registry {
    /// In the order of their registration; the first of a task is the one for requests that name
    /// none.
    models: RwLock<Vec<(String, Versions)>>,
    /// Other names of the models.
    pub aliases: Aliases,
    options: Options,
    compute: Compute,
    metrics: Arc<Metrics>,
    /// Held while models are opened, so that changes come one after the other.
    changing: std::sync::Mutex<()>,
}

impl Registry {
    /// None yet; models will compute as `compute` says.
    pub fn new(options: Options, compute: Compute, metrics: Arc<Metrics>) -> Registry {
        Registry {
            models: RwLock::default(),
            aliases: Aliases::default(),
            options,
            compute,
            metrics,
            changing: std::sync::Mutex::default(),
        }
    }

    /// Where and how models compute.
    pub fn compute(&self) -> Compute {
        self.compute
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Vec<(String, Versions)>> {
        self.models.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The name by which a model is listed, of any of its names: its own one before an alias of
    /// another.
    pub fn resolve(&self, name: &str) -> String {
        let own = self.read().iter().any(|(known, _)| known == name);
        let alias = if own { None } else { self.aliases.model(name) };
        alias.unwrap_or_else(|| name.to_string())
    }

    /// Whether a model has this name, or will have it when it is loaded again.
    pub fn knows(&self, name: &str) -> bool {
        self.read().iter().any(|(known, _)| known == name) || self.aliases.model(name).is_some()
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Vec<(String, Versions)>> {
        self.models.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a model and adds or replaces its versions: a folder with config.json is one version, a
    /// folder of numbered folders is as many (TensorFlow Serving's layout). Nothing changes when
    /// one of them cannot be opened. Blocks.
    ///
    /// `keep`: other versions that are there stay; a single folder then becomes the next version
    /// instead of 1.
    ///
    /// # Errors
    /// When the name is not fit for a path, or a folder cannot be opened.
    pub fn load(&self, name: &str, source: &str, keep: bool) -> Result<Vec<u64>> {
        crate::names::check(name)?;
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let present: Vec<u64> = self.versions(name).map(|l| numbers(&l)).unwrap_or_default();
        let mut folders = numbered(Path::new(source));
        if folders.is_empty() {
            let version = match keep {
                true => present.iter().max().map_or(1, |last| last + 1),
                false => 1,
            };
            folders.push((version, source.to_string()));
        }
        let opened = folders
            .iter()
            .map(|(version, folder)| {
                Served::open(name, *version, folder, &self.options, self.compute, &self.metrics)
                    .map(Arc::new)
            })
            .collect::<Result<Vec<_>>>()?;
        let loaded: Vec<u64> = opened.iter().map(|served| served.version).collect();
        let mut models = self.write();
        let place = models.iter().position(|(known, _)| known == name);
        let place = place.unwrap_or_else(|| {
            models.push((name.to_string(), Versions::default()));
            models.len() - 1
        });
        let versions = &mut models[place].1;
        let mut replaced = std::mem::take(&mut versions.all);
        let first = replaced.is_empty();
        if keep {
            std::mem::swap(&mut versions.all, &mut replaced);
        } else {
            versions.source = source.to_string();
        }
        if versions.source.is_empty() {
            versions.source = source.to_string();
        }
        let old: Vec<_> =
            opened.into_iter().filter_map(|s| versions.all.insert(s.version, s)).collect();
        if first || !keep || !versions.all.contains_key(&versions.default) {
            versions.default = versions.all.keys().max().copied().unwrap_or(1);
        }
        drop(models);
        // Dropped outside the lock: what is queued on them is still computed.
        drop((old, replaced));
        Ok(loaded)
    }

    /// Takes a model, or one version of it, out. What is queued is still answered.
    ///
    /// # Errors
    /// When there is none; when the version is the default and there are others.
    pub fn unload(&self, name: &str, version: Option<u64>) -> Result<()> {
        let name = &self.resolve(name);
        let mut models = self.write();
        let place = models.iter().position(|(known, _)| known == name);
        let place = place.ok_or_else(|| no_model(name))?;
        let Some(version) = version else {
            let removed = models.remove(place);
            drop(models);
            drop(removed);
            return Ok(());
        };
        let versions = &mut models[place].1;
        if !versions.all.contains_key(&version) {
            return Err(no_version(name, version));
        }
        if versions.default == version && versions.all.len() > 1 {
            return Err(Problem::new(
                Kind::Conflict,
                format!("version {version} of `{name}` is the default; set another default first"),
            ));
        }
        let removed = versions.all.remove(&version);
        if versions.all.is_empty() {
            models.remove(place);
        }
        drop(models);
        drop(removed);
        Ok(())
    }

    /// Makes a version the default.
    ///
    /// # Errors
    /// When there is none.
    pub fn set_default(&self, name: &str, version: u64) -> Result<()> {
        let name = &self.resolve(name);
        let mut models = self.write();
        let entry = models.iter_mut().find(|(known, _)| known == name);
        let (_, versions) = entry.ok_or_else(|| no_model(name))?;
        if !versions.all.contains_key(&version) {
            return Err(no_version(name, version));
        }
        versions.default = version;
        Ok(())
    }

    /// A version of a model.
    ///
    /// # Errors
    /// When there is none.
    pub fn get(&self, name: &str, version: &Version) -> Result<Arc<Served>> {
        let name = &self.resolve(name);
        let models = self.read();
        let entry = models.iter().find(|(known, _)| known == name);
        let (_, versions) = entry.ok_or_else(|| no_model(name))?;
        let number = match version {
            Version::Default => versions.default,
            Version::Number(number) => *number,
            Version::Label(label) => match (versions.labels.get(label), label.as_str()) {
                (Some(&number), _) => number,
                (None, "stable") => versions.default,
                (None, "latest") => versions.all.keys().max().copied().unwrap_or(0),
                (None, _) => {
                    return Err(Problem::new(
                        Kind::NoVersion,
                        format!(
                            "the model `{name}` has no version labelled `{label}`; use stable or latest"
                        ),
                    ));
                }
            },
        };
        versions.all.get(&number).cloned().ok_or_else(|| no_version(name, number))
    }

    /// The first model that fits, for requests that name none; `wanted` says what for.
    ///
    /// # Errors
    /// When none does.
    pub fn first(&self, wanted: &str, fits: impl Fn(&Served) -> bool) -> Result<Arc<Served>> {
        let models = self.read();
        let defaults = || models.iter().filter_map(|(_, v)| v.all.get(&v.default));
        let found = defaults().find(|served| fits(served));
        found.cloned().ok_or_else(|| match defaults().next() {
            Some(other) => wrong_task(other, wanted),
            None => Problem::new(Kind::Unavailable, "no model is loaded"),
        })
    }

    /// The first model, whatever its task.
    pub fn any(&self) -> Option<Arc<Served>> {
        self.read().iter().find_map(|(_, v)| v.all.get(&v.default).cloned())
    }

    /// The versions of a model.
    ///
    /// # Errors
    /// When there is no such model.
    pub fn versions(&self, name: &str) -> Result<Listed> {
        let name = &self.resolve(name);
        self.list().into_iter().find(|l| l.name == *name).ok_or_else(|| no_model(name))
    }

    /// All models, in the order of their registration.
    pub fn list(&self) -> Vec<Listed> {
        let listed = |(name, versions): &(String, Versions)| Listed {
            name: name.clone(),
            source: versions.source.clone(),
            versions: versions.all.values().cloned().collect(),
            default: versions.default,
        };
        self.read().iter().map(listed).collect()
    }

    /// How the schedulers work.
    pub fn options(&self) -> &Options {
        &self.options
    }
}

fn numbers(listed: &Listed) -> Vec<u64> {
    listed.versions.iter().map(|served| served.version).collect()
}

/// The numbered folders with a config.json in a folder that has none itself, ascending.
fn numbered(folder: &Path) -> Vec<(u64, String)> {
    if folder.join("config.json").is_file() {
        return Vec::new();
    }
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<(u64, String)> = entries
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            let path = entry.path();
            path.join("config.json").is_file().then_some(())?;
            Some((version, path.to_str()?.to_string()))
        })
        .collect();
    found.sort_unstable();
    found
}

/// The error of a name that no model has.
pub fn no_model(name: &str) -> Problem {
    let name: String = name.chars().take(128).collect();
    let mut problem = Problem::new(Kind::NoModel, format!("there is no model `{name}`"));
    problem.param = Some("model".into());
    problem
}

fn no_version(name: &str, version: u64) -> Problem {
    Problem::new(Kind::NoVersion, format!("the model `{name}` has no version {version}"))
}

/// The error of a model that is made for something else.
pub fn wrong_task(served: &Served, wanted: &str) -> Problem {
    Problem::new(
        Kind::WrongTask,
        format!(
            "the model `{}` is for {}, and this needs one for {wanted}",
            served.name,
            served.task().name()
        ),
    )
}
