//! The graph, the rules and the registry from outside. One program, because linking the engine is
//! what takes time.

mod autocast;
mod examples;
mod gradcheck;
mod graph;
mod half;
mod registry;
mod rules;
