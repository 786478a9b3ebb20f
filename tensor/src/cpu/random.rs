//! Random words for the elements of a slice, in parallel.

use super::{parallel, simd};
use crate::dtype::Element;
use crate::random::{RngKey, words};

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
