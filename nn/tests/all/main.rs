//! Tests of the public interface: layers, losses, optimisers, parameters. They are one program,
//! because linking the engine takes most of the time.

mod ema;
mod encoder;
mod gated;
mod golden;
mod layers;
mod losses;
mod optim;
mod parameters;
mod settings;
mod skipped;
