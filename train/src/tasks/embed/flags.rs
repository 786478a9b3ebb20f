//! The flags of `train embed`.

use clap::Args;
use gradus_cli::{Failure, Outcome};
use gradus_models::Pooling;
use gradus_models::data::{PairColumns, PairForm};
use gradus_models::folder::SentenceSettings;
use gradus_models::tasks::PairLoss;
use serde::{Deserialize, Serialize};

use crate::flags::{Flags, TaskFlags};

/// The flags of `train embed`; `None` where one is not given.
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
#[command(
    mut_arg("data", |arg| arg.help(
        "Folder with train, dev and test files, or one such file (.csv, .tsv, .jsonl, .parquet): \
         pairs of texts that belong together, perhaps with negatives, or pairs with a score; or a \
         data set of the hub, hub:owner/name"
    )),
    mut_arg("accumulate", |arg| arg.help(
        "Batches of one optimiser step; each has its own negatives, unless --cached-negatives \
         takes them from the whole step [default: 1]"
    )),
    mut_arg("batch_size", |arg| arg.help(
        "Pairs of one batch: more are more negatives for each [default: 32]"
    )),
    mut_arg("max_length", |arg| arg.help(
        "Maximum tokens of a text; longer texts are cut, and so they are by the trained model \
         [default: what the model's folder says, else 128]"
    )),
    mut_arg("head_lr", |arg| arg.hide(true))
)]
pub struct EmbedFlags {
    #[command(flatten)]
    #[serde(flatten)]
    pub common: Flags,
    /// Column with the first text [default: anchor, query, question, sentence1, text1 or text]
    #[arg(long, help_heading = "Data and model", value_name = "NAME")]
    pub anchor_column: Option<String>,
    /// Column with the second text [default: positive, document, passage, answer, context,
    /// sentence2, text2, text_pair or pair]
    #[arg(long, help_heading = "Data and model", value_name = "NAME")]
    pub positive_column: Option<String>,
    /// Columns with texts that do not belong to the first [default: negative, negative_1, …, unless
    /// both texts' columns are named]
    #[arg(long, help_heading = "Data and model", value_name = "NAMES", value_delimiter = ',')]
    pub negative_column: Option<Vec<String>>,
    /// Column with how similar the two texts are [default: score or similarity, unless both texts'
    /// columns are named]
    #[arg(long, help_heading = "Data and model", value_name = "NAME")]
    pub score_column: Option<String>,
    /// Divide scores by this number: they must then be within -1 and 1, as cosines are [default: 1]
    #[arg(long, help_heading = "Data and model", value_name = "X", value_parser = gradus_cli::finite)]
    pub score_scale: Option<f64>,
    /// How a text becomes one vector: `mean` of its tokens, the first one (`cls`), `max`,
    /// `mean_sqrt_len_tokens`, `weightedmean`, `lasttoken` [default: what the model's folder says,
    /// else mean]
    #[arg(long, help_heading = "Data and model", value_name = "MODE")]
    pub pooling: Option<Pooling>,
    /// The trained model scales vectors to length 1 [default: what the model's folder says, else
    /// yes]
    #[arg(long, help_heading = "Data and model", conflicts_with = "no_normalize")]
    pub normalize: bool,
    /// The trained model does not scale vectors to length 1; training compares by cosine in any case
    #[arg(long, help_heading = "Data and model")]
    pub no_normalize: bool,
    /// Text before every first text of a pair, which the trained model knows as its prompt `query`
    /// [default: the folder's]
    #[arg(long, help_heading = "Data and model", value_name = "TEXT")]
    pub query_prompt: Option<String>,
    /// Text before all others, which the trained model knows as its prompt `document` [default: the
    /// folder's]
    #[arg(long, help_heading = "Data and model", value_name = "TEXT")]
    pub document_prompt: Option<String>,
    /// What cosines are divided by in the loss of pairs: lower ones look at the hardest negatives
    /// [default: 0.05]
    #[arg(long, help_heading = "Recipe", value_name = "T", value_parser = gradus_cli::finite)]
    pub temperature: Option<f64>,
    /// Train the first so many numbers of a vector to be vectors too (Matryoshka), such as
    /// 384,192,96: the loss is the sum of their losses [default: whole vectors alone]
    #[arg(long, help_heading = "Recipe", value_name = "NUMBERS", value_delimiter = ',')]
    pub dimensions: Option<Vec<usize>>,
    /// Factors of the losses of --dimensions [default: 1 each]
    #[arg(long, help_heading = "Recipe", value_name = "NUMBERS", value_delimiter = ',', value_parser = gradus_cli::finite)]
    pub dimension_weights: Option<Vec<f64>>,
    /// Take the negatives of a step of several batches (--accumulate) from all of them, as if they
    /// were one; each text is computed twice
    #[arg(long, help_heading = "Recipe")]
    pub cached_negatives: bool,
}

impl TaskFlags for EmbedFlags {
    const TASK: &'static str = "embed";

    fn common(&self) -> &Flags {
        &self.common
    }

    fn common_mut(&mut self) -> &mut Flags {
        &mut self.common
    }

    fn plain() -> Self {
        EmbedFlags {
            common: Flags::plain(),
            score_scale: Some(1.0),
            temperature: Some(PairLoss::default().temperature),
            ..EmbedFlags::default()
        }
    }

    fn check(&self) -> Outcome {
        let fail = |message: &str| Err(Failure::usage(message));
        let weights = self.dimension_weights.as_ref().map(Vec::len);
        let dimensions = self.dimensions.as_ref().map_or(0, Vec::len);
        if self.common.head_lr.is_some() {
            return fail("--head-lr: an embedder has no head; give --lr");
        }
        if weights.is_some_and(|weights| weights != dimensions) {
            return fail("--dimension-weights: give one number for each of --dimensions");
        }
        if self.cached_negatives && self.common.accumulate.unwrap_or(1) < 2 {
            return fail(
                "--cached-negatives is for a step of several batches; give --accumulate 2 or more",
            );
        }
        if self.score_scale.is_some_and(|scale| scale <= 0.0) {
            return fail("--score-scale must be above 0");
        }
        Ok(())
    }
}

impl EmbedFlags {
    pub fn columns(&self) -> PairColumns {
        PairColumns {
            anchor: self.anchor_column.clone(),
            positive: self.positive_column.clone(),
            negatives: self.negative_column.clone().unwrap_or_default(),
            score: self.score_column.clone(),
        }
    }

    /// The loss that the flags give.
    pub fn loss(&self) -> PairLoss {
        let dimensions = self.dimensions.clone().unwrap_or_default();
        let weights = self.dimension_weights.clone();
        let weights = weights.unwrap_or_else(|| vec![1.0; dimensions.len()]);
        let default = PairLoss::default();
        PairLoss {
            temperature: self.temperature.unwrap_or(default.temperature),
            dimensions: dimensions.into_iter().zip(weights).collect(),
        }
    }

    /// Refuses flags that do nothing for training pairs of this form, and measured pairs of the
    /// other.
    pub fn check_form(&self, train: PairForm, measured: PairForm) -> Outcome {
        let scored = train == PairForm::Scored;
        let none_scored = !scored && measured != PairForm::Scored;
        let all_scored = scored && measured == PairForm::Scored;
        for (name, given, useless, why) in [
            ("temperature", self.temperature.is_some(), scored, "the training pairs have scores"),
            ("cached-negatives", self.cached_negatives, scored, "the training pairs have scores"),
            ("query-prompt", self.query_prompt.is_some(), all_scored, "the pairs have scores"),
            (
                "document-prompt",
                self.document_prompt.is_some(),
                all_scored,
                "the pairs have scores",
            ),
            ("score-scale", self.score_scale.is_some(), none_scored, "the pairs have no scores"),
        ] {
            if given && useless {
                return Err(Failure::usage(format!("--{name} does nothing here: {why}")));
            }
        }
        Ok(())
    }

    /// Changes the settings of a folder by the flags.
    pub fn change(&self, settings: &mut SentenceSettings) {
        if let Some(pooling) = self.pooling {
            settings.pooling = vec![pooling];
        }
        if self.normalize || self.no_normalize {
            settings.normalize = self.normalize;
        }
        let prompts = [("query", &self.query_prompt), ("document", &self.document_prompt)];
        for (name, prompt) in prompts {
            if let Some(prompt) = prompt {
                settings.prompts.named.insert(name.into(), prompt.clone());
            }
        }
    }
}
