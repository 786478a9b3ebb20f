//! Low-rank adaptation: what it asks of the model and of the recipe; how many parameters are trained.

use gradus_cli::{Failure, Outcome, SharedArgs, note};
use gradus_models::training::{Recipe, Task, Trainer};
use gradus_models::{Base, Checkpoint, EncoderConfig, ModelRef, Pretrained};
use gradus_nn::Store;

use crate::flags::Flags;

/// The end of a parameter's name that some checkpoints lack.
const POOLER: &str = ".pooler.dense.weight";

/// Opens a pretrained model: an adapter folded into its base, unless its own run goes on.
///
/// # Errors
/// When it cannot be opened, or is an adapter and `--lora-rank` asks for a new one.
pub fn open(source: &str, flags: &Flags) -> Outcome<Pretrained> {
    let (adapts, resumes) = (flags.efficient.lora_rank.is_some(), flags.course.resume.is_some());
    let model = ModelRef { apart: adapts && resumes, ..source.into() };
    let pretrained = Pretrained::open(model)?;
    if adapts && !resumes && pretrained.base.is_some() {
        return Err(Failure::usage(format!(
            "--lora-rank: {source} is an adapter, and an adapter needs a whole model as its base; \
             merge it first: train merge {source} --out DIR"
        )));
    }
    Ok(pretrained)
}

/// The base of the adapter that a run trains; `None` for a run without low-rank parts.
///
/// # Errors
/// When its weights cannot be read.
pub fn base(pretrained: &Pretrained, flags: &Flags) -> Outcome<Option<Base>> {
    match (&flags.efficient.lora_rank, &flags.model) {
        (Some(_), Some(model)) => Ok(Some(pretrained.as_base(model)?)),
        _ => Ok(None),
    }
}

/// Refuses low-rank parts of a model from scratch.
///
/// # Errors
/// A usage error.
pub fn refuse_scratch(flags: &Flags) -> Outcome {
    match flags.efficient.lora_rank {
        None => Ok(()),
        Some(_) => Err(Failure::usage(
            "--lora-rank leaves the model's weights as they are, so they must be trained: give \
             --model a folder or a hub id",
        )),
    }
}

/// Lets the low-rank parts be those of the queries and values, by the names of the model's type,
/// where no flag names other layers.
pub fn default_targets(recipe: &mut Recipe, flags: &Flags, config: &EncoderConfig) {
    if let (Some(lora), None) = (&mut recipe.lora, &flags.efficient.lora_targets) {
        lora.targets = config.lora_targets();
    }
}

/// Lets the pooler be trained in full where the base has none: its weights are random.
pub fn train_new_pooler(recipe: &mut Recipe, store: &Store, weights: Option<&Checkpoint>) {
    let (Some(lora), Some(weights)) = (&mut recipe.lora, weights) else { return };
    let parameters = store.parameters();
    let Some(pooler) = parameters.iter().map(|p| p.name()).find(|name| name.ends_with(POOLER))
    else {
        return;
    };
    if !weights.has(pooler) && lora.saved_module(pooler).is_none() {
        lora.modules_to_save.push("pooler".into());
    }
}

/// Tells how many parameters are trained, where some are not.
pub fn tell_trained<T: Task>(shared: &SharedArgs, trainer: &Trainer<T>) {
    let (trained, all) = trainer.parameter_counts();
    if trained < all {
        let share = 100.0 * trained as f64 / all as f64;
        note(shared, format!("{trained} of {all} parameters are trained ({share:.2} %)"));
    }
}
