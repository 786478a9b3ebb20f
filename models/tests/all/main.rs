//! Models, training and folders from outside. One program, because linking the engine is what takes
//! time; the tests beside it look at state of the whole process.

mod adapters;
mod answering;
mod best;
mod bf16;
mod causal;
#[path = "../common/mod.rs"]
mod common;
mod distilling;
mod efficient;
mod embed;
mod entities;
mod family;
mod finetune;
mod folders;
mod golden;
mod gpu;
mod gpu_half;
mod guard;
mod pair_scores;
mod parts;
mod pieces;
mod pipelines;
mod ranks;
mod recipe;
mod session;
mod shakespeare;
mod tagging;
mod tasks;
mod terms;
mod tokenizing;
mod trace;
mod windows;
