//! The program `infer`, which runs BERT and its family, as a library, so that `gradus` can contain it.

mod args;
mod commands;
mod input;
mod output;

pub use args::Program;
pub use commands::program;
