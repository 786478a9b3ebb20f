//! The solutions of all exercises, as modules of one program: linking the engine takes most of the
//! time. `layout.rs` writes the list.

// A solution's `main` is for the learner.
#![allow(dead_code)]

#[path = "../../solutions/01_scalar_tape/scalar1_slope.rs"]
mod scalar1_slope;
