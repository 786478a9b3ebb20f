//! The program as its users run it, on a small data set.

mod alone;
mod answer;
mod common;
mod distill;
mod efficient;
mod embed;
mod files;
mod full_disk;
mod killed;
mod lm;
mod mlm;
mod resume;
mod screen;
mod sweep;
mod tokens;
mod train;
mod watch;
