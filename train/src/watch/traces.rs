//! `trace.html`: the page with the traced steps of a run.

use std::path::{Path, PathBuf};

use gradus_autograd::Trace;
use gradus_autograd::trace::{Page, Sequence, Update};
use gradus_cli::Outcome;
use gradus_models::files;
use gradus_models::training::TracedStep;

/// The name of the page in a run's folder.
const TRACE: &str = "trace.html";

/// The traced steps of a run so far.
pub struct Traces {
    folder: PathBuf,
    title: String,
    steps: Vec<(u64, Trace, Update)>,
    /// The texts of the first of them.
    texts: Vec<Sequence>,
}

impl Traces {
    /// Those of a run of `train TASK` in this folder.
    pub fn new(folder: &Path, task: &str) -> Traces {
        let title = format!("train {task}: {}", folder.display());
        Traces { folder: folder.to_path_buf(), title, steps: Vec::new(), texts: Vec::new() }
    }

    /// Adds a step, and writes the page with all of them. Returns its path.
    ///
    /// # Errors
    /// When the page cannot be written.
    pub fn add(&mut self, traced: &TracedStep, labels: &[String]) -> Outcome<PathBuf> {
        if self.steps.is_empty() {
            self.texts = traced.texts.clone();
        }
        let step = traced.step.step;
        self.steps.push((step, traced.trace.clone(), traced.update.clone()));
        let path = self.folder.join(TRACE);
        files::write_atomic(&path, self.page(labels).to_html().as_bytes())?;
        Ok(path)
    }

    fn page(&self, labels: &[String]) -> Page<'_> {
        let name = |step: u64| format!("step {step}");
        let (first, trace, update) = &self.steps[0];
        let page = Page::new(&self.title, trace).first(name(*first), Some(update.clone()));
        let more = self.steps[1..].iter().fold(page, |page, (step, trace, update)| {
            page.step(name(*step), trace, Some(update.clone()))
        });
        more.texts(self.texts.clone(), labels)
    }
}
