//! The program as its users run it, on a tiny model of random weights.

mod answers;
mod bad_input;
mod common;
mod evaluate;
mod questions;
mod traced;
