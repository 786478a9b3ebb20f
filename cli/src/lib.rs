//! The parts that the programs of Gradus share.
//!
//! | item | what it is |
//! | --- | --- |
//! | [`SharedArgs`] | the flags that every program takes; [`SharedArgs::start`] acts on them |
//! | [`layered`], [`finite`] | a subcommand's flags over those of `--config FILE.toml`; flags that are numbers |
//! | [`DeviceArg`] | `auto`, `cpu`, `gpu`, `gpu:N` |
//! | [`run`], [`Failure`] | a program's main function: errors as one paragraph, exit codes 0, 1 and 2 |
//! | [`command`] | a command to show, called as this program was |
//! | [`VERSION`], [`LONG_VERSION`] | what `-V` and `--version` print |
//! | [`progress_bar`], [`columns`], [`note`], [`peak_rss_mib`] | what a person at a terminal sees on standard error |
//!
//! ```no_run
//! use clap::Parser;
//! use gradus_cli::{Outcome, SharedArgs, layered};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Parser)]
//! struct Program {
//!     #[command(flatten)]
//!     shared: SharedArgs,
//!     #[command(flatten)]
//!     flags: Flags,
//! }
//!
//! /// Only what may stand in the configuration file: `Option`s, `bool`s that default to false, and lists.
//! #[derive(clap::Args, Serialize, Deserialize)]
//! #[serde(rename_all = "kebab-case", default)]
//! #[derive(Default)]
//! struct Flags {
//!     /// Peak learning rate [default: 5e-5]
//!     #[arg(long)]
//!     lr: Option<f64>,
//! }
//!
//! fn program() -> Outcome {
//!     let Program { shared, flags } = Program::parse();
//!     let (shared, flags) = layered(&shared, &flags)?;
//!     let device = shared.start()?;
//!     println!("{device} {}", flags.lr.unwrap_or(5e-5));
//!     Ok(())
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     gradus_cli::run(program)
//! }
//! ```

mod config;
mod failure;
mod profile;
mod progress;
mod shared;
mod spelling;
mod version;

pub use config::{finite, layered};
pub use failure::{Failure, Outcome, run};
pub use progress::{columns, note, output_columns, peak_rss_mib, progress_bar};
pub use shared::{DeviceArg, SharedArgs};
pub use spelling::command;
pub use version::{LONG_VERSION, VERSION};
