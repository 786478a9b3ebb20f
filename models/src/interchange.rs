//! What other programs need to run a folder that Gradus wrote.
//!
//! `transformers` has no class for a classifier on another pooling than BERT's own: its classifier
//! would answer from the folder's head and a pooler of random weights. Such a folder therefore has
//! a small Python class beside it, which `trust_remote_code=True` takes; and its head is stored
//! under a name of that class, with an empty tensor in the place of the usual head, so that without
//! that flag loading fails instead of answering noise.

use std::path::Path;

use gradus_tensor::{DType, Tensor};
use serde_json::{Value, json};

use crate::error::Result;
use crate::{BertConfig, Pooling, files};

/// The Python module.
pub(crate) const MODULE: &str = "modeling_gradus.";
const FILE: &str = "modeling_gradus.py";
const CODE: &str = include_str!("modeling_gradus.py");
const CARD: &str = "README.md";
const CLASS: &str = "BertForSequenceClassification";

/// The usual name of a classification head, and the one in a folder with another pooling.
const HEAD: &str = "classifier.";
const OWN_HEAD: &str = "pooled_classifier.";

/// Whether `transformers` lacks the class of this model.
fn needs_class(config: &BertConfig) -> bool {
    config.pooling.is_some_and(|pooling| pooling != Pooling::Cls) && !config.id2label.is_empty()
}

/// The name in a file for a head's parameter in a folder with another pooling.
pub(crate) fn own_head(name: &str) -> Option<String> {
    name.strip_prefix(HEAD).map(|rest| format!("{OWN_HEAD}{rest}"))
}

/// The configuration as it is written: it says what the weights are, and which class runs them.
pub(crate) fn config(config: &BertConfig, dtype: DType) -> BertConfig {
    let mut written = config.clone();
    // The older key first: a program that reads it does not know the newer.
    if written.extra.contains_key("torch_dtype") {
        written.extra.insert("torch_dtype".into(), json!(python_name(dtype)));
    }
    written.extra.insert("dtype".into(), json!(python_name(dtype)));
    if needs_class(config) {
        written.architectures = vec![CLASS.into()];
        let class = format!("{MODULE}{CLASS}");
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

/// The parameters as they are written.
pub(crate) fn tensors(
    config: &BertConfig,
    tensors: Vec<(String, Tensor)>,
) -> Result<Vec<(String, Tensor)>> {
    if !needs_class(config) {
        return Ok(tensors);
    }
    let mut written: Vec<(String, Tensor)> = tensors
        .into_iter()
        .map(|(name, tensor)| (own_head(&name).unwrap_or(name), tensor))
        .collect();
    for name in ["weight", "bias"] {
        written.push((format!("{HEAD}{name}"), Tensor::zeros(&[0], DType::F32)?));
    }
    Ok(written)
}

/// The files beside the model that tell other programs, and people, how to run it.
pub(crate) fn write_files(folder: &Path, config: &BertConfig) -> Result<()> {
    if !needs_class(config) {
        return Ok(());
    }
    files::write_atomic(&folder.join(FILE), CODE.as_bytes())?;
    let card = folder.join(CARD);
    match card.exists() {
        true => Ok(()),
        false => files::write_atomic(&card, include_str!("model_card.md").as_bytes()),
    }
}

/// What to tell a person who may take the folder elsewhere; `None` where `transformers` runs it as
/// it is.
pub fn note(config: &BertConfig) -> Option<&'static str> {
    needs_class(config).then_some(
        "in transformers, this model needs trust_remote_code=True: its classes know no such pooling (see README.md in the \
         folder)",
    )
}
