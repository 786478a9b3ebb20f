//! `train distill`: a small classifier from a large one.

mod flags;
mod hidden;
mod teacher;

use std::path::Path;

use gradus_cli::{Failure, Outcome, SharedArgs, command, note};
use gradus_models::data::{Fingerprint, LabelForm};
use gradus_models::tasks::{Distillation, DistilledTexts, Distilling, Problem};
use gradus_models::{
    Dataset, EncoderConfig, Example, Labels, Pooling, Pretrained, Split, Task, Tokenizer,
};

pub use flags::DistillFlags;

use super::classify::short_text;
use super::{Built, Job, Parts, report_cut, try_text};
use crate::data::{hold_out, refuse_evaluation, warn_of_leaks};
use crate::flags::with_flag;
use crate::page;

/// `train distill`.
pub struct Distill {
    dataset: Dataset,
    teacher: Pretrained,
    /// Those of the teacher.
    labels: Labels,
    pairs: bool,
}

impl Job for Distill {
    type Flags = DistillFlags;
    type Task = Distillation;

    fn open(shared: &SharedArgs, flags: &mut DistillFlags, path: &Path) -> Outcome<Distill> {
        let teacher = teacher::open(flags)?;
        let labels = teacher.config.labels()?;
        let mut dataset = Dataset::open_partly(path, &flags.columns.columns(LabelForm::One))?;
        let sets = || [Some(&dataset.train), dataset.dev.as_ref(), dataset.test.as_ref()];
        if flags.columns.label_column.is_some() && !sets().into_iter().flatten().any(is_labelled) {
            let name = flags.columns.label_column.as_deref().unwrap_or_default();
            let why = format!("--label-column {name}: no file of the data has this column");
            return Err(Failure::usage(why));
        }
        sets().into_iter().flatten().try_for_each(|split| check_labels(split, &labels))?;
        dataset.remarks.iter().for_each(|remark| note(shared, format!("warning: {remark}")));
        hold_out(shared, &mut flags.common, path, &mut dataset, true)?;
        if dataset.dev.is_none() {
            refuse_evaluation(&flags.common)?;
        }
        warn_of_leaks(shared, &dataset);
        Ok(Distill { dataset, teacher, labels, pairs: flags.columns.pair_column.is_some() })
    }

    fn learn_vocabulary(&self, _: usize) -> Outcome<Tokenizer> {
        Ok(self.teacher.tokenizer.clone())
    }

    fn fit(&self, flags: &mut DistillFlags, student: &mut Pretrained) -> Outcome<Vec<String>> {
        let named = student.follow_sentence()?;
        flags.pooling = flags.pooling.or(named);
        // The checkpoint of a resumed run has no other layers.
        if let Some(layers) = flags.layers.as_ref().filter(|_| flags.common.course.resume.is_none())
        {
            student.keep_layers(layers).map_err(|e| Failure::usage(format!("--layers: {e}")))?;
        }
        let mut notes = student.notes.clone();
        notes.extend(student.fit_head(&self.labels));
        Ok(notes)
    }

    fn configure(&self, flags: &mut DistillFlags, config: &mut EncoderConfig) {
        // A resumed run takes the pooling from its flags.
        flags.pooling = flags.pooling.or(self.teacher.config.pooling).or(Some(Pooling::Cls));
        config.set_labels(&self.labels);
        config.pooling = flags.pooling;
        config.problem_type = Some(Problem::Single.problem_type().into());
        config.architectures = vec![config.architecture(Task::Classify)];
    }

    fn build(self, parts: &Parts<DistillFlags>, length: usize) -> Outcome<Built<Distillation>> {
        let longest = length.min(self.teacher.config.max_tokens());
        let encode = |split: &Split| {
            let labels = is_labelled(split).then_some(&self.labels);
            let teacher = (&self.teacher.tokenizer, longest);
            DistilledTexts::of(split, labels, (parts.tokenizer, length), teacher)
        };
        let train = encode(&self.dataset.train)?;
        let dev = self.dataset.dev.as_ref().map(encode).transpose()?;
        let test = self.dataset.test.as_ref().map(encode).transpose()?;
        report_cut(parts.shared, &train.student, length);
        if train.teacher.is_some() {
            let told = "student and teacher have different tokenizers: each reads the texts with \
                        its own";
            note(parts.shared, told);
        }
        let alpha = if train.labels.is_some() { Distilling::default().alpha } else { 1.0 };
        let how = Distilling {
            temperature: parts.flags.temperature.unwrap_or(Distilling::default().temperature),
            alpha: parts.flags.alpha.unwrap_or(alpha),
        };
        let pooling = parts.config.pooling.unwrap_or(Pooling::Cls);
        let student = teacher::classifier(&parts.store.root(), parts.config, pooling)?;
        let teacher = teacher::build(&self.teacher, parts.store.device())?;
        let cut = train.student.iter().filter(|encoding| encoding.truncated).count();
        let mut task = Distillation::new(student, teacher, train, how).map_err(with_flag)?;
        if let Some(states) = &parts.flags.hidden {
            let how = states.of(parts.config, &self.teacher.config, parts.flags.hidden_weight);
            task = task.match_hidden(how, parts.shared.seed()).map_err(with_flag)?;
            [&dev, &test]
                .into_iter()
                .flatten()
                .try_for_each(|set| task.check(set))
                .map_err(with_flag)?;
        }
        if let Some(set) = dev.as_ref().or(test.as_ref()) {
            task.measure_by_labels(set.labels.is_some());
        }
        let details = Some(page::of_student(self.dataset, self.labels, (cut, length)));
        Ok(Built { task, dev, test, guessing: None, details })
    }

    fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.dataset, &self.labels)
    }

    fn has_pairs(&self) -> bool {
        self.pairs
    }

    fn about(&self) -> String {
        let split = &self.dataset.train;
        let (texts, labels) = (split.examples.len(), self.labels.len());
        let layers = self.teacher.config.num_hidden_layers;
        let without = if is_labelled(split) { "" } else { " without labels" };
        format!("{texts} training texts{without}, {labels} labels, a teacher of {layers} layers")
    }

    fn commands(&self, _: &DistillFlags, out: &Path) -> Vec<String> {
        let out = out.display().to_string();
        let Dataset { train, dev, test, .. } = &self.dataset;
        let text = short_text(test.as_ref().or(dev.as_ref()).unwrap_or(train));
        let infer = try_text(&["classify", "--model", &out], &text);
        vec![infer, command("serve", ["--model", &out])]
    }
}

/// Whether the examples of a split have labels.
fn is_labelled(split: &Split) -> bool {
    split.examples.iter().any(|example| example.label.is_some())
}

/// Refuses a label that the teacher does not know.
fn check_labels(split: &Split, labels: &Labels) -> Outcome {
    let unknown =
        |example: &&Example| example.label.as_ref().is_some_and(|label| labels.id(label).is_none());
    match split.examples.iter().find(unknown) {
        None => Ok(()),
        Some(example) => Err(Failure::error(format!(
            "{}:{}: the label `{}` is none of the teacher's {} labels ({})",
            split.path.display(),
            example.line,
            example.label.as_deref().unwrap_or_default(),
            labels.len(),
            labels.names().iter().take(5).map(String::as_str).collect::<Vec<_>>().join(", ")
        ))),
    }
}
