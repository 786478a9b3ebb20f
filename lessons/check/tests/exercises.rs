//! The exercises as delivered, as modules of one program. Every one must have a test that fails:
//! `lessons/check/run` sees to that. `layout.rs` writes the list.

// They are not done yet.
#![allow(dead_code, unreachable_code, unused_imports, unused_mut, unused_variables)]

#[path = "../../exercises/01_scalar_tape/scalar1_slope.rs"]
mod scalar1_slope;
