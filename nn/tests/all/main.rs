//! Layers, losses, optimisers and parameters from outside. One program, because linking the engine
//! is what takes time.

mod encoder;
mod golden;
mod layers;
mod losses;
mod optim;
mod parameters;
mod settings;
mod skipped;
