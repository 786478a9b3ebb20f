//! Types whose files name parameters differently from their classes in `transformers`, which renames
//! them when it reads and writes, and splits the tensors that a file joins.

use super::{FAMILIES, Family, bare, is_below};

/// The names in the files of a type.
pub(crate) struct FileForm {
    /// The place of the layers.
    pub layers: &'static str,
    /// Parts of a layer: the name, that in files, and which part of the tensor there it is.
    pub parts: &'static [(&'static str, &'static str, Part)],
    /// Modules outside of the layers: the name, and that in files.
    pub others: &'static [(&'static str, &'static str)],
}

/// The number of a part along the first dimension, and how many there are; `WHOLE` for a tensor of
/// its own.
pub(crate) type Part = (usize, usize);
pub(super) const WHOLE: Part = (0, 1);

/// The name in files of a parameter that has another in its class.
pub(crate) fn in_files(name: &str) -> Option<(String, Part)> {
    let prefix = &name[..name.len() - bare(name).len()];
    let own = |family: &&Family| {
        let form = family.file_form.as_ref()?;
        let renamed = form.others.iter().find(|(module, _)| is_below(module, bare(name)));
        if let Some((module, file)) = renamed {
            return Some((format!("{prefix}{file}{}", &bare(name)[module.len()..]), WHOLE));
        }
        let rest = bare(name).strip_prefix(family.layers)?.strip_prefix('.')?;
        let (layer, rest) = rest.split_once('.')?;
        let (module, file, part) = form.parts.iter().find(|(module, ..)| is_below(module, rest))?;
        let rest = &rest[module.len()..];
        Some((format!("{prefix}{}.{layer}.{file}{rest}", form.layers), *part))
    };
    let of_prefix =
        |family: &&&Family| prefix.is_empty() || prefix == format!("{}.", family.prefix);
    FAMILIES.iter().filter(of_prefix).find_map(own)
}

impl FileForm {
    /// Whether the encoder has a parameter of this name in files.
    pub(super) fn has(&self, name: &str) -> bool {
        if self.others.iter().any(|(_, file)| is_below(file, name)) {
            return true;
        }
        let layer = name.strip_prefix(self.layers).and_then(|rest| rest.strip_prefix('.'));
        let part = layer.and_then(|rest| rest.split_once('.'));
        part.is_some_and(|(_, rest)| self.parts.iter().any(|(_, file, _)| is_below(file, rest)))
    }
}
