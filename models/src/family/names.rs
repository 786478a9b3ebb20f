//! What a parameter's name says, in any model type.

use super::{FAMILIES, Family, is_below};

/// A name without the place of the encoder (`bert.`), which models with a head put before it.
pub(crate) fn bare(name: &str) -> &str {
    // The layers of a bare DistilBERT lie in `transformer`, where a GPT-2 has its whole encoder.
    if FAMILIES.iter().any(|f| is_below(f.layers, name)) {
        return name;
    }
    let first = name.split_once('.');
    let prefixed = first.filter(|(first, _)| FAMILIES.iter().any(|f| f.prefix == *first));
    prefixed.map_or(name, |(_, rest)| rest)
}

/// Whether a parameter belongs to a head: it lies outside the encoder's place.
pub(crate) fn is_head(name: &str) -> bool {
    bare(name).len() == name.len()
}

/// Whether a parameter belongs to the embeddings or the layers.
pub(crate) fn is_encoder(name: &str) -> bool {
    let first = bare(name).split('.').next().unwrap_or(name);
    let begins = |path: &str| path.split('.').next() == Some(first);
    let of_family = |f: &&Family| {
        let others = f.others.iter().copied().chain(f.final_norm).chain(f.embeddings.all());
        begins(f.layers) || others.into_iter().any(begins)
    };
    first == "embeddings_project" || FAMILIES.iter().any(of_family)
}

/// Whether a parameter is one of the norm after the last layer.
pub(crate) fn is_final_norm(name: &str) -> bool {
    FAMILIES.iter().filter_map(|f| f.final_norm).any(|norm| is_below(norm, bare(name)))
}

/// Whether a weight is `[in, out]` in files.
pub(crate) fn is_transposed(name: &str) -> bool {
    let Some(module) = bare(name).strip_suffix(".weight") else { return false };
    FAMILIES
        .iter()
        .filter(|f| is_below(f.layers, module))
        .any(|f| layer_of(module).is_some_and(|(_, part)| f.transposed.contains(&part)))
}

/// The layer that a parameter is in, and its name there: `encoder.layer.3.output.dense.bias` is
/// `output.dense.bias` of layer 3.
pub(crate) fn layer_of(name: &str) -> Option<(usize, &str)> {
    let name = bare(name);
    let places =
        FAMILIES.iter().flat_map(|f| [Some(f.layers), f.file_form.as_ref().map(|f| f.layers)]);
    let rest = places.flatten().find_map(|place| name.strip_prefix(place)?.strip_prefix('.'))?;
    let (layer, rest) = rest.split_once('.')?;
    Some((layer.parse().ok()?, rest))
}
