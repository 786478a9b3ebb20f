//! The command line.

use clap::{Args, Parser, Subcommand};
use gradus_cli::SharedArgs;

use crate::merge::MergeArgs;
use crate::tasks::classify::ClassifyFlags;
use crate::tasks::mlm::MlmFlags;
use crate::tasks::tokens::TokensFlags;

/// Trains BERT: from scratch, or from a pretrained model.
///
/// Without a subcommand, trains a small BERT from scratch on the bundled Banking77 (77 intents of
/// bank customers), with no network, and reports the accuracy on its test set.
#[derive(Parser)]
#[command(
    name = "train",
    version = gradus_cli::VERSION,
    long_version = gradus_cli::LONG_VERSION,
    allow_negative_numbers = true,
    after_help = "Examples:
  train
      a BERT of 2 layers, from scratch, on the bundled data: about two minutes on two cores
  train classify --data data/banking77 --model sentence-transformers/all-MiniLM-L6-v2 \\
      --pooling mean --lr 2e-4 --head-lr 2e-3 --epochs 5 --out runs/minilm
      fine-tunes a pretrained model (a folder, or an id of the Hugging Face hub)
  train classify --data texts.csv --model scratch --config-size mini --out runs/mini
  train classify --resume runs/minilm
      continues a run that was stopped
  train classify --data texts.csv --model google-bert/bert-base-uncased --lora-rank 8 --out runs/lora
      trains an adapter (LoRA); train merge runs/lora --out runs/whole folds it into its base
  train tokens --data ner --model google-bert/bert-base-cased --out runs/ner
      tags words: named entities, from train.conll, dev.conll and test.conll in the folder ner"
)]
pub struct Program {
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The flags that every program takes.
    #[command(flatten)]
    pub shared: SharedArgs,
    /// The flags of the bare `train`, and flags before a subcommand.
    #[command(flatten)]
    pub flags: ClassifyFlags,
}

/// What to train.
#[derive(Subcommand)]
pub enum Command {
    /// Train a classifier of texts or pairs of texts
    Classify(Box<Flagged<ClassifyFlags>>),
    /// Train a masked language model on raw text: from scratch, or a pretrained one further
    Mlm(Box<Flagged<MlmFlags>>),
    /// Train a tagger of words, such as of named entities
    Tokens(Box<Flagged<TokensFlags>>),
    /// Write an adapter (LoRA) and its base as one whole model
    Merge(Box<MergeArgs>),
}

/// The flags of a subcommand.
#[derive(Args)]
#[command(allow_negative_numbers = true)]
pub struct Flagged<F: Args> {
    #[command(flatten)]
    pub flags: F,
}
