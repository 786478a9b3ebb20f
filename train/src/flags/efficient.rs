//! The flags of efficient fine-tuning, which every task has: which parameters are trained, at which
//! rates, with how much memory.

use clap::Args;
use gradus_cli::{Failure, Outcome};
use gradus_models::training::{Lora, Recipe};
use serde::{Deserialize, Serialize};

/// The flags of efficient fine-tuning; `None` where one is not given.
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Efficient {
    /// Leave parameters or modules as they are, by name, such as `embeddings` or
    /// `encoder.layer.[0-3]`; `*` stands for any letters. Repeatable
    #[arg(long, help_heading = "Efficient fine-tuning", value_name = "PATTERN")]
    pub freeze: Option<Vec<String>>,
    /// Factor of the rate from each encoder layer to the one below it, such as 0.9; the head has
    /// the full rate, the embeddings the lowest [default: 1]
    #[arg(long, help_heading = "Efficient fine-tuning", value_parser = gradus_cli::finite)]
    pub layer_decay: Option<f64>,
    /// Train low-rank parts of this rank beside the model's weights, and the head (LoRA); the result
    /// is a PEFT adapter
    #[arg(long, help_heading = "Efficient fine-tuning", value_name = "RANK")]
    pub lora_rank: Option<usize>,
    /// Scale of the low-rank parts, divided by the rank [default: twice the rank, so a scale of 2]
    #[arg(long, help_heading = "Efficient fine-tuning", value_parser = gradus_cli::finite)]
    pub lora_alpha: Option<f64>,
    /// Dropout of the input of the low-rank parts [default: 0]
    #[arg(long, help_heading = "Efficient fine-tuning", value_parser = gradus_cli::finite)]
    pub lora_dropout: Option<f64>,
    /// Linear layers of the encoder with low-rank parts, by the ends of their names, or all-linear
    /// [default: the queries and values, in BERT query,value]
    #[arg(
        long,
        help_heading = "Efficient fine-tuning",
        value_delimiter = ',',
        value_name = "NAMES"
    )]
    pub lora_targets: Option<Vec<String>>,
    /// Modules to train in full beside the low-rank parts and the head, by the ends of their names,
    /// such as pooler
    #[arg(
        long,
        help_heading = "Efficient fine-tuning",
        value_delimiter = ',',
        value_name = "NAMES"
    )]
    pub lora_modules_to_save: Option<Vec<String>>,
    /// Divide --lora-alpha by the root of the rank instead of the rank
    #[arg(long, help_heading = "Efficient fine-tuning")]
    pub lora_rslora: bool,
    /// Evaluate and save exponential moving averages of the weights with this decay, such as 0.999;
    /// in early steps the decay is at most (1 + step)/(10 + step)
    #[arg(long, help_heading = "Efficient fine-tuning", value_parser = gradus_cli::finite)]
    pub ema: Option<f64>,
    /// Keep only the input of each layer for backward and compute the rest again: less memory, more
    /// time, the same numbers
    #[arg(long, help_heading = "Efficient fine-tuning")]
    pub activation_checkpointing: bool,
}

impl Efficient {
    /// The defaults of flags that are the same for every model.
    pub fn plain() -> Efficient {
        let lora = Lora::default();
        Efficient {
            layer_decay: Some(1.0),
            lora_dropout: Some(lora.dropout),
            ..Efficient::default()
        }
    }

    /// The recipe with what these flags say.
    ///
    /// # Errors
    /// For a flag about low-rank parts without --lora-rank.
    pub fn apply(&self, recipe: Recipe) -> Outcome<Recipe> {
        Ok(Recipe {
            freeze: self.freeze.clone().unwrap_or_default(),
            layer_decay: self.layer_decay,
            lora: self.lora()?,
            ema: self.ema,
            activation_checkpointing: self.activation_checkpointing,
            ..recipe
        })
    }

    fn lora(&self) -> Outcome<Option<Lora>> {
        let Some(rank) = self.lora_rank else {
            return match self.lora_detail() {
                None => Ok(None),
                Some(name) => Err(Failure::usage(format!(
                    "--{name} goes with --lora-rank, which says how large the low-rank parts are"
                ))),
            };
        };
        let base = Lora::default();
        Ok(Some(Lora {
            rank,
            alpha: self.lora_alpha.unwrap_or(2.0 * rank as f64),
            dropout: self.lora_dropout.unwrap_or(base.dropout),
            targets: self.lora_targets.clone().unwrap_or(base.targets),
            rslora: self.lora_rslora,
            modules_to_save: self.lora_modules_to_save.clone().unwrap_or_default(),
        }))
    }

    /// The first flag that says something about low-rank parts, besides their rank.
    fn lora_detail(&self) -> Option<&'static str> {
        let given = [
            ("lora-alpha", self.lora_alpha.is_some()),
            ("lora-dropout", self.lora_dropout.is_some()),
            ("lora-targets", self.lora_targets.is_some()),
            ("lora-modules-to-save", self.lora_modules_to_save.is_some()),
            ("lora-rslora", self.lora_rslora),
        ];
        given.into_iter().find(|(_, given)| *given).map(|(name, _)| name)
    }
}
