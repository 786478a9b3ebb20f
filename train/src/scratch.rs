//! The bare `train`: the bundled data, and a recipe that suits it.

use std::path::{Path, PathBuf};

use gradus_cli::{Failure, Outcome};
use gradus_models::Pooling;

use crate::flags::{Flags, Size, over};
use crate::tasks::classify::ClassifyFlags;

/// The bundled data set: in the current folder, else in the folder where the program was built.
fn bundled() -> Outcome<PathBuf> {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/banking77");
    [PathBuf::from("data/banking77"), built]
        .into_iter()
        .find(|path| path.join("train.csv").is_file())
        .map(|path| path.canonicalize().unwrap_or(path))
        .ok_or_else(|| {
            Failure::error(
                "the bundled data set (data/banking77) is not here; run from the project's \
                 folder, or name a data set: train classify --data PATH --model scratch",
            )
        })
}

/// The flags of the bare `train` (a BERT of 2 layers and hidden 128, mean pooling, 25 epochs),
/// overridden by those given.
pub fn flags(given: &ClassifyFlags) -> Outcome<ClassifyFlags> {
    let data = match &given.common.data {
        Some(data) => data.clone(),
        None => bundled()?,
    };
    let common = Flags {
        data: Some(data),
        model: Some("scratch".into()),
        config_size: Some(Size::Tiny),
        epochs: Some(25),
        batch_size: Some(32),
        lr: Some(2e-3),
        vocab_size: Some(3000),
        max_length: Some(64),
        ..Flags::default()
    };
    let defaults = ClassifyFlags {
        common,
        pooling: Some(Pooling::Mean),
        label_smoothing: Some(0.1),
        ..ClassifyFlags::default()
    };
    over(given, &defaults)
}
