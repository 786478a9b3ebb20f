//! Random words for the elements of a slice, in parallel, and arrays of random numbers.

use gradus_base::random::{RngKey, unit, words};
use gradus_base::{DType, Element, Result};

use super::storage::Output;
use super::view::Array;
use super::{copy, parallel, simd};

/// Calls `body(words, elements)` over `out` in blocks of at most 1,024 words.
pub(crate) fn fill_words<T: Element>(
    out: &mut [T],
    key: RngKey,
    body: impl Fn(&[u32], &mut [T]) + Sync + Send,
) {
    map_words(out, key, |_, words, out| body(words, out));
}

/// Calls `body(first_index, words, elements)` over `out` in blocks of at most 1,024 words.
#[inline(always)]
pub(crate) fn map_words<T: Element>(
    out: &mut [T],
    key: RngKey,
    body: impl Fn(usize, &[u32], &mut [T]) + Sync + Send,
) {
    const BLOCK: usize = 1024;
    parallel::rows_ragged(out, 16 * BLOCK, 1.0, |first, out| {
        simd::dispatch::<true, f32, _>(
            #[inline(always)]
            || {
                let mut buffer = [0u32; BLOCK];
                for (i, out) in out.chunks_mut(BLOCK).enumerate() {
                    let (first, buffer) = (first + i * BLOCK, &mut buffer[..out.len()]);
                    words(key, (first / 4) as u64, [0; 2], buffer);
                    body(first, buffer, out);
                }
            },
        );
    });
}

/// Uniform random numbers in [0, 1), converted to `dtype` (both floats from 24 random bits).
pub fn rand(shape: &[usize], dtype: DType, key: RngKey) -> Result<Array> {
    let mut out = Output::<f32>::new("rand", shape)?;
    fill_words(out.slice_mut(), key, |words, out| {
        for (x, &w) in out.iter_mut().zip(words) {
            *x = unit(w);
        }
    });
    in_dtype(out.into_array(shape), dtype)
}

/// Standard normal random numbers (Box–Muller), computed in f64 and converted to `dtype`: elements
/// `2i` and `2i + 1` are the cosine and sine of one pair of uniform numbers.
pub fn randn(shape: &[usize], dtype: DType, key: RngKey) -> Result<Array> {
    let mut out = Output::<f64>::new("randn", shape)?;
    parallel::rows_ragged(out.slice_mut(), 1024, 25.0, |first, out| {
        for (i, x) in out.iter_mut().enumerate() {
            let index = (first + i) as u64;
            let block = key.block([(index / 4) as u32, ((index / 4) >> 32) as u32, 0, 0]);
            let pair = (index % 4 / 2 * 2) as usize;
            // (0, 1]: the logarithm of 0 must not occur.
            let u = (block[pair] as f64 + 1.0) / 4_294_967_296.0;
            let angle = std::f64::consts::TAU * (block[pair + 1] as f64 / 4_294_967_296.0);
            let radius = (-2.0 * u.ln()).sqrt();
            *x = radius * if index.is_multiple_of(2) { angle.cos() } else { angle.sin() };
        }
    });
    in_dtype(out.into_array(shape), dtype)
}

/// Uniform random integers in `low..high`, u32.
pub fn randint(low: u32, high: u32, shape: &[usize], key: RngKey) -> Result<Array> {
    let range = (high - low) as u64;
    let mut out = Output::<u32>::new("randint", shape)?;
    fill_words(out.slice_mut(), key, |words, out| {
        for (x, &w) in out.iter_mut().zip(words) {
            *x = low + ((w as u64 * range) >> 32) as u32;
        }
    });
    Ok(out.into_array(shape))
}

fn in_dtype(x: Array, dtype: DType) -> Result<Array> {
    if x.dtype() == dtype { Ok(x) } else { copy::convert(x.view(), dtype) }
}
