//! The command line.

// The doc comments are help texts, in which `[MASK]` is a token and not a link.
#![allow(rustdoc::broken_intra_doc_links)]

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use gradus_cli::SharedArgs;
use gradus_models::Pooling;
use gradus_models::data::Set;
use gradus_models::evaluation::Scheme;
use serde::{Deserialize, Serialize};

/// Runs BERT and its family: labels of texts and how often they are right, embeddings, masked
/// words, tagged words, answers to questions, similarity, rankings, new texts.
///
/// Texts come from the command line, from a file (--input) or from standard input, one a line.
/// Results go to standard output, everything else to standard error.
#[derive(Parser)]
#[command(
    name = "infer",
    version = gradus_cli::VERSION,
    long_version = gradus_cli::LONG_VERSION,
    after_help = "Examples:
  infer classify --model runs/banking77 \"How do I locate my card?\"
  infer evaluate --model runs/banking77 --data data/banking77/test.csv
  infer embed --model sentence-transformers/all-MiniLM-L6-v2 --input texts.txt --output texts.npy
  infer similarity --model sentence-transformers/all-MiniLM-L6-v2 \"A cat.\" \"A kitten.\"
  infer fill-mask --model google-bert/bert-base-uncased \"Paris is the [MASK] of France.\"
  infer answer --model runs/squad \"Who wrote it?\" \"Ada Lovelace wrote it in 1843.\"
  cat texts.txt | infer classify --model runs/banking77 --json > labels.jsonl"
)]
pub struct Program {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// The flags that every program takes.
    #[command(flatten)]
    pub shared: SharedArgs,
}

/// What to do.
#[derive(Subcommand)]
pub enum Command {
    /// The best labels of each text, with scores
    #[command(after_help = "Examples:
  infer classify --model runs/banking77 \"How do I locate my card?\" \"My card was stolen\"
  infer classify --model runs/banking77 --input test.csv --text-column text --top-k 1 --json
  infer classify --model runs/pairs --input pairs.tsv --text-column premise --pair-column hypothesis

With --json, a line a text: {\"text\":…,\"labels\":[{\"label\":…,\"score\":…},…]}")]
    Classify(Classify),
    /// A vector for each text, made as the model's folder says, else the mean of its tokens, of
    /// length 1
    #[command(after_help = "Examples:
  infer embed --model MODEL --json \"How do I locate my card?\"
  infer embed --model MODEL --input texts.txt --output texts.npy
  infer embed --model MODEL --input texts.csv --output texts.safetensors
  infer embed --model naver/splade-cocondenser-ensembledistil --sparse \"How do I locate my card?\"

With --json, a line a text: {\"text\":…,\"embedding\":[…]}; with --sparse
{\"text\":…,\"sparse_embedding\":[{\"index\":…,\"token\":…,\"value\":…},…]}, the largest value first
--output writes .jsonl (the same lines), .npy (float32, texts × width) or .safetensors (the same as `embeddings`).")]
    Embed(Embed),
    /// The most probable words in the place of [MASK] (<mask> for models such as RoBERTa)
    #[command(after_help = "Examples:
  infer fill-mask --model google-bert/bert-base-uncased \"Paris is the [MASK] of France.\"
  infer fill-mask --model MODEL --top-k 3 --json \"[MASK] is the capital of [MASK].\"

With --json, a line a text: {\"text\":…,\"masks\":[[{\"token\":…,\"token_str\":…,\"id\":…,\"score\":…,\"sequence\":…},…],…]}, a list a mask")]
    FillMask(FillMask),
    /// Texts that go on from a prompt, with a causal language model such as GPT-2
    #[command(after_help = "Examples:
  infer generate --model openai-community/gpt2 \"Once upon a time\"
  infer generate --model runs/shakespeare --temperature 0.8 --top-k 200 --samples 3 --seed 7 \"ROMEO:\"
  infer generate --model MODEL --prompt-file prompt.txt --stop \"THE END\" --json

Each token is the most probable one, unless a flag, or the model's generation_config.json, says to draw.
With --json, a line a text: {\"text\":…,\"sample\":…,\"generated_text\":…,\"prompt_tokens\":…,\"generated_tokens\":…,
\"finish_reason\":…}; the reason is length, eos_token or stop_sequence")]
    Generate(Generate),
    /// A label for every word, or the spans that the labels make
    #[command(after_help = "Examples:
  infer tokens --model runs/ner \"Ada Lovelace was born in London.\"
  infer tokens --model runs/ner --aggregate --input texts.txt --json
  infer tokens --model runs/ner --input sentences.conll

A text is split at spaces and punctuation; the words of a .conll file stay as they are given, as in training.
With --json, a line a text: {\"text\":…,\"words\":[{\"text\":…,\"label\":…,\"score\":…,\"start\":…,\"end\":…},…]};
with --aggregate `spans` instead of `words`. Places are in characters.")]
    Tokens(Tokens),
    /// The parts of a text that answer a question, with scores
    #[command(after_help = "Examples:
  infer answer --model runs/squad \"Who wrote the first program?\" \"Ada Lovelace wrote it in 1843.\"
  infer answer --model runs/squad --context-file report.txt \"Who signed it?\" \"When?\" --top-k 3
  infer answer --model runs/squad --input questions.jsonl --json

Rows of .jsonl, .parquet, .csv and .tsv have `question` and `context`; a .json file is in SQuAD's form.
A text that is too long is read in windows that overlap.
With --json, a line a question: {\"id\":…,\"question\":…,\"answers\":[{\"score\":…,\"start\":…,\"end\":…,\"answer\":…},…],
\"no_answer_difference\":…}; `id` where --input has one. Places are in characters. The last number tells by how much
the score of no answer is above that of the best one.")]
    Answer(Answer),
    /// How similar two texts are: the cosine of their embeddings, from -1 to 1 (or the function
    /// that the model's folder names)
    #[command(after_help = "Examples:
  infer similarity --model MODEL \"A cat sleeps.\" \"A kitten is asleep.\"
  infer similarity --model MODEL --input pairs.csv --text-column first --pair-column second --json

With --json, a line a pair: {\"text\":…,\"pair\":…,\"similarity\":…}")]
    Similarity(Similarity),
    /// Texts ranked by how well they answer a query, with a model of one label (a cross-encoder)
    #[command(after_help = "Examples:
  infer rerank --model cross-encoder/ms-marco-MiniLM-L6-v2 \"Where is my card?\" \"It is on its way.\" \"The rate is fair.\"
  infer rerank --model MODEL \"Where is my card?\" --input answers.txt --top-k 3 --json

With --json, a line a text, the best first: {\"index\":…,\"text\":…,\"score\":…}; `index` counts the texts from 0")]
    Rerank(Rerank),
    /// How well a classifier does on labelled texts, a tagger on tagged words, an embedder on pairs of
    /// texts, or a question answerer on questions: accuracy, F1, recall, mistakes
    #[command(after_help = "Examples:
  infer evaluate --model runs/banking77 --data data/banking77/test.csv
  infer evaluate --model runs/pairs --data dev.jsonl --text-column a --pair-column b --json
  infer evaluate --model runs/ner --data ner/test.conll
  infer evaluate --model runs/search --data pairs.csv --anchor-column query --positive-column answer
  infer evaluate --model runs/squad --data squad/dev-v2.0.json

With --json, one object; of a classifier {\"accuracy\":…,\"macro_f1\":…,\"loss\":…,\"examples\":…,
\"per_class\":{LABEL:{\"precision\":…,\"recall\":…,\"f1\":…,\"support\":…},…},
\"confusions\":[{\"label\":…,\"predicted\":…,\"count\":…},…],
\"mistakes\":[{\"text\":…,\"label\":…,\"predicted\":…,\"score\":…,\"line\":…},…]},
of a tagger {\"f1\":…,\"precision\":…,\"recall\":…,\"accuracy\":…,\"loss\":…,\"examples\":…,\"words\":…,
\"words_without_tokens\":…,\"per_class\":{ENTITY:{\"precision\":…,\"recall\":…,\"f1\":…,\"support\":…},…},
\"mistakes\":[{\"words\":[…],\"wrong\":[{\"text\":…,\"label\":…,\"start\":…,\"end\":…},…],\"missed\":[…],\"score\":…,\"line\":…},…]},
of an embedder {\"recall_at_1\":…,\"mrr\":…,\"recall_at_5\":…,\"recall_at_10\":…,\"triplet_accuracy\":…,\"examples\":…,
\"mistakes\":[{\"anchor\":…,\"positive\":…,\"similarity\":…,\"taken\":…,\"taken_similarity\":…,\"line\":…},…]}, or with scores
{\"spearman\":…,\"pearson\":…,\"examples\":…,\"mistakes\":[{\"anchor\":…,\"positive\":…,\"similarity\":…,\"score\":…,\"line\":…},…]},
of a causal language model {\"loss\":…,\"perplexity\":…,\"bits_per_byte\":…,\"accuracy\":…,\"tokens\":…,\"examples\":…,\"mistakes\":[…]},
of a question answerer {\"exact_match\":…,\"f1\":…,\"loss\":…,\"examples\":…,
\"mistakes\":[{\"id\":…,\"question\":…,\"answers\":[…],\"predicted\":…,\"no_answer_difference\":…},…]},
for data with unanswered questions also \"HasAns_exact\", \"HasAns_f1\", \"NoAns_exact\", \"NoAns_f1\" and \"best_exact\",
\"best_exact_thresh\", \"best_f1\", \"best_f1_thresh\": the scores with the best --no-answer-threshold")]
    Evaluate(Evaluate),
    /// A page that shows what a model does with a text, operation by operation: formulas with their
    /// numbers, values, attention, time, memory, kernels; with --target also the way back
    #[command(after_help = "Examples:
  infer trace --model sentence-transformers/all-MiniLM-L6-v2 \"Where is my card?\"
  infer trace --model runs/banking77 --target card_arrival \"Where is my card?\" --output card.html
  infer trace --model runs/pairs --target entailment \"A cat sleeps.\" \"An animal rests.\"

The page is one file that a browser opens; it needs no network.
With --json, one object: {\"page\":…,\"tokens\":…,\"operations\":…,\"loss\":…}")]
    Trace(TraceText),
    /// The devices that --device may name
    Devices,
}

/// The model, and how it runs.
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct ModelFlags {
    /// The model: a folder in the Hugging Face layout, or an id of the Hugging Face hub
    #[arg(long)]
    pub model: Option<String>,
    /// The base of a model that is an adapter (LoRA): a folder or a hub id [default: what its
    /// adapter_config.json names]
    #[arg(long, value_name = "DIR")]
    pub base: Option<String>,
    /// Maximum tokens of a text; longer texts are cut [default: as many as the model takes]
    #[arg(long, value_name = "N")]
    pub max_length: Option<usize>,
    /// Maximum texts of one batch [default: 32]
    #[arg(long, value_name = "N")]
    pub batch_size: Option<usize>,
}

/// Flags of every subcommand that runs a model on texts.
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct TextFlags {
    #[command(flatten)]
    #[serde(flatten)]
    pub run: ModelFlags,
    /// Read texts from a file (.txt with one text a line, .csv, .tsv, .jsonl, each also with .gz, or
    /// .parquet), or from standard input (-) with one text a line
    #[arg(long, value_name = "FILE|-")]
    pub input: Option<PathBuf>,
    /// Column (or JSON key) of --input with the text [default: text]
    #[arg(long, value_name = "NAME")]
    pub text_column: Option<String>,
    /// Write the results to a file instead of standard output: .jsonl
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// `infer classify`.
#[derive(Args)]
pub struct Classify {
    /// Texts to classify
    #[arg(conflicts_with = "input")]
    pub text: Vec<String>,
    #[command(flatten)]
    pub flags: ClassifyFlags,
}

/// The flags of `infer classify`.
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct ClassifyFlags {
    #[command(flatten)]
    #[serde(flatten)]
    pub common: TextFlags,
    /// Column of --input with the second text, for a model of pairs
    #[arg(long, value_name = "NAME")]
    pub pair_column: Option<String>,
    /// Number of labels for each text, the best first [default: 5]
    #[arg(long, value_name = "N")]
    pub top_k: Option<usize>,
}

/// `infer evaluate`.
#[derive(Args)]
pub struct Evaluate {
    #[command(flatten)]
    pub flags: EvaluateFlags,
}

/// The flags of `infer evaluate`.
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct EvaluateFlags {
    #[command(flatten)]
    #[serde(flatten)]
    pub run: ModelFlags,
    /// Labelled texts (.csv, .tsv, .jsonl, .parquet), tagged words for a tagger (.conll, .iob, .bio,
    /// .txt, .jsonl, .parquet), pairs of texts for an embedder, questions with answers for a question
    /// answerer (.json, .jsonl, .parquet), or raw text for a language model (.txt, .md,
    /// .parquet; .csv, .tsv and .jsonl with --text-column); each also with .gz. Or a folder with
    /// test.* or dev.*, or a data set of the hub, `hub:owner/name`
    #[arg(long, value_name = "FILE|FOLDER|hub:NAME")]
    pub data: Option<PathBuf>,
    /// Set of a folder, or of a data set of the hub: train, dev (or validation) or test [default:
    /// test, else dev]
    #[arg(long, value_name = "SET")]
    pub split: Option<Set>,
    /// Column (or JSON key) with the text [default: text]
    #[arg(long, value_name = "NAME")]
    pub text_column: Option<String>,
    /// Column with the label [default: label]
    #[arg(long, value_name = "NAME")]
    pub label_column: Option<String>,
    /// Column with the second text, for a model of pairs
    #[arg(long, value_name = "NAME")]
    pub pair_column: Option<String>,
    /// For a tagger, the words: a key of .jsonl, a column of .parquet, or the number of another
    /// file's column, from 1 [default: tokens, or the first column]
    #[arg(long, value_name = "NAME")]
    pub tokens_column: Option<String>,
    /// For a tagger, the tags: a key of .jsonl, a column of .parquet, or the number of another
    /// file's column, from 1 [default: tags, or the last column]
    #[arg(long, value_name = "NAME")]
    pub tags_column: Option<String>,
    /// For a tagger, the names of tags that the data writes as numbers, in their order
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub tag_names: Option<Vec<String>>,
    /// For a tagger, how tags make the entities that are counted: conll (as conlleval and seqeval),
    /// strictly iob2, ioe2, iobes or bilou, or words (each by itself) [default: conll; words for
    /// tags without B- and I-, bilou for tags with U- and L-]
    #[arg(long)]
    pub scheme: Option<Scheme>,
    /// For an embedder, the column with the first text [default: anchor, query, question, sentence1,
    /// text1 or text]
    #[arg(long, value_name = "NAME")]
    pub anchor_column: Option<String>,
    /// For an embedder, the column with the second text [default: positive, document, passage,
    /// answer, context, sentence2, text2, text_pair or pair]
    #[arg(long, value_name = "NAME")]
    pub positive_column: Option<String>,
    /// For an embedder, columns with texts that do not belong to the first [default: negative,
    /// negative_1, …, unless both texts' columns are named]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub negative_column: Option<Vec<String>>,
    /// For an embedder, the column with how similar the two texts are [default: score or
    /// similarity, unless both texts' columns are named]
    #[arg(long, value_name = "NAME")]
    pub score_column: Option<String>,
    /// For a question answerer, tokens that two neighbouring windows of a long text share [default:
    /// 128, at most half of --max-length]
    #[arg(long, value_name = "N")]
    pub stride: Option<usize>,
    /// For a question answerer, maximum tokens of an answer [default: 30]
    #[arg(long, value_name = "N")]
    pub max_answer_length: Option<usize>,
    /// For a question answerer, predict that there is no answer where its score is by more than this
    /// above that of the best one [default: 0 for data with unanswered questions; else there always
    /// is an answer]
    #[arg(long, value_name = "SCORE", value_parser = gradus_cli::finite)]
    pub no_answer_threshold: Option<f64>,
    /// For a masked language model, the probability with which a token is masked [default: 0.15];
    /// --max-length is that of a block, and --seed draws the masks
    #[arg(long, value_parser = gradus_cli::finite)]
    pub mask_probability: Option<f64>,
    /// For a masked language model, mask the pieces of a word together
    #[arg(long)]
    pub whole_words: bool,
    /// Number of frequent confusions, and of confident mistakes, to show [default: 5]
    #[arg(long, value_name = "N")]
    pub mistakes: Option<usize>,
    /// Write the result to a file instead of standard output: .jsonl
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// `infer embed`.
#[derive(Args)]
#[command(mut_arg("output", |arg| arg.help(
    "Write the vectors to a file instead of standard output: .jsonl, .npy or .safetensors"
)))]
pub struct Embed {
    /// Texts to embed
    #[arg(conflicts_with = "input")]
    pub text: Vec<String>,
    #[command(flatten)]
    pub flags: EmbedFlags,
}

/// The flags of `infer embed`.
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct EmbedFlags {
    #[command(flatten)]
    #[serde(flatten)]
    pub common: TextFlags,
    #[command(flatten)]
    #[serde(flatten)]
    pub pooling: PoolingFlags,
    #[command(flatten)]
    #[serde(flatten)]
    pub prompt: PromptFlags,
    /// Scale every vector to length 1, even if the model's folder does not
    #[arg(long, conflicts_with = "no_normalize")]
    pub normalize: bool,
    /// Do not scale the vectors to length 1
    #[arg(long)]
    pub no_normalize: bool,
    /// Sparse vectors (SPLADE) of a masked language model: a number for each token of the vocabulary
    #[arg(long, conflicts_with_all = ["pooling", "normalize", "no_normalize"])]
    pub sparse: bool,
}

/// The prompt before every text.
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct PromptFlags {
    /// Put the model's prompt of this name, such as `query`, before every text [default: the prompt
    /// that the model's folder names, else none]
    #[arg(long, value_name = "NAME", conflicts_with = "prompt")]
    pub prompt_name: Option<String>,
    /// Put this text before every text
    #[arg(long, value_name = "TEXT")]
    pub prompt: Option<String>,
}

/// How tokens become one vector.
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct PoolingFlags {
    /// How a text becomes one vector: the `mean` of its tokens, the first one (`cls`), or `max`,
    /// `mean_sqrt_len_tokens`, `weightedmean`, `lasttoken` [default: what the model's folder says,
    /// else mean]
    #[arg(long, value_name = "MODE")]
    pub pooling: Option<Pooling>,
}

/// `infer fill-mask`.
#[derive(Args)]
pub struct FillMask {
    /// Texts with the model's mask, [MASK] or <mask>, where a word is missing
    #[arg(conflicts_with = "input")]
    pub text: Vec<String>,
    #[command(flatten)]
    pub flags: FillMaskFlags,
}

/// The flags of `infer fill-mask`.
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct FillMaskFlags {
    #[command(flatten)]
    #[serde(flatten)]
    pub common: TextFlags,
    /// Number of words for each mask, the most probable first [default: 5]
    #[arg(long, value_name = "N")]
    pub top_k: Option<usize>,
}

/// `infer generate`.
#[derive(Args)]
#[command(
    mut_arg("max_length", |arg| arg.hide(true)),
    mut_arg("batch_size", |arg| arg.hide(true))
)]
pub struct Generate {
    /// Prompts
    #[arg(conflicts_with = "input")]
    pub text: Vec<String>,
    #[command(flatten)]
    pub flags: GenerateFlags,
}

/// The flags of `infer generate`.
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct GenerateFlags {
    #[command(flatten)]
    #[serde(flatten)]
    pub common: TextFlags,
    /// Read one prompt, of any number of lines, from a file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["input", "text"])]
    pub prompt_file: Option<PathBuf>,
    /// Maximum of new tokens [default: the model's, else 100]
    #[arg(long, value_name = "N")]
    pub max_new_tokens: Option<usize>,
    /// Draw tokens, with the logits divided by this: below 1 for a safer text, above 1 for a wilder
    /// one [default: 1, where tokens are drawn]
    #[arg(long, value_name = "T", value_parser = gradus_cli::finite)]
    pub temperature: Option<f64>,
    /// Draw from so many of the most probable tokens, 0 for all [default: 50, where tokens are drawn]
    #[arg(long, value_name = "N")]
    pub top_k: Option<usize>,
    /// Draw from the most probable tokens whose probabilities sum to this [default: 1, where tokens
    /// are drawn]
    #[arg(long, value_name = "P", value_parser = gradus_cli::finite)]
    pub top_p: Option<f64>,
    /// Take the most probable token each time, even if the model's folder says to draw
    #[arg(long)]
    pub greedy: bool,
    /// Make tokens that the text already has less probable: above 1 [default: 1]
    #[arg(long, value_name = "X", value_parser = gradus_cli::finite)]
    pub repetition_penalty: Option<f64>,
    /// End the text before one of these texts (the flag may be repeated)
    #[arg(long, value_name = "TEXT")]
    pub stop: Option<Vec<String>>,
    /// Number of texts for each prompt [default: 1]
    #[arg(long, value_name = "N")]
    pub samples: Option<usize>,
}

/// `infer tokens`.
#[derive(Args)]
pub struct Tokens {
    /// Texts whose words are labelled
    #[arg(conflicts_with = "input")]
    pub text: Vec<String>,
    #[command(flatten)]
    pub flags: TokensFlags,
}

/// The flags of `infer tokens`.
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct TokensFlags {
    #[command(flatten)]
    #[serde(flatten)]
    pub common: TextFlags,
    /// Join words into spans (B-X begins one, I-X continues it), without words labelled O
    #[arg(long)]
    pub aggregate: bool,
    /// The words of --input, whose sentences are given as words: a key of .jsonl, a column of
    /// .parquet, or the number of a column of .conll, .iob or .bio, from 1 [default: the first
    /// column]
    #[arg(long, value_name = "NAME")]
    pub tokens_column: Option<String>,
}

/// `infer answer`.
#[derive(Args)]
#[command(mut_arg("max_length", |arg| arg.help(
    "Maximum tokens of a window: a question with a part of its text [default: 384, or as many as \
     the model takes]"
)))]
pub struct Answer {
    /// A question and the text that may answer it; with --context-file any number of questions
    #[arg(conflicts_with = "input")]
    pub text: Vec<String>,
    #[command(flatten)]
    pub flags: AnswerFlags,
}

/// The flags of `infer answer`.
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct AnswerFlags {
    #[command(flatten)]
    #[serde(flatten)]
    pub run: ModelFlags,
    /// Read the text that may answer the questions from a file, or from standard input (-)
    #[arg(long, value_name = "FILE|-", conflicts_with = "input")]
    pub context_file: Option<PathBuf>,
    /// Read questions with their texts from a file: SQuAD's form (.json), or rows with `question` and
    /// `context` (.jsonl, .parquet, .csv, .tsv)
    #[arg(long, value_name = "FILE")]
    pub input: Option<PathBuf>,
    /// Number of answers to each question, the best first [default: 1]
    #[arg(long, value_name = "N")]
    pub top_k: Option<usize>,
    /// Tokens of a long text that two neighbouring windows share [default: 128, at most half of
    /// --max-length]
    #[arg(long, value_name = "N")]
    pub stride: Option<usize>,
    /// Maximum tokens of an answer [default: 15]
    #[arg(long, value_name = "N")]
    pub max_answer_length: Option<usize>,
    /// Let no answer be one of the answers, by its probability
    #[arg(long)]
    pub no_answer: bool,
    /// Answer that there is none where `no_answer_difference` is above this
    #[arg(long, value_name = "SCORE", value_parser = gradus_cli::finite, conflicts_with = "no_answer")]
    pub no_answer_threshold: Option<f64>,
    /// Write the results to a file instead of standard output: .jsonl
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// `infer similarity`.
#[derive(Args)]
pub struct Similarity {
    /// Two texts
    #[arg(conflicts_with = "input", value_names = ["A", "B"], num_args = 2)]
    pub text: Vec<String>,
    #[command(flatten)]
    pub flags: SimilarityFlags,
}

/// The flags of `infer similarity`.
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct SimilarityFlags {
    #[command(flatten)]
    #[serde(flatten)]
    pub common: TextFlags,
    #[command(flatten)]
    #[serde(flatten)]
    pub pooling: PoolingFlags,
    #[command(flatten)]
    #[serde(flatten)]
    pub prompt: PromptFlags,
    /// Column of --input with the second text [default: pair]
    #[arg(long, value_name = "NAME")]
    pub pair_column: Option<String>,
}

/// `infer rerank`.
#[derive(Args)]
pub struct Rerank {
    /// The query that ranks the texts
    pub query: String,
    /// Texts to rank
    #[arg(conflicts_with = "input")]
    pub text: Vec<String>,
    #[command(flatten)]
    pub flags: RerankFlags,
}

/// The flags of `infer rerank`.
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct RerankFlags {
    #[command(flatten)]
    #[serde(flatten)]
    pub common: TextFlags,
    /// Number of texts to show, the best first [default: all]
    #[arg(long, value_name = "N")]
    pub top_k: Option<usize>,
}

/// `infer trace`.
#[derive(Args)]
#[command(mut_arg("batch_size", |arg| arg.hide(true)))]
pub struct TraceText {
    /// A text; of a model of pairs, two
    #[arg(required = true, num_args = 1..=2)]
    pub text: Vec<String>,
    #[command(flatten)]
    pub flags: TraceFlags,
}

/// The flags of `infer trace`.
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct TraceFlags {
    #[command(flatten)]
    #[serde(flatten)]
    pub run: ModelFlags,
    /// The right answer: the page also shows the loss and the gradients [default: forward alone]
    ///
    /// Of a classifier a label (of a regression a number), of a tagger a tag for each word with
    /// blanks between, of a masked language model the word of its mask. Models for embeddings and
    /// for answers take none.
    #[arg(long, value_name = "LABEL")]
    pub target: Option<String>,
    /// The page [default: trace.html]
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Program::command().debug_assert();
    }
}
