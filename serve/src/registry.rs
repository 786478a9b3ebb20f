//! The models that are served: names, versions, which version is the default.
//!
//! A request takes the [`Served`] that is current when it arrives and keeps it until it is
//! answered. So replacing or unregistering a version fails no request: requests queued on the old
//! version are still computed, and its memory goes with the last request.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Instant;

use gradus_models::ModelRef;
use gradus_models::pipelines::WordLabel;

use crate::error::{Kind, Problem, Result};
use crate::metrics::Metrics;
use crate::names::{self, Aliases};
use crate::pipeline::{Compute, Pipeline, Want};
use crate::question::{EncodeOptions, Text};
use crate::scheduler::{Options, Terms};
use crate::served::{Served, not_loaded, origin};

/// The versions of one model.
#[derive(Clone, Default)]
struct Versions {
    /// The folder or hub id that it was opened from.
    source: String,
    all: BTreeMap<u64, Arc<Served>>,
    default: u64,
    labels: BTreeMap<String, u64>,
}

/// Which version of a model a request means.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Version {
    /// The default.
    #[default]
    Default,
    /// The version with this number.
    Number(u64),
    /// The version with this label: `stable` is the default, `latest` the highest.
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

/// One model in a list of models.
pub struct Listed {
    /// Its name.
    pub name: String,
    /// The folder or hub id that it was opened from.
    pub source: String,
    /// Its versions, ascending.
    pub versions: Vec<Arc<Served>>,
    /// The default among them.
    pub default: u64,
}

impl Listed {
    /// Where the model came from, as clients may read it, and could register it again by.
    pub fn origin(&self, store: Option<&Path>) -> String {
        origin(&self.name, &self.source, store)
    }
}

/// All models by name.
pub struct Registry {
    /// In the order of their registration. The first model of a task answers requests that name
    /// none.
    models: RwLock<Vec<(String, Versions)>>,
    /// Other names of the models.
    pub aliases: Aliases,
    /// The base of models that are adapters, where it is not the one that they name.
    pub base: Option<String>,
    options: Options,
    compute: Compute,
    metrics: Arc<Metrics>,
    /// Held while models are opened, so that changes come one after the other.
    changing: Mutex<()>,
}

impl Registry {
    /// An empty registry whose models will compute as `compute` says.
    pub fn new(options: Options, compute: Compute, metrics: Arc<Metrics>) -> Registry {
        Registry {
            models: RwLock::default(),
            aliases: Aliases::default(),
            base: None,
            options,
            compute,
            metrics,
            changing: Mutex::default(),
        }
    }

    /// Where and how models compute.
    pub fn compute(&self) -> Compute {
        self.compute
    }

    fn read(&self) -> RwLockReadGuard<'_, Vec<(String, Versions)>> {
        self.models.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The name that a model is listed by, from any of its names. A model's own name goes before
    /// another model's alias.
    pub fn resolve(&self, name: &str) -> String {
        let own = self.read().iter().any(|(known, _)| known == name);
        let alias = if own { None } else { self.aliases.model(name) };
        alias.unwrap_or_else(|| name.to_string())
    }

    /// Whether a model has this name, or will have it when it is loaded again.
    pub fn knows(&self, name: &str) -> bool {
        self.read().iter().any(|(known, _)| known == name) || self.aliases.model(name).is_some()
    }

    fn write(&self) -> RwLockWriteGuard<'_, Vec<(String, Versions)>> {
        self.models.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a model and adds or replaces its versions. A folder with config.json is one version; a
    /// folder of numbered folders has one version each (TensorFlow Serving's layout). Nothing
    /// changes when one of them cannot be opened. Blocks.
    ///
    /// With `keep`, the model's other versions stay, and a single folder becomes the next version
    /// instead of version 1.
    ///
    /// # Errors
    /// When the name cannot stand in a path, or a folder cannot be opened.
    pub fn load(&self, name: &str, source: &str, keep: bool) -> Result<Vec<u64>> {
        names::check(name)?;
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut folders = numbered(Path::new(source));
        if folders.is_empty() {
            let present = self.versions(name).ok().filter(|_| keep);
            let last = present.and_then(|listed| listed.versions.last().map(|s| s.version));
            folders.push((last.map_or(1, |last| last + 1), source.to_string()));
        }
        let open = |(version, folder): &(u64, String)| self.open(name, *version, folder);
        let opened = folders.iter().map(open).collect::<Result<Vec<_>>>()?;
        let loaded = opened.iter().map(|served| served.version).collect();
        // Dropped outside the lock. Requests queued on them are still computed.
        drop(self.put(name, source, keep, opened));
        Ok(loaded)
    }

    /// Opens a version and computes something once, so that the first request finds all ready.
    fn open(&self, name: &str, version: u64, folder: &str) -> Result<Arc<Served>> {
        let start = Instant::now();
        let model = ModelRef { base: self.base.as_deref(), ..folder.into() };
        let mut served =
            Served::open(name, version, model, &self.options, self.compute, &self.metrics)?;
        for text in ["a", "the text that warms the model up, of a few words more than one"] {
            warm_up(&served, text)?;
        }
        served.load_time = start.elapsed();
        Ok(Arc::new(served))
    }

    /// Puts opened versions in; returns those that they replace.
    fn put(
        &self,
        name: &str,
        source: &str,
        keep: bool,
        opened: Vec<Arc<Served>>,
    ) -> Vec<Arc<Served>> {
        let mut models = self.write();
        let place = models.iter().position(|(known, _)| known == name).unwrap_or_else(|| {
            models.push((name.to_string(), Versions::default()));
            models.len() - 1
        });
        let versions = &mut models[place].1;
        let first = versions.all.is_empty();
        let mut replaced = Vec::new();
        if !keep {
            replaced.extend(std::mem::take(&mut versions.all).into_values());
        }
        if !keep || versions.source.is_empty() {
            versions.source = source.to_string();
        }
        for served in opened {
            replaced.extend(versions.all.insert(served.version, served));
        }
        if first || !keep || !versions.all.contains_key(&versions.default) {
            versions.default = versions.all.keys().max().copied().unwrap_or(1);
        }
        replaced
    }

    /// Removes a model, or one version of it. Queued requests are still answered.
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
                    let message = format!(
                        "the model `{name}` has no version labelled `{label}`; use stable or latest"
                    );
                    return Err(Problem::new(Kind::NoVersion, message));
                }
            },
        };
        versions.all.get(&number).cloned().ok_or_else(|| no_version(name, number))
    }

    /// The first model that fits, for requests that name none. `wanted` says what it is wanted for.
    ///
    /// # Errors
    /// When no model fits.
    pub fn first(&self, wanted: &str, fits: impl Fn(&Served) -> bool) -> Result<Arc<Served>> {
        let models = self.read();
        let defaults = || models.iter().filter_map(|(_, v)| v.all.get(&v.default));
        let found = defaults().find(|served| fits(served));
        found.cloned().ok_or_else(|| match defaults().next() {
            Some(other) => other.wrong_task(wanted),
            None => Problem::new(Kind::Unavailable, "no model is loaded"),
        })
    }

    /// The first model of any task.
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

/// Computes one input.
fn warm_up(served: &Served, text: &str) -> Result<()> {
    let (text, want) = match served.pipeline() {
        Pipeline::FillMask(p) => (format!("{} {text}", p.mask()), Want::Fills(5)),
        Pipeline::Embed(_) => (text.to_string(), Want::Vector),
        Pipeline::Classify(_) => (text.to_string(), Want::Logits),
        Pipeline::Tag(_) => (text.to_string(), Want::Tags(WordLabel::First)),
        // Never served: `pipeline::open` refuses it.
        Pipeline::Answer(_) => return Err(served.wrong_task("serving")),
    };
    let sequence = served.sequence(Text::Plain(text), &EncodeOptions::default(), want)?;
    let ticket = served.scheduler.submit(vec![sequence], Terms::default());
    let answers = ticket.and_then(|ticket| ticket.wait());
    answers.map(|_| ()).map_err(|e| not_loaded(&served.name, &e))
}

/// The numbered folders of a model, ascending, in a folder that is no model itself.
fn numbered(folder: &Path) -> Vec<(u64, String)> {
    let is_model = |folder: &Path| {
        ["config.json", "adapter_config.json"].iter().any(|name| folder.join(name).is_file())
    };
    if is_model(folder) {
        return Vec::new();
    }
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<(u64, String)> = entries
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            let path = entry.path();
            is_model(&path).then_some(())?;
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
