//! `train classify`: a label, several labels or a number for every text, or pair of texts.

use std::path::Path;

use clap::Args;
use gradus_cli::{Outcome, SharedArgs, command, note};
use gradus_models::data::{Fingerprint, LabelForm};
use gradus_models::tasks::{Classification, Problem, encode_split};
use gradus_models::{
    Columns, Dataset, EncoderConfig, Example, Labels, Pooling, Pretrained, SequenceClassifier,
    Split, Task, Tokenizer,
};
use serde::{Deserialize, Serialize};

use super::class_weights::class_weights;
use super::{Built, Job, Parts, report_cut, try_text};
use crate::data::{hold_out, refuse_evaluation, warn_of_leaks};
use crate::diagnosis;
use crate::flags::{Flags, TaskFlags, TextColumns, one_of, share, with_flag};
use crate::page;

/// The flags of `train classify`; `None` where one is not given.
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct ClassifyFlags {
    #[command(flatten)]
    #[serde(flatten)]
    pub common: Flags,
    #[command(flatten)]
    #[serde(flatten)]
    pub columns: TextColumns,
    /// How a text becomes one vector: `cls` (BERT's pooler) or `mean` of its tokens [default: what
    /// the model's folder says, else cls]
    #[arg(long, value_parser = one_of::<Pooling>, help_heading = "Data and model")]
    pub pooling: Option<Pooling>,
    /// What a label is: `single` (one label a text), `multi` (any number of them, separated by `|`
    /// or as a JSON list) or `regression` (a number) [default: single]
    #[arg(long, help_heading = "Data and model")]
    pub problem: Option<Problem>,
    /// Share of the target that is spread over all labels [default: 0]
    #[arg(long, help_heading = "Recipe", value_parser = gradus_cli::finite)]
    pub label_smoothing: Option<f64>,
    /// Factors of the labels in the loss: `balanced` (a rare label counts as much as a frequent
    /// one), or a list such as `spam=2.5,ham=1`; a label that is not in the list has 1
    #[arg(long, help_heading = "Recipe")]
    pub class_weights: Option<String>,
}

impl TaskFlags for ClassifyFlags {
    const TASK: &'static str = "classify";

    fn common(&self) -> &Flags {
        &self.common
    }

    fn common_mut(&mut self) -> &mut Flags {
        &mut self.common
    }

    fn plain() -> Self {
        ClassifyFlags {
            common: Flags::plain(),
            columns: TextColumns::plain(),
            problem: Some(Problem::Single),
            label_smoothing: Some(0.0),
            ..ClassifyFlags::default()
        }
    }

    fn check(&self) -> Outcome {
        share("label-smoothing", self.label_smoothing)
    }
}

impl ClassifyFlags {
    fn columns(&self) -> Columns {
        self.columns.columns(match self.problem() {
            Problem::Multi => LabelForm::Several,
            Problem::Single | Problem::Regression => LabelForm::One,
        })
    }

    fn problem(&self) -> Problem {
        self.problem.unwrap_or_default()
    }
}

/// `train classify`.
pub struct Classify {
    dataset: Dataset,
    problem: Problem,
    /// Of a regression, the one output.
    labels: Labels,
    pairs: bool,
}

impl Job for Classify {
    type Flags = ClassifyFlags;
    type Task = Classification;

    fn open(shared: &SharedArgs, flags: &mut ClassifyFlags, path: &Path) -> Outcome<Classify> {
        let mut dataset = Dataset::open(path, &flags.columns())?;
        let problem = flags.problem();
        let labels = match problem {
            Problem::Single => dataset.labels()?,
            Problem::Multi => dataset.label_sets()?,
            // The name that `transformers` gives an output without a name.
            Problem::Regression => Labels::from_names(vec!["LABEL_0".into()])?,
        };
        let mut remarks = dataset.remarks.clone();
        if problem == Problem::Single {
            remarks.extend(labels.remarks(&dataset.train));
        }
        remarks.iter().for_each(|remark| note(shared, format!("warning: {remark}")));
        hold_out(shared, &mut flags.common, path, &mut dataset, problem == Problem::Single)?;
        if dataset.dev.is_none() {
            refuse_evaluation(&flags.common)?;
        }
        warn_of_leaks(shared, &dataset);
        Ok(Classify { dataset, problem, labels, pairs: flags.columns.pair_column.is_some() })
    }

    fn learn_vocabulary(&self, size: usize) -> Outcome<Tokenizer> {
        let examples = self.dataset.train.examples.iter();
        let texts: Vec<&str> =
            examples.flat_map(|e| [Some(e.text.as_str()), e.pair.as_deref()]).flatten().collect();
        Ok(Tokenizer::train_wordpiece(&texts, size)?)
    }

    fn fit(&self, flags: &mut ClassifyFlags, pretrained: &mut Pretrained) -> Outcome<Vec<String>> {
        let named = pretrained.follow_sentence()?;
        flags.pooling = flags.pooling.or(named);
        let mut notes = pretrained.notes.clone();
        notes.extend(pretrained.fit_head(&self.labels));
        Ok(notes)
    }

    fn configure(&self, flags: &mut ClassifyFlags, config: &mut EncoderConfig) {
        // A resumed run takes the pooling from its flags.
        flags.pooling = flags.pooling.or(Some(Pooling::Cls));
        config.set_labels(&self.labels);
        config.pooling = flags.pooling;
        config.problem_type = Some(self.problem.problem_type().into());
        config.architectures = vec![config.architecture(Task::Classify)];
    }

    fn build(self, parts: &Parts<ClassifyFlags>, length: usize) -> Outcome<Built<Classification>> {
        let Classify { dataset, problem, labels, .. } = &self;
        let encode = |split: &Split| encode_split(split, *problem, labels, parts.tokenizer, length);
        let train = encode(&dataset.train)?;
        let dev = dataset.dev.as_ref().map(encode).transpose()?;
        let test = dataset.test.as_ref().map(encode).transpose()?;
        report_cut(parts.shared, &train.encodings, length);
        let guessing = Some(train.answers.guessing_loss(labels.len()));
        let weights = class_weights(parts.flags, labels, &train.answers)?;
        let pooling = parts.config.pooling.unwrap_or(Pooling::Cls);
        let root = parts.store.root();
        let model = SequenceClassifier::new(&root, parts.config, pooling, labels.len())?;
        let smoothing = parts.flags.label_smoothing.unwrap_or(0.0);
        let mut task =
            Classification::new(model, train).label_smoothing(smoothing).map_err(with_flag)?;
        if let Some(weights) = weights {
            task = task.class_weights(weights).map_err(with_flag)?;
        }
        let Classify { dataset, labels, .. } = self;
        let details = Some(page::of_classifier(dataset, labels, length));
        Ok(Built { task, dev, test, guessing, details })
    }

    fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.dataset, &self.labels)
    }

    fn has_pairs(&self) -> bool {
        self.pairs
    }

    fn about(&self) -> String {
        let texts = self.dataset.train.examples.len();
        match self.problem {
            Problem::Single => format!("{texts} training texts, {} labels", self.labels.len()),
            Problem::Multi => {
                format!("{texts} training texts, {} labels, any number a text", self.labels.len())
            }
            Problem::Regression => format!("{texts} training texts, a number each"),
        }
    }

    fn diagnosis(&self) -> gradus_models::Result<Vec<String>> {
        diagnosis::of_classifier(&self.dataset, self.problem, &self.labels)
    }

    fn commands(&self, flags: &ClassifyFlags, out: &Path) -> Vec<String> {
        let out = out.display().to_string();
        let Dataset { train, dev, test, .. } = &self.dataset;
        let split = test.as_ref().or(dev.as_ref()).unwrap_or(train);
        let infer = match &flags.columns.pair_column {
            // Of shards, the path is a pattern.
            Some(pair) if split.path.is_file() => {
                let (path, text) = (split.path.display().to_string(), flags.columns().text);
                let input = ["--input", &path, "--text-column", &text, "--pair-column", pair];
                command("infer", ["classify", "--model", &out].into_iter().chain(input))
            }
            _ => try_text(&["classify", "--model", &out], &short_text(split)),
        };
        vec![infer, command("serve", ["--model", &out])]
    }
}

/// A short text of a split, on one line.
pub fn short_text(split: &Split) -> String {
    let short = |example: &&Example| {
        let text = example.text.trim();
        !text.is_empty() && text.chars().count() <= 80 && !text.contains(char::is_control)
    };
    let example = split.examples.iter().find(short).or(split.examples.first());
    let text = example.map_or("", |example| example.text.as_str());
    let line: Vec<&str> = text.split_whitespace().collect();
    line.join(" ").chars().take(80).collect()
}
