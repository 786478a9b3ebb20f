//! The flags of `train distill`.

use clap::Args;
use gradus_cli::{Failure, Outcome};
use gradus_models::Pooling;
use serde::{Deserialize, Serialize};

use super::hidden::HiddenStates;
use crate::flags::{Flags, TaskFlags, TextColumns, one_of};

/// The flags of `train distill`; `None` where one is not given.
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
#[command(mut_arg("data", |arg| arg.help(
    "Folder with train, dev and test files, or one file: .csv, .tsv, .jsonl, .parquet, or .txt with \
     a text a line; each with or without labels; or a data set of the hub, hub:owner/name"
)))]
#[command(mut_arg("label_column", |arg| arg.help(
    "Column with the label, which a file need not have [default: label]"
)))]
#[command(mut_arg("vocab_size", |arg| arg.hide(true)))]
#[command(mut_arg("model", |arg| arg.help(
    "Student to start from: a folder, a hub id, or `scratch` (with the teacher's tokenizer)"
)))]
pub struct DistillFlags {
    #[command(flatten)]
    #[serde(flatten)]
    pub common: Flags,
    /// Teacher: the folder or hub id of a classifier of texts with one label each
    #[arg(long, help_heading = "Data and model")]
    pub teacher: Option<String>,
    /// Layers of the teacher that the student begins with, counted from 0: 0,2,4; instead of --model
    #[arg(long, help_heading = "Data and model", value_delimiter = ',', value_name = "LAYERS")]
    pub layers: Option<Vec<usize>>,
    #[command(flatten)]
    #[serde(flatten)]
    pub columns: TextColumns,
    /// How a text becomes one vector of the student: `cls` (BERT's pooler) or `mean` of its tokens
    /// [default: what the student's folder says, else as the teacher]
    #[arg(long, value_parser = one_of::<Pooling>, help_heading = "Data and model")]
    pub pooling: Option<Pooling>,
    /// Divides the logits of student and teacher before they are compared [default: 2]
    #[arg(long, help_heading = "Recipe", value_parser = gradus_cli::finite)]
    pub temperature: Option<f64>,
    /// Share of the teacher in the loss, the rest is that of the labels [default: 0.5; 1 without
    /// labels]
    #[arg(long, help_heading = "Recipe", value_parser = gradus_cli::finite)]
    pub alpha: Option<f64>,
    /// The student's hidden states learn from the teacher's too: `uniform`, each from the state as
    /// deep in the teacher, or pairs STUDENT:TEACHER such as 0:0,1:3,2:6, where 0 is the embeddings'
    /// output and i that of the i-th layer [default: they do not; without a value uniform]
    #[arg(long, help_heading = "Recipe", value_name = "PAIRS", num_args = 0..=1)]
    #[arg(default_missing_value = "uniform")]
    pub hidden: Option<HiddenStates>,
    /// Factor of the hidden states in the loss: of the sum of their mean squares [default: 1]
    #[arg(long, help_heading = "Recipe", value_parser = gradus_cli::finite)]
    pub hidden_weight: Option<f64>,
    /// The hash of the teacher's weights, so that a resumed run has the same teacher.
    #[arg(skip)]
    pub teacher_hash: Option<String>,
}

impl TaskFlags for DistillFlags {
    const TASK: &'static str = "distill";

    fn common(&self) -> &Flags {
        &self.common
    }

    fn common_mut(&mut self) -> &mut Flags {
        &mut self.common
    }

    fn plain() -> Self {
        DistillFlags {
            common: Flags::plain(),
            columns: TextColumns::plain(),
            temperature: Some(2.0),
            ..DistillFlags::default()
        }
    }

    fn complete(&mut self) {
        if self.layers.is_some() && self.common.model.is_none() {
            self.common.model = self.teacher.clone();
        }
    }

    fn check(&self) -> Outcome {
        let Some(teacher) = &self.teacher else {
            let why = "train distill needs --teacher (see train distill --help)";
            return Err(Failure::usage(why));
        };
        let same = self.common.model.as_ref() == Some(teacher);
        if self.layers.is_some() && !same {
            let why = "--layers are those of the teacher; leave --model out, or name the teacher";
            return Err(Failure::usage(why));
        }
        if self.hidden_weight.is_some() && self.hidden.is_none() {
            return Err(Failure::usage("--hidden-weight goes only with --hidden"));
        }
        if self.common.vocab_size.is_some() {
            let why = "--vocab-size: a student from scratch has the teacher's tokenizer";
            return Err(Failure::usage(why));
        }
        Ok(())
    }
}
