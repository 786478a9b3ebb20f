//! The files that other programs need to run a folder that Gradus wrote.
//!
//! `transformers` has no class for a classifier with another pooling than BERT's own: its class
//! would use the folder's head after a pooler of random weights. Such a folder therefore gets a
//! small Python class, which `trust_remote_code=True` runs. The head has the name of that class,
//! and an empty tensor stands in the place of the usual head: without the flag, loading fails
//! instead of giving random answers.

use std::path::Path;

use gradus_tensor::{DType, Tensor};
use serde_json::{Value, json};

use crate::checkpoint::in_layout_of_files;
use crate::error::Result;
use crate::{EncoderConfig, Task, files};

/// The Python module.
pub(crate) const MODULE: &str = "modeling_gradus.";
const FILE: &str = "modeling_gradus.py";
const CODE: &str = include_str!("modeling_gradus.py");
const CARD: &str = "README.md";

/// The usual name of a classification head, and its name in a folder with another pooling.
const HEAD: &str = "classifier.";
const OWN_HEAD: &str = "pooled_classifier.";

/// Whether `transformers` lacks the class of this model.
fn needs_class(config: &EncoderConfig) -> bool {
    let own = config.pooling.is_none_or(|pooling| config.is_own_pooling(pooling));
    !own && !config.id2label.is_empty()
}

/// The name of a head's parameter in a folder with another pooling.
pub(crate) fn own_head(name: &str) -> Option<String> {
    name.strip_prefix(HEAD).map(|rest| format!("{OWN_HEAD}{rest}"))
}

/// The name of a head's parameter or module in the model's class.
pub(crate) fn head_name(config: &EncoderConfig, name: &str) -> String {
    let own = match name {
        "classifier" => Some(OWN_HEAD.trim_end_matches('.').to_string()),
        name => own_head(name),
    };
    own.filter(|_| needs_class(config)).unwrap_or_else(|| name.to_string())
}

/// The configuration for a file: it names the dtype of the weights, and the class that runs them.
pub(crate) fn config(config: &EncoderConfig, dtype: DType) -> EncoderConfig {
    let mut written = config.clone();
    // Programs that read the older key do not know the newer.
    if written.extra.contains_key("torch_dtype") {
        written.extra.insert("torch_dtype".into(), json!(python_name(dtype)));
    }
    written.extra.insert("dtype".into(), json!(python_name(dtype)));
    if needs_class(config) {
        let class = config.architecture(Task::Classify);
        written.architectures = vec![class.clone()];
        let class = format!("{MODULE}{class}");
        written
            .extra
            .insert("auto_map".into(), json!({"AutoModelForSequenceClassification": class}));
    } else if written.extra.get("auto_map").is_some_and(Value::is_object) {
        written.extra.remove("auto_map");
    }
    written
}

fn python_name(dtype: DType) -> &'static str {
    match dtype {
        DType::F64 => "float64",
        DType::F16 => "float16",
        DType::BF16 => "bfloat16",
        _ => "float32",
    }
}

/// The parameters for a file, with their names there.
pub(crate) fn tensors(
    config: &EncoderConfig,
    tensors: Vec<(String, Tensor)>,
) -> Result<Vec<(String, Tensor)>> {
    let tensors = tensors.into_iter().map(|(name, tensor)| {
        let tensor = in_layout_of_files(&name, tensor)?;
        Ok((name, tensor))
    });
    let tensors: Vec<(String, Tensor)> = tensors.collect::<Result<_>>()?;
    if !needs_class(config) {
        return Ok(tensors);
    }
    let mut written: Vec<(String, Tensor)> = tensors
        .into_iter()
        .map(|(name, tensor)| (own_head(&name).unwrap_or(name), tensor))
        .collect();
    let inner = config.family().classifier.as_ref();
    let layers = inner.map_or(vec!["classifier"], |inner| vec![inner.dense, inner.output]);
    for layer in layers {
        for name in ["weight", "bias"] {
            written.push((format!("{layer}.{name}"), Tensor::zeros(&[0], DType::F32)?));
        }
    }
    Ok(written)
}

/// The Python module for a model's type: BERT's, with the type's names.
fn code(config: &EncoderConfig) -> String {
    let family = config.family();
    let mut code = CODE.replace("Bert", family.class);
    code = code.replace("self.bert", &format!("self.{}", family.prefix));
    if !family.pooler {
        code = code.replace("(config, add_pooling_layer=False)", "(config)");
    }
    if config.type_vocab_size == 0 {
        code = code.replace(" token_type_ids=token_type_ids,", "");
    }
    family.keys.iter().fold(code, |code, (name, own)| code.replace(name, own))
}

/// Writes the files that tell other programs, and people, how to run the model.
pub(crate) fn write_files(folder: &Path, config: &EncoderConfig) -> Result<()> {
    if !needs_class(config) {
        return Ok(());
    }
    files::write_atomic(&folder.join(FILE), code(config).as_bytes())?;
    let card = folder.join(CARD);
    match card.exists() {
        true => Ok(()),
        false => files::write_atomic(&card, include_str!("model_card.md").as_bytes()),
    }
}

/// A note for a person who may take the folder elsewhere; `None` where `transformers` runs it
/// without help.
pub fn note(config: &EncoderConfig) -> Option<&'static str> {
    needs_class(config).then_some(
        "transformers needs trust_remote_code=True for this model, because its own classes do not \
         pool like this (see README.md in the folder)",
    )
}
