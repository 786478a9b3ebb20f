//! Which parameters are trained, and at which rates: freezing by pattern, low-rank adaptation,
//! layer-wise decay of the rate.

use std::collections::{BTreeMap, BTreeSet};

use glob::Pattern;
use gradus_nn::{Lora, ParamGroup, Parameter, Store, param_groups};

use super::Recipe;
use crate::family::{bare, is_encoder, is_final_norm, layer_of};
use crate::{Error, Result};

/// Freezes what the recipe leaves as it is.
///
/// # Errors
/// [`Error::Recipe`] for a pattern or a target that matches nothing, and when nothing is left to
/// train.
pub(super) fn freeze(store: &Store, recipe: &Recipe, is_head: impl Fn(&str) -> bool) -> Result<()> {
    let parameters = store.parameters();
    // The modules that are trained in full may be known only when the model is built.
    let parts = |lora: Lora| Lora { modules_to_save: Vec::new(), ..lora };
    if store.lora().map(parts) != recipe.lora.clone().map(parts) {
        let value = if recipe.lora.is_some() { "set" } else { "not set" };
        let requirement = "the store's layers must be adapted in the same way, before the model is \
                           built: see Recipe::adapt";
        return Err(Error::recipe("lora", value, requirement));
    }
    if let Some(lora) = &recipe.lora {
        check_names(lora, &parameters)?;
        for parameter in &parameters {
            let name = parameter.name();
            let adapts = Lora::layer_of(name).is_some() || lora.saved_module(name).is_some();
            parameter.set_trainable(adapts || is_head(name));
        }
        check_random(store, &parameters)?;
    }
    recipe.freeze.iter().try_for_each(|pattern| freeze_by(pattern, &parameters))?;
    match parameters.iter().any(Parameter::trainable) {
        true => Ok(()),
        false => {
            let requirement = "it leaves no parameter to train";
            Err(Error::recipe("freeze", recipe.freeze.join(", "), requirement))
        }
    }
}

/// Freezes the parameters and modules of a pattern.
fn freeze_by(pattern: &str, parameters: &[Parameter]) -> Result<()> {
    let glob = Pattern::new(pattern)
        .map_err(|e| Error::recipe("freeze", pattern, format!("it is no pattern: {e}")))?;
    let mut matched = false;
    for parameter in parameters {
        if names(parameter.name()).any(|name| glob.matches(name)) {
            parameter.set_trainable(false);
            matched = true;
        }
    }
    if matched {
        return Ok(());
    }
    let all = parameters.iter().flat_map(|parameter| names(bare(parameter.name())));
    let near = near(pattern.trim_end_matches(".*"), all);
    Err(Error::recipe("freeze", pattern, format!("it matches no parameter; there are {near}")))
}

/// The names by which a pattern finds a parameter: its own and those of the modules that it is in,
/// each with and without `bert.`.
fn names(full: &str) -> impl Iterator<Item = &str> {
    let parts = |name| {
        let ends = str::match_indices(name, '.').map(|(at, _)| at).chain([name.len()]);
        ends.map(move |end| &name[..end])
    };
    let own = bare(full);
    parts(full).chain(parts(own).filter(move |_| own != full))
}

/// The names that are most like `wanted`.
fn near<'n>(wanted: &str, all: impl Iterator<Item = &'n str>) -> String {
    let mut names: Vec<&str> = all.collect::<BTreeSet<_>>().into_iter().collect();
    let likeness = |name: &str| (strsim::normalized_damerau_levenshtein(wanted, name) * 1e6) as u64;
    names.sort_by_cached_key(|name| std::cmp::Reverse(likeness(name)));
    names.truncate(5);
    format!("{}, …", names.join(", "))
}

/// Checks that every target adapts a layer, and every module to save is there.
fn check_names(lora: &Lora, parameters: &[Parameter]) -> Result<()> {
    for target in &lora.targets {
        let one = Lora { targets: vec![target.clone()], ..lora.clone() };
        let adapted = parameters.iter().filter_map(|p| Lora::layer_of(p.name()));
        if !adapted.into_iter().any(|layer| one.adapts(layer)) {
            let matrices = parameters.iter().filter(|p| p.shape().len() == 2);
            let layers = matrices.filter_map(|p| p.name().strip_suffix(".weight"));
            let ends = layers.filter_map(layer_of).filter(|(i, _)| *i == 0).map(|(_, end)| end);
            let requirement = format!(
                "it names no linear layer of the encoder; there are {}",
                near(target, ends.filter(|end| !end.contains("lora_")))
            );
            return Err(Error::recipe("lora_targets", target, requirement));
        }
    }
    for module in &lora.modules_to_save {
        let one = Lora { modules_to_save: vec![module.clone()], ..lora.clone() };
        if !parameters.iter().any(|p| one.saved_module(p.name()).is_some()) {
            let all = parameters.iter().flat_map(|p| names(bare(p.name())));
            let requirement = format!("it names no module; there are {}", near(module, all));
            return Err(Error::recipe("lora_modules_to_save", module, requirement));
        }
    }
    Ok(())
}

/// Refuses a parameter of random values that is not trained: an adapter would not have it.
fn check_random(store: &Store, parameters: &[Parameter]) -> Result<()> {
    let missing: BTreeSet<String> = store.missing().into_iter().collect();
    let random = |p: &&Parameter| !p.trainable() && missing.contains(p.name());
    match parameters.iter().find(random) {
        None => Ok(()),
        Some(parameter) => {
            let requirement = format!(
                "the checkpoint has no {}: name its module, so that it is trained in full",
                parameter.name()
            );
            Err(Error::recipe("lora_modules_to_save", "incomplete", requirement))
        }
    }
}

/// The groups of the optimiser: the trained parameters, by rate and weight decay.
pub(super) fn groups(
    parameters: &[Parameter],
    recipe: &Recipe,
    is_head: impl Fn(&str) -> bool,
) -> Vec<ParamGroup> {
    let top = parameters.iter().filter_map(|p| depth(p.name())).max().map_or(0, |last| last + 1);
    let mut levels: BTreeMap<usize, Vec<Parameter>> = BTreeMap::new();
    for parameter in parameters.iter().filter(|p| p.trainable()) {
        let level = recipe.layer_decay.and_then(|_| depth(parameter.name())).unwrap_or(top);
        levels.entry(level).or_default().push(parameter.clone());
    }
    let decay = recipe.layer_decay.unwrap_or(1.0);
    let groups = levels.iter().flat_map(|(level, parameters)| {
        let lr = recipe.lr * decay.powi((top - level) as i32);
        let head_lr = recipe.head_lr.unwrap_or(recipe.lr);
        param_groups(parameters, lr, Some(head_lr), &is_head, recipe.weight_decay)
    });
    groups.filter(|group| !group.params.is_empty()).collect()
}

/// How deep in the encoder a parameter lies: 0 for the embeddings, i + 1 for layer i, `None` above
/// the layers.
fn depth(name: &str) -> Option<usize> {
    match layer_of(name) {
        Some((layer, _)) => Some(layer + 1),
        None => (is_encoder(name) && !is_final_norm(name)).then_some(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_finds_modules_and_parameters_by_both_names() {
        let name = "bert.encoder.layer.1.output.dense.bias";
        let finds = |pattern: &str| {
            let glob = Pattern::new(pattern).unwrap();
            names(name).any(|name| glob.matches(name))
        };
        for pattern in [
            "bert",
            "encoder",
            "encoder.layer.1",
            "encoder.layer.[01]",
            "bert.encoder.*",
            "*.bias",
            "encoder.layer.1.*",
            "*output*",
            name,
        ] {
            assert!(finds(pattern), "{pattern}");
        }
        for pattern in ["encode", "encoder.layer", "layer.1", "encoder.layer.[02]", "embeddings*"] {
            assert_eq!(finds(pattern), pattern == "encoder.layer", "{pattern}");
        }
        assert!(!Pattern::new("encoder.layer.1").unwrap().matches("encoder.layer.11"));
    }

    #[test]
    fn the_depth_of_a_parameter() {
        for (name, want) in [
            ("bert.embeddings.LayerNorm.weight", Some(0)),
            ("bert.encoder.layer.0.output.dense.bias", Some(1)),
            ("encoder.layer.11.attention.self.query.lora_A.weight", Some(12)),
            ("bert.pooler.dense.weight", None),
            ("distilbert.transformer.layer.2.ffn.lin1.weight", Some(3)),
            ("electra.embeddings_project.weight", Some(0)),
            ("classifier.weight", None),
            ("transformer.wpe.weight", Some(0)),
            ("transformer.h.2.ln_1.weight", Some(3)),
            ("transformer.ln_f.weight", None),
            ("model.final_norm.weight", None),
        ] {
            assert_eq!(depth(name), want, "{name}");
        }
    }
}
