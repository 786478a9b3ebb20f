//! One version of a model at work.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use gradus_models::ModelRef;
use gradus_models::folder::Prompts;
use gradus_tensor::Device;

use crate::error::{Kind, Problem, Result};
use crate::metrics::Metrics;
use crate::names;
use crate::pipeline::{self, Compute, Pipeline, Task};
use crate::scheduler::{Options, Scheduler};

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
    /// The folder or hub id that it was opened from.
    pub source: String,
    /// The device that computes.
    pub device: Device,
    /// The queue, the workers and the pipeline.
    pub scheduler: Scheduler<Pipeline>,
    /// Texts that sentence-transformers puts before an input, by name.
    pub prompts: Prompts,
    /// When it was loaded.
    pub loaded: SystemTime,
    /// How long loading took, warm-up included.
    pub load_time: Duration,
    /// Its counts.
    pub stats: Arc<Stats>,
    /// The metrics of the server.
    pub metrics: Arc<Metrics>,
}

impl Served {
    /// Opens a folder or a hub id.
    ///
    /// # Errors
    /// When the model cannot be opened.
    pub fn open(
        name: &str,
        version: u64,
        model: ModelRef,
        options: &Options,
        compute: Compute,
        metrics: &Arc<Metrics>,
    ) -> Result<Served> {
        let pipeline = pipeline::open(model, options.max_batch_tokens, compute);
        let pipeline = pipeline.map_err(|e| not_loaded(name, &e))?;
        let stats = Arc::new(Stats::default());
        let (counts, observed) = (Arc::clone(&stats), Arc::clone(metrics));
        let label = name.to_string();
        let scheduler = Scheduler::new(pipeline, options.clone(), move |report| {
            counts.batches.fetch_add(1, Ordering::Relaxed);
            counts.sequences.fetch_add(report.inputs as u64, Ordering::Relaxed);
            counts.computed_ns.fetch_add(report.duration.as_nanos() as u64, Ordering::Relaxed);
            observed.batch(&label, report);
        });
        Ok(Served {
            name: name.to_string(),
            version,
            prompts: scheduler.model().prompts(),
            source: model.model.to_string(),
            device: compute.device,
            scheduler,
            loaded: SystemTime::now(),
            load_time: Duration::ZERO,
            stats,
            metrics: Arc::clone(metrics),
        })
    }

    /// The pipeline.
    pub fn pipeline(&self) -> &Pipeline {
        self.scheduler.model()
    }

    /// What the model is made for.
    pub fn task(&self) -> Task {
        self.pipeline().task()
    }

    /// Where this version came from, as clients may read it.
    pub fn origin(&self, store: Option<&Path>) -> String {
        origin(&self.name, &self.source, store)
    }

    /// The error of a request that wants a model for something else.
    pub fn wrong_task(&self, wanted: &str) -> Problem {
        let (name, task) = (&self.name, self.task().name());
        let message = format!("the model `{name}` is for {task}, but this needs one for {wanted}");
        Problem::new(Kind::WrongTask, message)
    }
}

/// The error of a model that cannot be opened, or does not compute.
pub fn not_loaded(name: &str, error: &dyn std::fmt::Display) -> Problem {
    Problem::invalid(format!("the model `{name}` cannot be loaded: {error}"))
}

/// Where a model came from, as clients may read it: a hub id, or its place in the store. For other
/// folders it is the model's name: clients must not learn where folders lie on this machine.
pub fn origin(name: &str, source: &str, store: Option<&Path>) -> String {
    let folder = Path::new(source);
    match store.and_then(|store| folder.strip_prefix(store).ok()) {
        Some(place) => place.display().to_string(),
        // It was opened, and is no folder.
        None if !folder.exists() && names::check(source).is_ok() => source.to_string(),
        None => name.to_string(),
    }
}
