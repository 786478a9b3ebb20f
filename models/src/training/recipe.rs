//! The recipe: everything besides model and data that decides a training run.

use gradus_nn::{Lora, Precision, ScheduleKind, Store};
use serde::{Deserialize, Serialize};

use crate::{EncoderConfig, Error, Result};

/// The optimiser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerKind {
    /// AdamW (Loshchilov & Hutter, arXiv:1711.05101).
    #[default]
    AdamW,
    /// Adam, weight decay as part of the gradient (Kingma & Ba, arXiv:1412.6980).
    Adam,
    /// Stochastic gradient descent with momentum 0.9.
    Sgd,
}

/// Everything besides model and data that decides a training run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// Passes over the training set.
    pub epochs: usize,
    /// Optimiser steps; overrides `epochs`.
    pub steps: Option<u64>,
    /// Examples of one batch.
    pub batch_size: usize,
    /// Batches of one optimiser step.
    pub accumulate: usize,
    /// Peak learning rate of the encoder, and of the head unless it has its own.
    pub lr: f64,
    /// Peak learning rate of the head.
    pub head_lr: Option<f64>,
    /// Steps of warm-up, or their share of all steps if below 1.
    pub warmup: f64,
    /// What follows the warm-up.
    pub schedule: ScheduleKind,
    /// Weight decay of weight matrices (biases and LayerNorms have none).
    pub weight_decay: f64,
    /// Largest global norm of the gradients; 0 for no limit.
    pub clip_norm: f64,
    /// Skips a step whose norm of the gradients is more than so many times the usual one, which is
    /// the mean over about 50 steps; the first 20 steps are never skipped. `None` for steps with
    /// gradients that are not finite only.
    #[serde(default)]
    pub skip_spikes: Option<f64>,
    /// The optimiser.
    pub optimizer: OptimizerKind,
    /// Seed of the order of examples and of dropout.
    pub seed: u64,
    /// The precision of the model's products; f16 with dynamic loss scaling.
    #[serde(default)]
    pub precision: Precision,
    /// Parameters that are not trained: globs over the names of parameters or of modules, with or
    /// without the `bert.` before them, such as `embeddings` or `encoder.layer.[0-3]`.
    #[serde(default)]
    pub freeze: Vec<String>,
    /// Factor of the rate from each encoder layer to the one below it; the rate of the layers above
    /// the encoder is the full one. With n layers, layer i (from 0) has the rate
    /// lr·decay^(n − i), and the embeddings lr·decay^(n + 1) (Clark et al., arXiv:2003.10555).
    #[serde(default)]
    pub layer_decay: Option<f64>,
    /// Low-rank adaptation: only the low-rank parts, the head and
    /// [`modules_to_save`](Lora::modules_to_save) are trained. The store must be adapted before
    /// its model is built: see [`Recipe::adapt`].
    #[serde(default)]
    pub lora: Option<Lora>,
    /// Decay of the exponential moving average of the weights, with a warm-up (see
    /// [`Ema::update_warming_up`](gradus_nn::Ema::update_warming_up)). Evaluations and the written
    /// model have the averages.
    #[serde(default)]
    pub ema: Option<f64>,
    /// Whether backward runs each layer again instead of keeping what it computed. It changes no
    /// result.
    #[serde(default)]
    pub activation_checkpointing: bool,
}

impl Default for Recipe {
    fn default() -> Self {
        Recipe {
            epochs: 3,
            steps: None,
            batch_size: 32,
            accumulate: 1,
            lr: 5e-5,
            head_lr: None,
            warmup: 0.1,
            schedule: ScheduleKind::Linear,
            weight_decay: 0.01,
            clip_norm: 1.0,
            skip_spikes: None,
            optimizer: OptimizerKind::AdamW,
            seed: 0,
            precision: Precision::F32,
            freeze: Vec::new(),
            layer_decay: None,
            lora: None,
            ema: None,
            activation_checkpointing: false,
        }
    }
}

impl Recipe {
    /// Checks every number.
    ///
    /// # Errors
    /// [`Error::Recipe`] for the first field that is out of its range.
    pub fn validate(&self) -> Result<()> {
        for (field, value) in [
            ("lr", self.lr),
            ("head_lr", self.head_lr.unwrap_or(0.0)),
            ("warmup", self.warmup),
            ("weight_decay", self.weight_decay),
            ("clip_norm", self.clip_norm),
        ] {
            if !value.is_finite() || value < 0.0 {
                return Err(Error::recipe(field, value, "it must be 0 or more"));
            }
        }
        if let Some(factor) = self.skip_spikes.filter(|factor| factor.is_nan() || *factor <= 1.0) {
            return Err(Error::recipe("skip_spikes", factor, "it must be above 1"));
        }
        for (field, value) in [("batch_size", self.batch_size), ("accumulate", self.accumulate)] {
            at_least_one(field, Some(value as u64))?;
        }
        self.validate_efficient()?;
        match self.steps {
            Some(steps) => at_least_one("steps", Some(steps)),
            None => at_least_one("epochs", Some(self.epochs as u64)),
        }
    }

    fn validate_efficient(&self) -> Result<()> {
        if let Some(decay) = self.layer_decay.filter(|decay| !(*decay > 0.0 && *decay <= 1.0)) {
            return Err(Error::recipe("layer_decay", decay, "it must be above 0, and 1 at most"));
        }
        if let Some(decay) = self.ema.filter(|decay| !(0.0..1.0).contains(decay)) {
            return Err(Error::recipe("ema", decay, "it must be at least 0 and below 1"));
        }
        let Some((field, value, requirement)) = self.lora.as_ref().and_then(Lora::fault) else {
            return Ok(());
        };
        // The names of the recipe's fields, and of the flags.
        let field = match field {
            "rank" => "lora_rank",
            "alpha" => "lora_alpha",
            "dropout" => "lora_dropout",
            _ => "lora_targets",
        };
        Err(Error::recipe(field, value, requirement))
    }

    /// Adapts the layers of the encoder of `config` that will be built in `store`, where the recipe has
    /// [`lora`](Recipe::lora).
    ///
    /// # Errors
    /// When the encoder is built already, or a number of the adaptation is out of its range.
    pub fn adapt(&self, store: &Store, config: &EncoderConfig) -> Result<()> {
        self.validate_efficient()?;
        // The layers are below the first part of their place: `bert.encoder`.
        let layers = config.family().layers.split('.').next().unwrap_or_default();
        let layers = config.encoder_path(&store.root()).join(layers);
        match &self.lora {
            Some(lora) => Ok(layers.adapt(lora.clone())?),
            None => Ok(()),
        }
    }

    /// Optimiser steps of the whole run.
    pub(super) fn total_steps(&self, steps_per_epoch: u64) -> u64 {
        self.steps.unwrap_or(self.epochs as u64 * steps_per_epoch)
    }

    pub(super) fn warmup_steps(&self, total: u64) -> u64 {
        if self.warmup < 1.0 { (self.warmup * total as f64) as u64 } else { self.warmup as u64 }
    }
}

/// Refuses a count of 0.
pub(super) fn at_least_one(field: &'static str, value: Option<u64>) -> Result<()> {
    match value {
        Some(0) => Err(Error::recipe(field, 0, "it must be 1 or more")),
        _ => Ok(()),
    }
}
