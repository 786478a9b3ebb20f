//! Tests of the public interface: the graph, the rules, the registry. They are one program, because
//! linking the engine takes most of the time.

mod autocast;
mod examples;
mod gradcheck;
mod graph;
mod half;
mod low_precision;
mod registry;
mod rules;
mod trace;
mod values;
