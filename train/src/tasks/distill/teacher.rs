//! The teacher: opened, checked and built.

use std::path::Path;

use gradus_cli::{Failure, Outcome};
use gradus_models::tasks::Problem;
use gradus_models::{EncoderConfig, Pooling, Pretrained, SequenceClassifier, Task, files};
use gradus_tensor::Device;

use super::DistillFlags;

/// The teacher on a device, with all of its weights.
pub fn build(teacher: &Pretrained, device: Device) -> Outcome<SequenceClassifier> {
    let (store, config) = (teacher.store(0), &teacher.config);
    let model = classifier(&store.root(), config, config.pooling.unwrap_or(Pooling::Cls))?;
    if let Some(name) = store.missing().first() {
        let path = teacher.checkpoint.path().display();
        return Err(Failure::error(format!(
            "--teacher: {path} has no `{name}`: a teacher must be a trained classifier"
        )));
    }
    store.to_device(device)?;
    Ok(model)
}

/// A classifier with the labels of its configuration.
pub fn classifier(
    root: &gradus_nn::Path,
    config: &EncoderConfig,
    pooling: Pooling,
) -> Outcome<SequenceClassifier> {
    let labels = config.num_labels().unwrap_or(0);
    Ok(SequenceClassifier::new(root, config, pooling, labels)?)
}

/// Opens the teacher, and checks that it is the one of a resumed run.
pub fn open(flags: &mut DistillFlags) -> Outcome<Pretrained> {
    let name = flags.teacher.clone().unwrap_or_default();
    let mut teacher = Pretrained::open(&name)?;
    let task = teacher.task()?;
    let labels = teacher.config.num_labels().unwrap_or(0);
    let problem = Problem::of(teacher.config.problem_type.as_deref(), labels);
    if task != Task::Classify || problem != Problem::Single {
        let what = if task == Task::Classify { problem.name() } else { task.name() };
        return Err(Failure::usage(format!(
            "--teacher {name} is a model for {what}; a teacher classifies texts with one label each"
        )));
    }
    teacher.follow_sentence()?;
    if Path::new(&name).is_dir() {
        flags.teacher = Some(std::path::absolute(&name)?.display().to_string());
    }
    let hash = files::hash(teacher.checkpoint.path())?;
    if flags.teacher_hash.replace(hash.clone()).is_some_and(|before| before != hash) {
        return Err(Failure::error(format!(
            "--teacher {name}: the teacher has changed since the run began; restore it, or begin a \
             new run"
        )));
    }
    Ok(teacher)
}
