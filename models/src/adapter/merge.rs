//! An adapter and its base as one whole model.

use std::path::Path;

use gradus_nn::Store;

use crate::folder::{Layout, SENTENCE_CONFIGS, module_files};
use crate::{
    CausalLm, Encoder, Error, MaskedLm, ModelRef, Pooling, Pretrained, Result, SequenceClassifier,
    SpanPredictor, Task, TokenClassifier, files, save_folder,
};

/// Writes the model of an adapter as a whole model into the folder `out`: the adapter is folded into
/// its base. Returns notes for a person.
///
/// # Errors
/// When the model is no adapter, cannot be opened or lacks a parameter, or a file cannot be written.
pub fn merge<'m>(adapter: impl Into<ModelRef<'m>>, out: &Path) -> Result<Vec<String>> {
    let pretrained = Pretrained::open(adapter)?;
    if pretrained.base.is_none() {
        return Err(Error::Input(format!(
            "{} is a whole model; there is nothing to merge",
            pretrained.folder.display()
        )));
    }
    let task = pretrained.task()?;
    let store = pretrained.store(0);
    build(&pretrained, task, &store)?;
    let parameters = store.missing();
    if !parameters.is_empty() {
        let path = pretrained.checkpoint.path().to_path_buf();
        let architecture = pretrained.config.architecture(task);
        return Err(Error::MissingHead { path, task, architecture, parameters });
    }
    let mut config = pretrained.config.clone();
    config.extra.remove("_name_or_path");
    let within = match (task, pretrained.layout()) {
        (Task::Embed, layout) if layout.modules.is_some() => copy_modules(layout, out)?,
        _ => out.to_path_buf(),
    };
    save_folder(&within, &config, &pretrained.tokenizer, &store)?;
    Ok(pretrained.notes)
}

/// Builds the model, so that the store has its parameters.
fn build(pretrained: &Pretrained, task: Task, store: &Store) -> Result<()> {
    let (root, config) = (store.root(), &pretrained.config);
    let labels = config.num_labels().unwrap_or(config.id2label.len());
    match task {
        Task::Embed => drop(Encoder::new(&config.encoder_path(&root), config, false)?),
        Task::Classify => {
            let pooling = config.pooling.unwrap_or(Pooling::Cls);
            drop(SequenceClassifier::new(&root, config, pooling, labels)?);
        }
        Task::FillMask => {
            pretrained.check_decoder()?;
            drop(MaskedLm::new(&root, config)?);
        }
        Task::Tag => drop(TokenClassifier::new(&root, config, labels)?),
        Task::Answer => drop(SpanPredictor::new(&root, config)?),
        Task::Generate => {
            pretrained.check_decoder()?;
            drop(CausalLm::new(&root, config)?);
        }
    }
    Ok(())
}

/// Copies the modules of sentence-transformers after the encoder; returns the folder of the encoder.
fn copy_modules(layout: &Layout, out: &Path) -> Result<std::path::PathBuf> {
    let listed = module_files(&files::read(&layout.root.join("modules.json"))?);
    let listed = listed.into_iter().map(|(name, _)| name);
    let others = ["modules.json", "config_sentence_transformers.json"].map(String::from);
    for name in listed.chain(others) {
        copy(&layout.root.join(&name), &out.join(&name))?;
    }
    let below = layout.transformer.strip_prefix(&layout.root).unwrap_or(Path::new(""));
    for name in SENTENCE_CONFIGS {
        copy(&layout.transformer.join(name), &out.join(below).join(name))?;
    }
    Ok(out.join(below))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    if !from.is_file() {
        return Ok(());
    }
    if let Some(folder) = to.parent() {
        std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
    }
    files::write_atomic(to, &files::read(from)?)
}
