//! shipped text, checked: the shader of the next step, launched as one's own.
//!
//! Adds: 8×8 threads that hold 8×8 elements each, two fours wide, instead of 16×16 threads with
//!   4×4; A is read by fours too.
//! Why: each number that is read from workgroup memory serves for 8 multiply-adds instead of 4.
//!   There are fewer threads to hide waiting with, which the registers of GPUs allow.
//! Order: k ascending, one sum

use gradus_shaders::Scalar;
use gradus_shaders::matmul::{Epilogue, Product, TILES, Types};

use crate::matmul::Sizes;

/// The text of the engine's kernel for large tiles, read in fours.
pub fn text() -> String {
    let types = Types { operands: Scalar::F32, result: Scalar::F32 };
    Product { types, bias: false, epilogue: Epilogue::None }.tiles(TILES[0], true).source
}

/// Its tiles of C, and its arguments: sizes, tiles, then offset and steps of A and of B, both
/// without a batch.
pub fn arguments(s: Sizes) -> (u32, Vec<u32>) {
    let size = TILES[0] as usize;
    let tiles = (s.m.div_ceil(size) * s.n.div_ceil(size)) as u32;
    let [m, k, n] = [s.m, s.k, s.n].map(|size| size as u32);
    let (a, b, bias, no_batch) = ([0, k, 1], [0, n, 1], [0], [1, 1, 1, 0, 0, 0, 0, 0, 0]);
    (tiles, [&[m, k, n, tiles][..], &a, &b, &bias, &no_batch].concat())
}
