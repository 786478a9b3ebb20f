//! From flags to a trainer: everything is read and checked before the first step.

use gradus_cli::{Failure, Outcome, SharedArgs, note};
use gradus_models::data::Fingerprint;
use gradus_models::training::{
    self, Classification, Destination, RunMark, Session, Trainer, encode_split,
};
use gradus_models::{
    BertConfig, Checkpoint, Dataset, Encoding, Labels, Pooling, Pretrained, SequenceClassifier,
    Split, Tokenizer,
};
use gradus_nn::Store;
use gradus_tensor::Device;

use crate::args::{Flags, MAX_LENGTH, VOCABULARY};
use crate::data;
use crate::folder::{new_run, out_folder};
use crate::report::Sample;
use crate::resume::{self, Resumed};

/// A split, encoded.
pub type Encoded = (Vec<Encoding>, Vec<u32>);

/// A run that is ready to begin.
pub struct Run {
    pub shared: SharedArgs,
    pub flags: Flags,
    pub name: Option<String>,
    pub session: Session<Classification>,
    pub weights: Option<Checkpoint>,
    pub sample: Sample,
    /// The loss of guessing by how often each label occurs.
    pub guessing: f64,
}

/// A model's parts, before it is built.
struct Parts {
    source: String,
    config: BertConfig,
    tokenizer: Tokenizer,
    store: Store,
    weights: Option<Checkpoint>,
    pooling: Pooling,
    /// Notes about a pretrained model's folder.
    notes: Vec<String>,
}

impl Run {
    /// Reads and checks everything, so that errors come before the first step.
    pub fn prepare(
        shared: SharedArgs,
        flags: Flags,
        device: Device,
        resumed: Option<Resumed>,
    ) -> Outcome<Run> {
        let recipe = flags.recipe(shared.seed(), shared.precision())?;
        let path = flags.data.clone().ok_or_else(|| needed("data"))?;
        let model = flags.model.clone().ok_or_else(|| needed("model"))?;
        let out = out_folder(&flags, &path, resumed.as_ref().map(|r| r.folder.as_path()))?;
        let mut flags = flags.absolute()?;

        let (dataset, labels) = data::open(&shared, &mut flags, &path)?;
        let source = resumed.as_ref().map_or(model, |r| r.checkpoint.display().to_string());
        let mut parts = Parts::open(source, &flags, &dataset, &labels, shared.seed())?;
        // A resumed run takes the pooling from its flags.
        flags.pooling = Some(parts.pooling);
        parts.store.to_device(device)?;
        configure(&mut parts.config, &flags, &labels, parts.pooling);

        let pairs = flags.pair_column.is_some();
        let length = max_length(&flags, &parts.config, &parts.tokenizer, pairs)?;
        let encode = |split: &Split| encode_split(split, &labels, &parts.tokenizer, length);
        let train = encode(&dataset.train)?;
        let dev = dataset.dev.as_ref().map(encode).transpose()?;
        let test = dataset.test.as_ref().map(encode).transpose()?;
        report_cut(&shared, &train.0, length);

        let guessing = entropy(&train.1);
        let texts = train.0.len();
        let task = parts.task(train, labels.len(), &flags)?;
        let mut trainer = Trainer::new(task, parts.store.clone(), recipe)?;
        let name = resumed.as_ref().map_or_else(|| Some(new_run()), |resumed| resumed.run.clone());
        if let Some(id) = &name {
            trainer.set_run(RunMark { id: id.clone(), data: Fingerprint::of(&dataset, &labels) });
        }
        let found = resumed.as_ref().map(|r| trainer.resume(&r.checkpoint)).transpose();
        let found = found.map_err(resume::with_flags)?;
        parts.report(&shared, texts, labels.len());
        if let Some((resumed, found)) = resumed.zip(found) {
            tell(&shared, &trainer, &resumed, &found);
        }
        let sample = Sample::of(&dataset, &flags);
        let Parts { config, tokenizer, weights, .. } = parts;
        let destination = Destination { folder: out, config, tokenizer };
        let session = Session { trainer, dev, test, destination, options: flags.session() };
        Ok(Run { shared, flags, name, session, weights, sample, guessing })
    }
}

impl Parts {
    /// A new model for the texts of `dataset`, or a pretrained one.
    fn open(
        source: String,
        flags: &Flags,
        dataset: &Dataset,
        labels: &Labels,
        seed: u64,
    ) -> Outcome<Parts> {
        if source != "scratch" {
            return Parts::pretrained(source, flags, labels, seed);
        }
        let examples = dataset.train.examples.iter();
        let texts: Vec<&str> =
            examples.flat_map(|e| [Some(e.text.as_str()), e.pair.as_deref()]).flatten().collect();
        let tokenizer = Tokenizer::train_wordpiece(&texts, flags.vocab_size.unwrap_or(VOCABULARY))?;
        let size = flags.config_size.map_or("tiny", |s| s.name());
        let config = BertConfig::preset(size, tokenizer.vocab_size())?;
        let pooling = flags.pooling.unwrap_or(Pooling::Cls);
        let (store, notes) = (Store::new(seed), Vec::new());
        Ok(Parts { source, config, tokenizer, store, weights: None, pooling, notes })
    }

    fn pretrained(source: String, flags: &Flags, labels: &Labels, seed: u64) -> Outcome<Parts> {
        for (name, given) in [
            ("config-size", flags.config_size.is_some()),
            ("vocab-size", flags.vocab_size.is_some()),
        ] {
            if given && flags.model.as_deref() != Some("scratch") {
                return Err(Failure::usage(format!("--{name} goes only with --model scratch")));
            }
        }
        let mut pretrained = Pretrained::open(&source)?;
        let named = pretrained.follow_sentence()?;
        let mut notes = pretrained.notes.clone();
        notes.extend(pretrained.fit_head(labels));
        let store = pretrained.store(seed);
        let pooling = flags.pooling.or(named).unwrap_or(Pooling::Cls);
        Ok(Parts {
            source,
            store,
            weights: Some(pretrained.checkpoint.clone()),
            config: pretrained.config,
            tokenizer: pretrained.tokenizer,
            pooling,
            notes,
        })
    }

    /// The classifier and its training texts.
    fn task(&self, train: Encoded, labels: usize, flags: &Flags) -> Outcome<Classification> {
        let (root, config) = (self.store.root(), &self.config);
        let classifier = SequenceClassifier::new(&root, config, self.pooling, labels)?;
        Ok(Classification::new(classifier, train, flags.label_smoothing.unwrap_or(0.0)))
    }

    /// Tells the size of the model and of the data, and the notes.
    fn report(&self, shared: &SharedArgs, texts: usize, labels: usize) {
        let count: usize = self.store.parameters().iter().map(|p| p.tensor().numel()).sum();
        note(
            shared,
            format!(
                "{}: {:.1} M parameters, {} layers, hidden {}; {texts} training texts, {labels} labels",
                if self.source == "scratch" { "from scratch" } else { &self.source },
                count as f64 / 1e6,
                self.config.num_hidden_layers,
                self.config.hidden_size,
            ),
        );
        self.notes.iter().for_each(|told| note(shared, format!("note: {told}")));
        if let Some(checkpoint) = &self.weights {
            report_names(
                shared,
                "not in the checkpoint, initialised at random",
                &self.store.missing(),
            );
            report_names(shared, "in the checkpoint, but not used", &checkpoint.unexpected());
        }
    }
}

/// Tells where a resumed run continues, and what has changed.
fn tell(
    shared: &SharedArgs,
    trainer: &Trainer<Classification>,
    resumed: &Resumed,
    found: &training::Resumed,
) {
    let (step, total) = (found.step, trainer.total_steps());
    note(shared, format!("resumed from {} at step {step}", resumed.checkpoint.display()));
    if total != found.planned {
        note(
            shared,
            format!(
                "the run now has {total} steps instead of {}: from here on the learning rate \
                 follows step {step} of {total}",
                found.planned
            ),
        );
    } else if step == total {
        note(
            shared,
            format!("all {total} steps are done; more --epochs or --steps prolong the run"),
        );
    }
    if found.test_changed {
        note(shared, "warning: the test set has changed since the run began");
    }
}

/// Adapts a model's configuration to the task.
fn configure(config: &mut BertConfig, flags: &Flags, labels: &Labels, pooling: Pooling) {
    config.set_labels(labels);
    config.pooling = Some(pooling);
    config.problem_type = Some("single_label_classification".into());
    config.architectures = vec!["BertForSequenceClassification".into()];
    if let Some(p) = flags.dropout {
        config.hidden_dropout_prob = p;
        config.attention_probs_dropout_prob = p;
        config.classifier_dropout = Some(p);
    }
}

/// The maximum length of a text: within the model's positions, and with room for a word.
fn max_length(
    flags: &Flags,
    config: &BertConfig,
    tokenizer: &Tokenizer,
    pairs: bool,
) -> Outcome<usize> {
    let most = config.max_position_embeddings;
    let length = match flags.max_length {
        Some(length) if length > most => {
            return Err(Failure::usage(format!(
                "--max-length is {length}, but the model takes {most} tokens at most"
            )));
        }
        length => length.unwrap_or(MAX_LENGTH).min(most),
    };
    let special = tokenizer.encode("", pairs.then_some(""), most)?.len();
    if length <= special {
        return Err(Failure::usage(format!(
            "--max-length is {length} and leaves no room for a word: [CLS] and [SEP] take \
             {special} tokens"
        )));
    }
    Ok(length)
}

fn needed(name: &str) -> Failure {
    Failure::usage(format!("train classify needs --{name} (see train classify --help)"))
}

fn report_cut(shared: &SharedArgs, encodings: &[Encoding], length: usize) {
    let cut = encodings.iter().filter(|e| e.truncated).count();
    if cut > 0 {
        let all = encodings.len();
        note(shared, format!("{cut} of {all} training texts are cut to {length} tokens"));
    }
}

/// The entropy of the labels, in nats: the loss of a model that knows only how often each occurs.
/// It is ln(labels) where all are equally frequent.
fn entropy(labels: &[u32]) -> f64 {
    let mut counts = std::collections::BTreeMap::new();
    labels.iter().for_each(|label| *counts.entry(label).or_insert(0.0) += 1.0);
    let share = |count: &f64| count / labels.len() as f64;
    counts.values().map(|count| -share(count) * share(count).ln()).sum()
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
