//! The command line.

use clap::{Args, Parser, Subcommand};
use gradus_cli::SharedArgs;

use crate::compare::CompareFlags;
use crate::merge::MergeArgs;
use crate::sweep::SweepArgs;
use crate::tasks::answer::AnswerFlags;
use crate::tasks::classify::ClassifyFlags;
use crate::tasks::distill::DistillFlags;
use crate::tasks::embed::EmbedFlags;
use crate::tasks::lm::LmFlags;
use crate::tasks::mlm::MlmFlags;
use crate::tasks::tokens::TokensFlags;

/// Trains BERT and its family: from scratch, or from a pretrained model.
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
      tags words: named entities, from train.conll, dev.conll and test.conll in the folder ner
  train embed --data pairs.csv --model sentence-transformers/all-MiniLM-L6-v2 --out runs/search
      embeds texts so that the two of a pair find each other
  train answer --data squad --model google-bert/bert-base-uncased --lr 3e-5 --epochs 2 \\
      --batch-size 12 --out runs/squad
      finds answers in texts: from train-v1.1.json and dev-v1.1.json in the folder squad
  train distill --data texts.txt --teacher runs/large --layers 0,2,4 --out runs/small
      makes a small classifier from a large one, on texts without labels
  mpirun -n 4 train classify --data texts.csv --model MODEL --accumulate 4 --out runs/four
      trains on four ranks (built with --features mpi): the same model as on one, to the last bit"
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

const EMBED_EXAMPLES: &str = "Examples:
  train embed --data pairs.csv --model sentence-transformers/all-MiniLM-L6-v2 --batch-size 64 --out runs/search
      columns anchor,positive (or query,answer …), perhaps negative: the other pairs of a batch are the negatives
  train embed --data pairs.csv --model MODEL --accumulate 8 --cached-negatives --out runs/search
      negatives from all 8 batches of a step, in the memory of one
  train embed --data sts --model MODEL --score-scale 5 --out runs/similar
      columns sentence1,sentence2,score with scores from 0 to 5
  infer evaluate --model runs/search --data test.csv";

const LM_EXAMPLES: &str = "Examples:
  train lm --data shakespeare.txt --model scratch --config-size mini --vocab-size 257 --out runs/shakespeare
      a token for each byte, as in many a first GPT
  train lm --data texts/ --model openai-community/gpt2 --lr 5e-5 --out runs/mine
  infer generate --model runs/shakespeare --temperature 0.8 \"ROMEO:\"";

/// What to train.
#[derive(Subcommand)]
pub enum Command {
    /// Train a classifier of texts or pairs of texts
    Classify(Box<Flagged<ClassifyFlags>>),
    /// Train a tagger of words, such as of named entities
    Tokens(Box<Flagged<TokensFlags>>),
    /// Train a masked language model on raw text: from scratch, or a pretrained one further
    Mlm(Box<Flagged<MlmFlags>>),
    /// Train a GPT-2 to go on with texts, on raw text: from scratch, or a pretrained one further
    #[command(after_help = LM_EXAMPLES)]
    Lm(Box<Flagged<LmFlags>>),
    /// Train an embedder on texts that belong together, or on scores of how similar they are
    #[command(after_help = EMBED_EXAMPLES)]
    Embed(Box<Flagged<EmbedFlags>>),
    /// Train a model that finds the answers to questions in texts, as SQuAD asks them
    Answer(Box<Flagged<AnswerFlags>>),
    /// Train a small classifier to answer as a large one does
    Distill(Box<Flagged<DistillFlags>>),
    /// Write an adapter (LoRA) and its base as one whole model
    Merge(Box<MergeArgs>),
    /// Train many runs with flags drawn from ranges, and tell which are best
    Sweep(SweepArgs),
    /// Compare finished or running runs: a table, and a page with their curves in one picture
    Compare(CompareFlags),
}

/// The flags of a subcommand.
#[derive(Args)]
#[command(allow_negative_numbers = true)]
pub struct Flagged<F: Args> {
    #[command(flatten)]
    pub flags: F,
}
