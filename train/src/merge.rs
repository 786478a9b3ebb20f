//! `train merge`: an adapter and its base as one model.

use std::path::PathBuf;

use clap::Args;
use gradus_cli::{Failure, Outcome, SharedArgs, command, layered, note};
use gradus_models::{Error, ModelRef, merge};
use serde::{Deserialize, Serialize};

use crate::folder;

/// The arguments of `train merge`.
#[derive(Args)]
#[command(after_help = "Examples:
  train merge runs/lora --out runs/merged
  train merge someone/adapter --base google-bert/bert-base-uncased --out runs/merged")]
pub struct MergeArgs {
    /// The adapter: a folder that --lora-rank or PEFT wrote, or a hub id
    pub adapter: String,
    #[command(flatten)]
    pub flags: MergeFlags,
}

/// The flags of `train merge`.
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct MergeFlags {
    /// The base of the adapter: a folder or a hub id [default: what adapter_config.json names]
    #[arg(long, value_name = "DIR")]
    pub base: Option<String>,
    /// Folder for the whole model
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Write into an --out folder that already holds a run or a model
    #[arg(long)]
    pub overwrite: bool,
}

/// Runs the command.
///
/// # Errors
/// When the adapter or its base cannot be opened, or the model cannot be written.
pub fn run(shared: &SharedArgs, args: &MergeArgs) -> Outcome {
    let (shared, flags) = layered(shared, &args.flags)?;
    shared.start()?;
    let out = flags
        .out
        .as_deref()
        .ok_or_else(|| Failure::usage("train merge needs --out, the folder for the whole model"))?;
    folder::free(out, flags.overwrite)?;
    let model = ModelRef { base: flags.base.as_deref(), ..(&args.adapter).into() };
    for told in merge(model, out).map_err(with_flag)? {
        note(&shared, format!("note: {told}"));
    }
    let out = out.display().to_string();
    match shared.json {
        true => println!("{}", serde_json::json!({ "out": out })),
        false => println!("model: {out}"),
    }
    note(&shared, format!("serve it: {}", command("serve", ["--model", &out])));
    Ok(())
}

/// The error of an adapter without a base, with the flag that helps.
fn with_flag(error: Error) -> Failure {
    match error {
        Error::MissingBase { .. } => {
            Failure::error(format!("{error}; name the base with --base DIR"))
        }
        other => other.into(),
    }
}
