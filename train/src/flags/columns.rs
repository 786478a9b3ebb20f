//! The columns of labelled texts.

use clap::Args;
use gradus_models::Columns;
use gradus_models::data::LabelForm;
use serde::{Deserialize, Serialize};

/// The columns of labelled texts; `None` where one is not given.
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct TextColumns {
    /// Column with the text [default: text]
    #[arg(long, help_heading = "Data and model")]
    pub text_column: Option<String>,
    /// Column with the label [default: label]
    #[arg(long, help_heading = "Data and model")]
    pub label_column: Option<String>,
    /// Column with the second text, for pairs
    #[arg(long, help_heading = "Data and model")]
    pub pair_column: Option<String>,
}

impl TextColumns {
    /// The defaults.
    pub fn plain() -> TextColumns {
        TextColumns {
            text_column: Some("text".into()),
            label_column: Some("label".into()),
            pair_column: None,
        }
    }

    /// The columns, with labels of this form.
    pub fn columns(&self, labels: LabelForm) -> Columns {
        Columns {
            text: self.text_column.clone().unwrap_or_else(|| "text".into()),
            pair: self.pair_column.clone(),
            label: Some(self.label_column.clone().unwrap_or_else(|| "label".into())),
            labels,
        }
    }
}
