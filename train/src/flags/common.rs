//! The flags that every task has.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use gradus_cli::{Failure, Outcome};
use gradus_models::training::{OptimizerKind, Recipe, ScheduleKind};
use gradus_models::{Error, is_hub_data};
use gradus_nn::Precision;
use serde::{Deserialize, Serialize};

use super::efficient::Efficient;
use super::{Course, RankFlags};

/// A size of a model trained from scratch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Size {
    /// 2 layers, hidden 128
    Tiny,
    /// 4 layers, hidden 256
    Mini,
    /// 4 layers, hidden 512
    Small,
    /// 12 layers, hidden 768
    Base,
}

impl Size {
    pub fn name(self) -> &'static str {
        match self {
            Size::Tiny => "tiny",
            Size::Mini => "mini",
            Size::Small => "small",
            Size::Base => "base",
        }
    }
}

pub fn one_of<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_value(serde_json::Value::String(text.into())).map_err(|e| e.to_string())
}

/// Tokens of a learnt vocabulary, unless --vocab-size says otherwise.
pub const VOCABULARY: usize = 6000;

/// Maximum tokens of a text, unless --max-length says otherwise.
pub const MAX_LENGTH: usize = 128;

/// The flags that every task has; `None` where one is not given.
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Flags {
    /// Folder with train, dev and test files, or one file: .csv, .tsv, .jsonl (also with .gz),
    /// .parquet; of mlm .txt, any folder of text files, or - for standard input; or a data set of
    /// the hub, hub:owner/name
    #[arg(long, help_heading = "Data and model")]
    pub data: Option<PathBuf>,
    /// Share of the training texts to set aside as the dev set where the data has none, 0 for no
    /// dev set [default: 0.1 for one file of 40 texts or more, 0 for a folder]
    #[arg(long, help_heading = "Data and model", value_parser = gradus_cli::finite)]
    pub dev_fraction: Option<f64>,
    /// Model to start from: a folder, a hub id, or `scratch`
    #[arg(long, help_heading = "Data and model")]
    pub model: Option<String>,
    /// Size of a model from scratch [default: tiny]
    #[arg(long, help_heading = "Data and model")]
    pub config_size: Option<Size>,
    /// Size of the vocabulary learnt for a model from scratch [default: 6000]
    #[arg(long, help_heading = "Data and model")]
    pub vocab_size: Option<usize>,
    /// Folder for the model, its checkpoints and metrics [default: a fresh folder under runs]
    #[arg(long, help_heading = "Data and model")]
    pub out: Option<PathBuf>,
    /// Write into an --out folder that already holds a run; its checkpoints are removed
    #[arg(long, help_heading = "Data and model", conflicts_with = "resume")]
    pub overwrite: bool,
    /// Maximum tokens of a text; longer texts are cut [default: 128]
    #[arg(long, help_heading = "Data and model")]
    pub max_length: Option<usize>,

    /// Passes over the training set [default: 3]
    #[arg(long, help_heading = "Recipe")]
    pub epochs: Option<usize>,
    /// Optimiser steps, instead of epochs
    #[arg(long, help_heading = "Recipe")]
    pub steps: Option<u64>,
    /// Texts of one batch [default: 32]
    #[arg(long, help_heading = "Recipe")]
    pub batch_size: Option<usize>,
    /// Batches of one optimiser step [default: 1]
    #[arg(long, help_heading = "Recipe")]
    pub accumulate: Option<usize>,
    /// Peak learning rate [default: 5e-5; from scratch 1e-3]
    #[arg(long, help_heading = "Recipe", value_parser = gradus_cli::finite)]
    pub lr: Option<f64>,
    /// Peak learning rate of the head [default: that of --lr]
    #[arg(long, help_heading = "Recipe", value_parser = gradus_cli::finite)]
    pub head_lr: Option<f64>,
    /// Steps of warm-up, or their share of all steps if below 1 [default: 0.1]
    #[arg(long, help_heading = "Recipe", value_parser = gradus_cli::finite)]
    pub warmup: Option<f64>,
    /// What follows the warm-up: linear, cosine, constant [default: linear]
    #[arg(long, help_heading = "Recipe")]
    pub schedule: Option<ScheduleKind>,
    /// Weight decay (none on biases and LayerNorms) [default: 0.01]
    #[arg(long, help_heading = "Recipe", value_parser = gradus_cli::finite)]
    pub weight_decay: Option<f64>,
    /// Largest global norm of the gradients, 0 for no limit [default: 1]
    #[arg(long, help_heading = "Recipe", value_parser = gradus_cli::finite)]
    pub clip_norm: Option<f64>,
    /// Dropout everywhere in the model [default: the model's own]
    #[arg(long, help_heading = "Recipe", value_parser = gradus_cli::finite)]
    pub dropout: Option<f64>,
    /// adamw, adam or sgd [default: adamw]
    #[arg(long, value_parser = one_of::<OptimizerKind>, help_heading = "Recipe")]
    pub optimizer: Option<OptimizerKind>,
    /// Skip a step whose gradients have a norm of more than this many times the usual one
    /// [default: skip only those that are not finite]
    #[arg(long, help_heading = "Recipe", value_parser = gradus_cli::finite)]
    pub skip_spikes: Option<f64>,

    #[command(flatten)]
    #[serde(flatten)]
    pub efficient: Efficient,
    #[command(flatten)]
    #[serde(flatten)]
    pub course: Course,
    #[command(flatten)]
    #[serde(flatten)]
    pub ranks: RankFlags,
}

impl Flags {
    /// The defaults of flags that are the same for every model.
    pub fn plain() -> Flags {
        Flags {
            config_size: Some(Size::Tiny),
            vocab_size: Some(VOCABULARY),
            max_length: Some(MAX_LENGTH),
            efficient: Efficient::plain(),
            ..Flags::default()
        }
    }

    /// The flags with absolute paths.
    pub fn absolute(&self) -> Outcome<Flags> {
        let mut flags = self.clone();
        if let Some(data) = flags.data.as_mut().filter(|data| is_on_disk(data)) {
            *data = std::path::absolute(&*data)?;
        }
        if let Some(model) = flags.model.as_mut().filter(|model| Path::new(model.as_str()).is_dir())
        {
            *model = std::path::absolute(&*model)?.display().to_string();
        }
        Ok(flags)
    }

    /// The recipe that the flags give.
    pub fn recipe(&self, seed: u64, precision: Precision) -> Outcome<Recipe> {
        let base = Recipe::default();
        let scratch = self.model.as_deref() == Some("scratch");
        let recipe = Recipe {
            epochs: self.epochs.unwrap_or(base.epochs),
            steps: self.steps,
            batch_size: self.batch_size.unwrap_or(base.batch_size),
            accumulate: self.accumulate.unwrap_or(base.accumulate),
            lr: self.lr.unwrap_or(if scratch { 1e-3 } else { base.lr }),
            head_lr: self.head_lr,
            warmup: self.warmup.unwrap_or(base.warmup),
            schedule: self.schedule.unwrap_or(base.schedule),
            weight_decay: self.weight_decay.unwrap_or(base.weight_decay),
            clip_norm: self.clip_norm.unwrap_or(base.clip_norm),
            skip_spikes: self.skip_spikes,
            optimizer: self.optimizer.unwrap_or(base.optimizer),
            seed,
            precision,
            ..base
        };
        let recipe = self.efficient.apply(recipe)?;
        recipe.validate().map_err(with_flag)?;
        self.course.session().validate().map_err(with_flag)?;
        if self.max_length == Some(0) {
            return Err(Failure::usage("--max-length is 0; it must be 1 or more"));
        }
        share("dropout", self.dropout)?;
        share("dev-fraction", self.dev_fraction)?;
        Ok(recipe)
    }
}

/// Whether a path stands for standard input.
pub fn is_stdin(path: &Path) -> bool {
    path == Path::new("-")
}

/// Whether a path is one of the disk: not standard input, and not a data set of the hub.
pub fn is_on_disk(path: &Path) -> bool {
    !is_stdin(path) && !is_hub_data(path)
}

/// Refuses a share that is not at least 0 and below 1.
pub fn share(name: &str, value: Option<f64>) -> Outcome {
    match value.filter(|value| !(0.0..1.0).contains(value)) {
        None => Ok(()),
        Some(value) => {
            Err(Failure::usage(format!("--{name} is {value}; it must be at least 0 and below 1")))
        }
    }
}

/// The error of a recipe, with the flag that sets the field.
pub fn with_flag(error: Error) -> Failure {
    match error {
        Error::Recipe { field: "epochs" | "steps", .. } => {
            Failure::usage("no steps to train: give --epochs or --steps of 1 or more")
        }
        Error::Recipe { field, value, requirement } => {
            Failure::usage(format!("{} is {value}; {requirement}", flag(field)))
        }
        other => other.into(),
    }
}

/// The flag that sets a field of the recipe.
pub fn flag(field: &str) -> String {
    format!("--{}", field.replace('_', "-"))
}
