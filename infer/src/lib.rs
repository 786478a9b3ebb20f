//! The program `infer`, which runs BERT, as a library: a program that holds several can hold it
//! too.

mod args;
mod commands;
mod input;
mod output;

pub use args::Program;
pub use commands::program;
