//! Models, training and folders from outside. One program, because linking the engine is what takes
//! time; the tests beside it look at state of the whole process.

mod adapters;
mod best;
#[path = "../common/mod.rs"]
mod common;
mod efficient;
mod entities;
mod finetune;
mod folders;
mod golden;
mod gpu;
mod gpu_half;
mod guard;
mod parts;
mod recipe;
mod tagging;
mod tasks;
mod terms;
mod windows;
