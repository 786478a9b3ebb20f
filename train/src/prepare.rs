//! From flags to a trainer: everything is read and checked before the first step.

use std::path::PathBuf;

use gradus_cli::{Failure, Outcome, SharedArgs, note};
use gradus_models::training::{Destination, Recipe, RunMark, Session, Trainer};
use gradus_models::{Base, Checkpoint, EncoderConfig, Pretrained, Tokenizer};
use gradus_nn::{Lora, Store};
use gradus_tensor::Device;

use crate::adapter;
use crate::data::located;
use crate::flags::{Flags, TaskFlags, VOCABULARY, with_flag};
use crate::folder::{new_run, out_folder};
use crate::ranks::Group;
use crate::resume::{self, Resumed};
use crate::tasks::{Details, Job, Parts};

/// A run that is ready to begin.
pub struct Run<J: Job> {
    pub shared: SharedArgs,
    pub flags: J::Flags,
    pub name: Option<String>,
    pub session: Session<J::Task>,
    pub weights: Option<Checkpoint>,
    /// Commands that use the trained model.
    pub commands: Vec<String>,
    /// The loss of a model that guesses, where that has a meaning.
    pub guessing: Option<f64>,
    /// What the report tells of the task.
    pub details: Option<Details<J::Task>>,
}

/// A model's parts, before it is built.
struct Model {
    source: String,
    config: EncoderConfig,
    tokenizer: Tokenizer,
    store: Store,
    weights: Option<Checkpoint>,
    /// Of an adapter.
    base: Option<Base>,
    /// Notes about a pretrained model's folder.
    notes: Vec<String>,
}

impl<J: Job> Run<J> {
    /// Reads and checks everything, so that errors come before the first step.
    ///
    /// # Errors
    /// When a flag, the data or the model is wrong.
    pub fn prepare(
        shared: SharedArgs,
        flags: J::Flags,
        device: Device,
        (resumed, group): (Option<Resumed>, Option<&Group>),
    ) -> Outcome<Run<J>> {
        let mut flags = flags;
        let Settled { mut recipe, data, source, out } =
            settle(&shared, &mut flags, resumed.as_ref(), group)?;
        let job = J::open(&shared, &mut flags, &located(&shared, &data)?)?;
        let mut model = Model::open(source, &mut flags, &job, shared.seed())?;
        model.store.to_device(device)?;
        job.configure(&mut flags, &mut model.config);
        model.set_dropout(flags.common());

        let length = max_length(&flags, &model.config, &model.tokenizer, job.has_pairs())?;
        let (about, fingerprint) = (job.about(), job.fingerprint());
        let commands = job.commands(&flags, &out);
        if flags.common().course.dry_run {
            job.diagnosis()?.iter().for_each(|line| note(&shared, line));
        }
        let Model { config, tokenizer, store, .. } = &model;
        adapter::default_targets(&mut recipe, flags.common(), config);
        recipe.adapt(store, config).map_err(with_flag)?;
        let parts = Parts { shared: &shared, flags: &flags, config, tokenizer, store };
        let built = job.build(&parts, length)?;
        adapter::train_new_pooler(&mut recipe, &model.store, model.weights.as_ref());
        let mut trainer =
            Trainer::new(built.task, model.store.clone(), recipe).map_err(with_flag)?;
        if let Some(metric) = &flags.common().course.metric {
            trainer.set_metric(metric).map_err(with_flag)?;
        }
        if let Some(base) = model.base.take() {
            trainer.set_base(base);
        }
        let name = resumed.as_ref().map_or_else(|| Some(new_run()), |resumed| resumed.run.clone());
        if let Some(group) = group {
            group.begin(&shared, &flags, &fingerprint, &mut trainer)?;
        }
        if let Some(id) = &name {
            trainer.set_run(RunMark { id: id.clone(), data: fingerprint });
        }
        let found = resumed.as_ref().map(|r| trainer.resume(&r.checkpoint)).transpose();
        let found = found.map_err(resume::with_flags)?;
        model.report(&shared, &about);
        adapter::tell_trained(&shared, &trainer);
        if let Some((resumed, found)) = resumed.zip(found) {
            resumed.tell(&shared, &trainer, &found);
        }
        if let Some(group) = group {
            group.check_timeline(&trainer)?;
            group.advise(J::Flags::TASK, &out);
        }
        let Model { config, tokenizer, weights, .. } = model;
        let destination = Destination { folder: out, config, tokenizer };
        let options = flags.common().course.session();
        let session = Session { trainer, dev: built.dev, test: built.test, destination, options };
        let (guessing, details) = (built.guessing, built.details);
        Ok(Run { shared, flags, name, session, weights, commands, guessing, details })
    }
}

/// What a run does, as its flags say.
struct Settled {
    recipe: Recipe,
    /// The data, as they are named.
    data: PathBuf,
    /// The model that the run begins with, or the checkpoint that it goes on from.
    source: String,
    out: PathBuf,
}

/// Completes and checks the flags.
fn settle<F: TaskFlags>(
    shared: &SharedArgs,
    flags: &mut F,
    resumed: Option<&Resumed>,
    group: Option<&Group>,
) -> Outcome<Settled> {
    flags.complete();
    if let Some(group) = group {
        group.share(shared, flags.common_mut());
    }
    let recipe = flags.common().recipe(shared.seed(), shared.precision())?;
    flags.check()?;
    let needed =
        |name| Failure::usage(format!("train {0} needs --{name} (see train {0} --help)", F::TASK));
    let data = flags.common().data.clone().ok_or_else(|| needed("data"))?;
    let model = flags.common().model.clone().ok_or_else(|| needed("model"))?;
    let out = out_folder(flags.common(), &data, resumed.map(|r| r.folder.as_path()))?;
    *flags.common_mut() = flags.common().absolute()?;
    let source = resumed.map_or(model, |r| r.checkpoint.display().to_string());
    Ok(Settled { recipe, data, source, out })
}

impl Model {
    /// A new model for the data of `job`, or a pretrained one.
    fn open<J: Job>(source: String, flags: &mut J::Flags, job: &J, seed: u64) -> Outcome<Model> {
        if source != "scratch" {
            return Model::pretrained(source, flags, job, seed);
        }
        let common = flags.common();
        adapter::refuse_scratch(common)?;
        let tokenizer = job.learn_vocabulary(common.vocab_size.unwrap_or(VOCABULARY))?;
        let size = common.config_size.map_or("tiny", |s| s.name());
        let config = J::scratch(size, tokenizer.vocab_size())?;
        let (store, notes) = (Store::new(seed), Vec::new());
        Ok(Model { source, config, tokenizer, store, weights: None, base: None, notes })
    }

    fn pretrained<J: Job>(
        source: String,
        flags: &mut J::Flags,
        job: &J,
        seed: u64,
    ) -> Outcome<Model> {
        let common = flags.common();
        for (name, given) in [
            ("config-size", common.config_size.is_some()),
            ("vocab-size", common.vocab_size.is_some()),
        ] {
            if given && common.model.as_deref() != Some("scratch") {
                return Err(Failure::usage(format!("--{name} goes only with --model scratch")));
            }
        }
        let mut pretrained = adapter::open(&source, common)?;
        let base = adapter::base(&pretrained, common)?;
        let notes = job.fit(flags, &mut pretrained)?;
        let store = pretrained.store(seed);
        let weights = Some(pretrained.checkpoint.clone());
        let Pretrained { config, tokenizer, .. } = pretrained;
        Ok(Model { source, store, weights, config, tokenizer, base, notes })
    }

    fn set_dropout(&mut self, flags: &Flags) {
        if let Some(p) = flags.dropout {
            self.config.set_dropout(p);
        }
    }

    /// Tells the size of the model and of the data, and the notes.
    fn report(&self, shared: &SharedArgs, about: &str) {
        let count: usize = self.store.parameters().iter().map(|p| p.tensor().numel()).sum();
        note(
            shared,
            format!(
                "{}: {:.1} M parameters, {} layers, hidden {}; {about}",
                if self.source == "scratch" { "from scratch" } else { &self.source },
                count as f64 / 1e6,
                self.config.num_hidden_layers,
                self.config.hidden_size,
            ),
        );
        self.notes.iter().for_each(|told| note(shared, format!("note: {told}")));
        if let Some(checkpoint) = &self.weights {
            let mut missing = self.store.missing();
            missing.retain(|name| Lora::layer_of(name).is_none());
            report_names(shared, "not in the checkpoint, initialised at random", &missing);
            report_names(shared, "in the checkpoint, but not used", &checkpoint.unexpected());
        }
    }
}

/// The maximum length of a text: within the model's positions, and with room for a word.
fn max_length<F: TaskFlags>(
    flags: &F,
    config: &EncoderConfig,
    tokenizer: &Tokenizer,
    pairs: bool,
) -> Outcome<usize> {
    let most = config.max_tokens();
    let length = match flags.common().max_length {
        Some(length) if length > most => {
            return Err(Failure::usage(format!(
                "--max-length is {length}, but the model takes {most} tokens at most"
            )));
        }
        length => length.unwrap_or(F::MAX_LENGTH).min(most),
    };
    let special = tokenizer.encode("", pairs.then_some(""), most)?.len();
    if length <= special {
        return Err(Failure::usage(format!(
            "--max-length is {length} and leaves no room for a word: the special tokens take \
             {special}"
        )));
    }
    Ok(length)
}

/// Tells the number of some parameters, and the first few names.
pub fn report_names(shared: &SharedArgs, what: &str, names: &[String]) {
    if names.is_empty() {
        return;
    }
    let shown: Vec<&str> = names.iter().take(6).map(String::as_str).collect();
    let more = if names.len() > 6 { ", …" } else { "" };
    note(shared, format!("{} parameters {what}: {}{more}", names.len(), shown.join(", ")));
}
