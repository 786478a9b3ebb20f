//! Operands copied into the order in which the tiles read them.

use std::arch::x86_64::*;
use std::ops::Range;

use gradus_base::{DType, Element, Result, sizes};

use super::isa::Isa;
use super::tile::Tiles;
use crate::buffer::Buffer;
use crate::mat::Mat;
use crate::parallel::{self, SharedMut};

/// Panels that a task copies side by side, and rows of the operand that it copies at once. It asks
/// for the next rows before: no processor guesses that a few lines of every row are read.
const GROUP: usize = 4;
const CHUNK: usize = 16;

/// `range` in pieces of `size`.
fn chunks(range: Range<usize>, size: usize) -> impl Iterator<Item = Range<usize>> {
    range.clone().step_by(size).map(move |from| from..range.end.min(from + size))
}

/// Prefetches the elements `rows × columns` of a matrix whose columns are adjacent; of another,
/// nothing.
#[inline(always)]
fn ask_for(m: Mat<f32>, rows: Range<usize>, columns: Range<usize>) {
    if m.col != 1 {
        return;
    }
    for row in rows {
        for column in columns.clone().step_by(64 / size_of::<f32>()) {
            let at = m.data.as_ptr().wrapping_add(row * m.row + column);
            // SAFETY: a prefetch neither reads nor writes.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) };
        }
    }
}

/// A right operand in panels.
pub(crate) struct Packed {
    buffer: Buffer,
    k: usize,
    n: usize,
    isa: Isa,
}

impl Packed {
    /// Packs `b [k, n]`, any strides.
    pub(crate) fn new(isa: Isa, b: Mat<f32>, k: usize, n: usize) -> Result<Packed> {
        b.check(k, n);
        let width = isa.width();
        let panels = n.div_ceil(width);
        let bytes = sizes::bytes("matmul", &[panels, k, width], size_of::<f32>())?;
        let mut buffer = Buffer::scratch("matmul", bytes)?;
        let out = SharedMut::new(bytemuck::cast_slice_mut(buffer.bytes_mut()));
        // Panel by panel where steps are adjacent; else a few rows of a few panels at a time.
        let (group, chunk) = if b.col == 1 { (GROUP, CHUNK) } else { (1, k.max(1)) };
        parallel::run(panels.div_ceil(group), group * k * width / 3, &|task| {
            let panels = task * group..panels.min((task + 1) * group);
            for ks in chunks(0..k, chunk) {
                ask_for(
                    b,
                    ks.end..k.min(ks.end + chunk),
                    panels.start * width..n.min(panels.end * width),
                );
                for panel in panels.clone() {
                    let at = (panel * k + ks.start) * width;
                    // SAFETY: each panel belongs to one task.
                    let out = unsafe { out.slice(at..at + ks.len() * width) };
                    // SAFETY: `isa` was detected.
                    unsafe { pack_panel(b, ks.clone(), panel * width, n, width, out) };
                }
            }
        });
        Ok(Packed { buffer, k, n, isa })
    }

    /// Whether it is a `[k, n]` packed for `isa`.
    pub(crate) fn is_for(&self, isa: Isa, k: usize, n: usize) -> bool {
        (self.isa, self.k, self.n) == (isa, k, n)
    }

    pub(super) fn panel(&self, panel: usize) -> &[f32] {
        let len = self.k * self.isa.width();
        &bytemuck::cast_slice(self.buffer.bytes())[panel * len..(panel + 1) * len]
    }
}

/// Columns `first..first + width` (those below `n`) of the rows `ks` of `b`, as one panel.
///
/// # Safety
/// The processor has AVX2.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn pack_panel(
    b: Mat<f32>,
    ks: Range<usize>,
    first: usize,
    n: usize,
    width: usize,
    out: &mut [f32],
) {
    let cols = width.min(n - first);
    let at = |p: usize, c: usize| p * b.row + (first + c) * b.col;
    if cols < width {
        out.fill(0.0);
    }
    if b.col == 1 {
        for (p, row) in ks.zip(out.chunks_exact_mut(width)) {
            copy(&mut row[..cols], &b.data[at(p, 0)..][..cols]);
        }
        return;
    }
    // Blocks of 8 columns × 8 steps are transposed in registers where steps are adjacent.
    let (full_c, full_k) = if b.row == 1 { (cols / 8 * 8, ks.len() / 8 * 8) } else { (0, 0) };
    for c in (0..full_c).step_by(8) {
        for p in (0..full_k).step_by(8) {
            let rows: [&[f32; 8]; 8] = std::array::from_fn(|i| {
                b.data[at(ks.start + p, c + i)..].first_chunk().expect("inside B (checked)")
            });
            let block = &mut out[p * width + c..][..7 * width + 8];
            // SAFETY: 8 rows of 8 elements, `width` apart, fit the block.
            unsafe { transpose8(rows, block.as_mut_ptr(), width) };
        }
    }
    for c in 0..cols {
        let done = if c < full_c { full_k } else { 0 };
        for p in done..ks.len() {
            out[p * width + c] = b.data[at(ks.start + p, c)];
        }
    }
}

/// Copies a row of a tile or panel. A copy of constant length is a few moves; another is a call.
#[inline(always)]
pub(super) fn copy(to: &mut [f32], from: &[f32]) {
    match to.len() {
        6 => to[..6].copy_from_slice(&from[..6]),
        8 => to[..8].copy_from_slice(&from[..8]),
        16 => to[..16].copy_from_slice(&from[..16]),
        32 => to[..32].copy_from_slice(&from[..32]),
        len => to.copy_from_slice(&from[..len]),
    }
}

/// `out[p·width + c] = rows[c][p]` for 8 × 8 elements.
///
/// # Safety
/// The processor has AVX; `out` is valid for writing 8 elements at each multiple of `width` below
/// `8·width`.
#[inline]
#[target_feature(enable = "avx")]
unsafe fn transpose8(rows: [&[f32; 8]; 8], out: *mut f32, width: usize) {
    // SAFETY: each row has 8 elements.
    let r = rows.map(|row| unsafe { _mm256_loadu_ps(row.as_ptr()) });
    let t: [__m256; 8] = std::array::from_fn(|i| {
        let (x, y) = (r[i / 2 * 2], r[i / 2 * 2 + 1]);
        if i % 2 == 0 { _mm256_unpacklo_ps(x, y) } else { _mm256_unpackhi_ps(x, y) }
    });
    // Columns c and c + 4 of the rows 0–3 (first four), then of the rows 4–7.
    let u: [__m256; 8] = std::array::from_fn(|i| {
        let (h, c) = (i / 4 * 4, i % 4);
        let (x, y) = (t[h + c / 2], t[h + 2 + c / 2]);
        if c % 2 == 0 { _mm256_shuffle_ps::<0x44>(x, y) } else { _mm256_shuffle_ps::<0xee>(x, y) }
    });
    for c in 0..4 {
        // SAFETY: the caller's promise.
        unsafe {
            let low = _mm256_permute2f128_ps::<0x20>(u[c], u[c + 4]);
            _mm256_storeu_ps(out.add(c * width), low);
            let high = _mm256_permute2f128_ps::<0x31>(u[c], u[c + 4]);
            _mm256_storeu_ps(out.add((c + 4) * width), high);
        }
    }
}

/// Writes `out[j·tall + i] = src[i·stride + j]` for as many whole blocks of 8 × 8 as there are in
/// `n` rows of `d` columns; returns how many rows and columns that were. Nothing for another type
/// than f32, or on a processor without AVX2.
pub(crate) fn transpose_blocks<T: Element>(
    src: &[T],
    stride: usize,
    n: usize,
    d: usize,
    out: &mut [T],
    tall: usize,
) -> (usize, usize) {
    if T::DTYPE != DType::F32 || Isa::detect().is_none() {
        return (0, 0);
    }
    let src: &[f32] = bytemuck::cast_slice(src);
    let out: &mut [f32] = bytemuck::cast_slice_mut(out);
    for i in 0..n / 8 {
        for j in 0..d / 8 {
            let rows = std::array::from_fn(|r| {
                src[(8 * i + r) * stride + 8 * j..].first_chunk().expect("a block inside")
            });
            let block = &mut out[8 * j * tall + 8 * i..][..7 * tall + 8];
            // SAFETY: 8 rows of 8 elements, `tall` apart, fit the block; the processor has AVX.
            unsafe { transpose8(rows, block.as_mut_ptr(), tall) };
        }
    }
    (n / 8 * 8, d / 8 * 8)
}

/// Rows of A `rows`, steps `ks`, tile after tile, each `[ks][height]`.
#[inline(always)]
pub(super) fn pack_rows(
    a: Mat<f32>,
    rows: Range<usize>,
    ks: Range<usize>,
    tallest: usize,
    out: &mut [f32],
) {
    let k = ks.len();
    for chunk in chunks(ks.clone(), CHUNK) {
        ask_for(a.t(), chunk.end..ks.end.min(chunk.end + CHUNK), rows.clone());
        for tile in Tiles::new(rows.len(), tallest).each() {
            let (first, height) = (rows.start + tile.start, tile.len());
            let out = &mut out[tile.start * k + (chunk.start - ks.start) * height..tile.end * k];
            for (p, out) in chunk.clone().zip(out.chunks_exact_mut(height)) {
                let at = first * a.row + p * a.col;
                if a.row == 1 {
                    copy(out, &a.data[at..at + height]);
                } else {
                    (0..height).for_each(|r| out[r] = a.data[at + r * a.row]);
                }
            }
        }
    }
}
