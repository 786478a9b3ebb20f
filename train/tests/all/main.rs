//! The program as its users run it, on a small data set.

mod common;
mod efficient;
mod mlm;
mod resume;
mod screen;
mod tokens;
mod train;
