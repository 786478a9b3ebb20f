//! The program `train`, which trains BERT, as a library: a program that holds several can hold it too.

mod args;
mod metrics;
mod run;
mod scratch;

pub use args::Program;
pub use run::program;
