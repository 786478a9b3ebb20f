//! The linear layer of inference with weights of 8 bits: y ≈ x·Wᵀ + b, on request with GELU.
//!
//! Shapes: x `[m, k]`, W `[n, k]`, b `[n]`, y `[m, n]`.
//!
//! Quantisation, symmetric (Jacob et al., arXiv:1712.05877, without zero points): a row of W, that is an
//! output channel, is q·s with s = max|w|/127 and q in −127..127; so is a row of x, but with 16 bits and
//! anew for every call: its s is max|x| over the most for which no sum can leave an i32
//! ([`most`]). So what is lost is the weights' rounding alone. Then
//! y[i][j] = (Σ_p qx[i][p]·qw[j][p])·sx[i]·sw[j] + b[j], the sum exact in i32.
//!
//! W lies in panels `[⌈n/16⌉][⌈k/2⌉][16][2]`, made once a weight: a pair of steps of 16 channels is 32
//! bytes, widened to 16 bits as they are read. A tile of 6 rows and 16 channels has its sums in
//! registers: on AVX2 one multiplication of 16 pairs and one addition, together twice the multiply-adds
//! per cycle of f32. A weight takes a quarter of the memory, so few rows wait less for it.
//!
//! What limits it: the rate of `vpmaddwd` and `vpaddd`, which share the vector units.
//! Order: integer sums have none; the result is the same on every processor and for any split.
//! Reference: [`sums_plain`], which is also the path of processors without AVX2.

use std::ops::Range;

use super::buffer::Buffer;
use super::math::nearest;
use super::matmul::{self, Mat};
use super::parallel::{self, SharedMut};
use super::simd;
use super::unary::gelu;
use crate::storage::Output;
use crate::{Result, Tensor};

/// Channels of a panel.
const WIDTH: usize = 16;
/// Rows of a tile.
const ROWS: usize = 6;
/// Rows of x that a task passes over a panel.
const BLOCK: usize = 96;
/// Picoseconds of a multiply-add, and of a weight's arrival.
const PS_PER_MAC: usize = 8;
const PS_PER_WEIGHT: usize = 40;

/// The sums of a tile.
type Sums = [[i32; WIDTH]; ROWS];

/// A weight in panels, with the scale of each channel (0 beyond the last).
pub(crate) struct Quantized {
    panels: Buffer,
    scales: Vec<f32>,
    k: usize,
    n: usize,
}

impl Quantized {
    /// Quantises `w [n, k]`, any strides. A channel with an infinity or a NaN results in NaN.
    pub(crate) fn new(w: Mat<f32>, n: usize, k: usize) -> Result<Quantized> {
        w.check(n, k);
        let (count, pairs) = (n.div_ceil(WIDTH), k.div_ceil(2));
        let mut panels = Buffer::scratch("linear_int8", count * pairs * 2 * WIDTH)?;
        let mut scales = vec![0f32; count * WIDTH];
        {
            let out = SharedMut::new(bytemuck::cast_slice_mut::<u8, i8>(panels.bytes_mut()));
            let scales = SharedMut::new(&mut scales);
            parallel::run(count, k * WIDTH, &|panel| {
                let size = pairs * 2 * WIDTH;
                // SAFETY: each panel belongs to one task.
                let out = unsafe { out.slice(panel * size..(panel + 1) * size) };
                // SAFETY: as above.
                let scales = unsafe { scales.slice(panel * WIDTH..(panel + 1) * WIDTH) };
                out.fill(0);
                for c in 0..WIDTH.min(n - panel * WIDTH) {
                    let row = |p: usize| w.data[(panel * WIDTH + c) * w.row + p * w.col];
                    let (scale, inverse) = scale((0..k).map(row).fold(0, larger), 127);
                    scales[c] = scale;
                    for p in 0..k {
                        let q = nearest(row(p) * inverse).clamp(-127, 127);
                        out[(p / 2 * WIDTH + c) * 2 + p % 2] = q as i8;
                    }
                }
            });
        }
        Ok(Quantized { panels, scales, k, n })
    }

    /// Whether it is an `[n, k]`.
    pub(crate) fn is_for(&self, n: usize, k: usize) -> bool {
        (self.n, self.k) == (n, k)
    }

    fn panel(&self, panel: usize) -> &[i8] {
        let size = self.k.div_ceil(2) * 2 * WIDTH;
        &bytemuck::cast_slice(self.panels.bytes())[panel * size..(panel + 1) * size]
    }
}

/// The largest integer of a row of x: `k` products of it and ±127 fit an i32.
fn most(k: usize) -> i32 {
    ((i32::MAX as usize / 127 / k.max(1)).min(i16::MAX as usize) as i32).max(1)
}

/// The larger of `m` and |x| by their bits: without the sign these are in the order of the numbers, infinity
/// and NaN above all.
#[inline(always)]
fn larger(m: u32, x: f32) -> u32 {
    m.max(x.to_bits() & 0x7fff_ffff)
}

/// What an integer of a row is worth, and its inverse, from the bits of the largest magnitude; NaN and 0
/// where a value is not finite.
#[inline(always)]
fn scale(largest: u32, most: i32) -> (f32, f32) {
    let (largest, most) = (f32::from_bits(largest), most as f32);
    // Where the inverse would be infinite, all there is are subnormal numbers: they count as 0.
    let inverse = most / largest;
    match largest.is_finite() {
        false => (f32::NAN, 0.0),
        true if inverse.is_finite() => (largest / most, inverse),
        true => (0.0, 0.0),
    }
}

/// `x [m, k]` in 16 bits, rows of `2·⌈k/2⌉`, and each row's scale. `k` is not 0.
fn quantize_rows(x: &[f32], k: usize, out: &mut [i16], scales: &mut [f32]) {
    let (width, most) = (2 * k.div_ceil(2), most(k));
    let scales = SharedMut::new(scales);
    let rows = parallel::rows_per_task(k);
    parallel::rows(out, width, rows, k as f64 * 0.3, |first, out| {
        // SAFETY: each row belongs to one task.
        let scales = unsafe { scales.slice(first..first + out.len() / width) };
        simd::dispatch::<false, f32, _>(
            #[inline(always)]
            || {
                for (i, out) in out.chunks_exact_mut(width).enumerate() {
                    let x = &x[(first + i) * k..][..k];
                    let bits = |m: u32, x: f32| larger(m, x);
                    let (scale, inverse) = scale(simd::reduce(x, 0, bits, u32::max), most);
                    scales[i] = scale;
                    for (q, &x) in out.iter_mut().zip(x) {
                        *q = nearest(x * inverse) as i16;
                    }
                    out[k..].fill(0);
                }
            },
        );
    });
}

/// Sums of `rows` rows of `a`, `stride` apart, and a panel: the plain twin.
#[cfg_attr(target_arch = "x86_64", allow(dead_code))]
fn sums_plain(rows: usize, a: &[i16], stride: usize, panel: &[i8], sums: &mut Sums) {
    for (r, sums) in sums.iter_mut().enumerate().take(rows) {
        for (c, sum) in sums.iter_mut().enumerate() {
            *sum = (0..stride)
                .map(|p| a[r * stride + p] as i32 * panel[(p / 2 * WIDTH + c) * 2 + p % 2] as i32)
                .sum();
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::*;

    use super::{ROWS, Sums, WIDTH};

    /// As [`sums_plain`](super::sums_plain), for `R` rows. With `next`, asks for that panel meanwhile.
    ///
    /// # Safety
    /// `a` is valid for reading `R` rows of `2·pairs`, `stride` apart, `panel` for `pairs` times 32; the
    /// processor has AVX2.
    #[target_feature(enable = "avx2")]
    unsafe fn tile<const R: usize>(
        pairs: usize,
        a: *const i16,
        stride: usize,
        panel: *const i8,
        next: Option<*const i8>,
        sums: &mut Sums,
    ) {
        // SAFETY: the caller's promise, for all that follows; a prefetch reads nothing.
        unsafe {
            let mut acc = [[_mm256_setzero_si256(); 2]; R];
            let (mut a, mut b) = (a, panel);
            let step = |acc: &mut [[__m256i; 2]; R], a: *const i16, b: *const i8| {
                let b0 = _mm256_cvtepi8_epi16(_mm_loadu_si128(b.cast()));
                let b1 = _mm256_cvtepi8_epi16(_mm_loadu_si128(b.add(WIDTH).cast()));
                for r in 0..R {
                    let pair = _mm256_set1_epi32(a.add(r * stride).cast::<i32>().read_unaligned());
                    acc[r][0] = _mm256_add_epi32(acc[r][0], _mm256_madd_epi16(pair, b0));
                    acc[r][1] = _mm256_add_epi32(acc[r][1], _mm256_madd_epi16(pair, b1));
                }
            };
            for _ in 0..pairs / 2 {
                if let Some(next) = next {
                    let at = next.wrapping_offset(b.offset_from(panel));
                    _mm_prefetch::<_MM_HINT_T0>(at);
                }
                step(&mut acc, a, b);
                step(&mut acc, a.add(2), b.add(2 * WIDTH));
                (a, b) = (a.add(4), b.add(4 * WIDTH));
            }
            if pairs % 2 == 1 {
                step(&mut acc, a, b);
            }
            for r in 0..R {
                _mm256_storeu_si256(sums[r].as_mut_ptr().cast(), acc[r][0]);
                _mm256_storeu_si256(sums[r].as_mut_ptr().add(8).cast(), acc[r][1]);
            }
        }
    }

    /// [`tile`] of at most [`ROWS`] rows.
    ///
    /// # Safety
    /// As for [`tile`].
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn sums(
        rows: usize,
        pairs: usize,
        a: *const i16,
        panel: *const i8,
        next: Option<*const i8>,
        sums: &mut Sums,
    ) {
        const { assert!(ROWS == 6) };
        // SAFETY: the caller's promise.
        unsafe {
            match rows {
                1 => tile::<1>(pairs, a, 2 * pairs, panel, next, sums),
                2 => tile::<2>(pairs, a, 2 * pairs, panel, next, sums),
                3 => tile::<3>(pairs, a, 2 * pairs, panel, next, sums),
                4 => tile::<4>(pairs, a, 2 * pairs, panel, next, sums),
                5 => tile::<5>(pairs, a, 2 * pairs, panel, next, sums),
                _ => tile::<6>(pairs, a, 2 * pairs, panel, next, sums),
            }
        }
    }
}

/// One product, its operands quantised.
struct Product<'a> {
    n: usize,
    a: &'a [i16],
    scales: &'a [f32],
    w: &'a Quantized,
    bias: Option<&'a [f32]>,
    gelu: bool,
    c: &'a SharedMut<'a, f32>,
}

impl Product<'_> {
    /// Rows `rows` of the channels of `panels`.
    ///
    /// # Safety
    /// Nobody else writes them meanwhile.
    #[inline(always)]
    unsafe fn block(&self, rows: Range<usize>, panels: Range<usize>, wide: bool) {
        let Product { n, a, scales, w, bias, gelu: gelued, c } = *self;
        let stride = 2 * w.k.div_ceil(2);
        let tiles = rows.len().div_ceil(ROWS);
        for panel in panels {
            let (first, b) = (panel * WIDTH, w.panel(panel));
            let cols = WIDTH.min(n - first);
            let mut shift = [0f32; WIDTH];
            if let Some(bias) = bias {
                shift[..cols].copy_from_slice(&bias[first..first + cols]);
            }
            let channel: [f32; WIDTH] = std::array::from_fn(|c| w.scales[first + c]);
            for t in 0..tiles {
                let tile = parallel::part(rows.len(), tiles, t);
                let (at, height) = (rows.start + tile.start, tile.len());
                let a = &a[at * stride..(at + height) * stride];
                let mut sums = [[0i32; WIDTH]; ROWS];
                #[cfg(target_arch = "x86_64")]
                if wide {
                    let next = (t == 0).then(|| b.as_ptr().wrapping_add(b.len()));
                    // SAFETY: `a` has `height` rows, the panel all its pairs; the processor has AVX2.
                    unsafe {
                        avx2::sums(height, stride / 2, a.as_ptr(), b.as_ptr(), next, &mut sums)
                    };
                } else {
                    sums_plain(height, a, stride, b, &mut sums);
                }
                #[cfg(not(target_arch = "x86_64"))]
                {
                    let _ = wide;
                    sums_plain(height, a, stride, b, &mut sums);
                }
                let mut ys = [[0f32; WIDTH]; ROWS];
                for r in 0..height {
                    for c in 0..WIDTH {
                        ys[r][c] = sums[r][c] as f32 * (scales[at + r] * channel[c]) + shift[c];
                    }
                }
                if gelued {
                    // In one loop over all rows: one vector's long chain of operations hides behind another's.
                    for y in ys[..height].as_flattened_mut() {
                        *y = gelu(*y);
                    }
                }
                for (r, y) in ys[..height].iter().enumerate() {
                    let place = (at + r) * n + first;
                    // SAFETY: the block is ours alone.
                    let out = unsafe { c.slice(place..place + cols) };
                    match <&mut [f32; WIDTH]>::try_from(&mut *out) {
                        Ok(out) => *out = *y,
                        Err(_) => out.copy_from_slice(&y[..cols]),
                    }
                }
            }
        }
    }
}

/// `x [m, k]` contiguous, `w [n, k]`, `bias [n]` contiguous → `[m, n]`; with `gelu`, GELU of it.
pub(crate) fn linear(x: &Tensor, w: &Tensor, bias: Option<&Tensor>, gelu: bool) -> Result<Tensor> {
    let op = "linear_int8";
    let (m, k, n) = (x.shape()[0], x.shape()[1], w.shape()[0]);
    let mut out = Output::<f32>::new(op, m * n)?;
    if m * n == 0 {
        return Ok(out.into_tensor(&[m, n]));
    }
    let make = || Quantized::new(Mat::of(w), n, k);
    let kept = matmul::derived(w, make)?;
    let made;
    let quantized = match kept.as_deref().filter(|q| q.is_for(n, k)) {
        Some(kept) => kept,
        None => {
            made = make()?;
            &made
        }
    };
    let width = 2 * k.div_ceil(2);
    let mut rows = Buffer::scratch(op, m * width * size_of::<i16>())?;
    let rows: &mut [i16] = bytemuck::cast_slice_mut(rows.bytes_mut());
    let mut scales = vec![0f32; m];
    if width > 0 {
        quantize_rows(x.cpu_slice::<f32>(), k, rows, &mut scales);
    }
    let c = SharedMut::new(out.slice_mut());
    let product = Product {
        n,
        a: rows,
        scales: &scales,
        w: quantized,
        bias: bias.map(|b| b.cpu_slice::<f32>()),
        gelu,
        c: &c,
    };
    let (panels, row_parts) = (n.div_ceil(WIDTH), m.div_ceil(BLOCK));
    let wanted = rayon::current_num_threads() * if row_parts == 1 { 1 } else { 4 };
    let column_parts = wanted.div_ceil(row_parts).min(panels);
    let tasks = row_parts * column_parts;
    let ps = (m * n * k / tasks * PS_PER_MAC).max(n * k / tasks * PS_PER_WEIGHT);
    #[cfg(target_arch = "x86_64")]
    let wide = is_x86_feature_detected!("avx2");
    #[cfg(not(target_arch = "x86_64"))]
    let wide = false;
    parallel::run(tasks, ps / 1000 + 100, &|task| {
        let (part, column) = (task / column_parts, task % column_parts);
        let rows = part * BLOCK..m.min((part + 1) * BLOCK);
        let panels = parallel::part(panels, column_parts, column);
        simd::dispatch::<false, f32, _>(
            #[inline(always)]
            || {
                // SAFETY: each task has its own part of C.
                unsafe { product.block(rows, panels, wide) }
            },
        );
    });
    Ok(out.into_tensor(&[m, n]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{DType, RngKey};

    fn random(shape: &[usize], seed: u64) -> Tensor {
        Tensor::randn(shape, DType::F32, RngKey::new(seed)).unwrap()
    }

    /// The layer with a weight that was rounded as it should be, in f64, and how far the rounding of x may
    /// take the result from it.
    fn reference(x: &Tensor, w: &Tensor, b: &Tensor) -> (Vec<f64>, Vec<f64>) {
        let ((m, k), n) = ((x.shape()[0], x.shape()[1]), w.shape()[0]);
        let (x, w, b) = (x.to_f64_vec(), w.to_f64_vec(), b.to_f64_vec());
        let (mut y, mut slack) = (Vec::new(), Vec::new());
        for i in 0..m {
            let x = &x[i * k..(i + 1) * k];
            let step = x.iter().fold(0.0, |m: f64, x| m.max(x.abs())) / most(k) as f64;
            for j in 0..n {
                let w = &w[j * k..(j + 1) * k];
                let s = w.iter().fold(0.0, |m: f64, w| m.max(w.abs())) / 127.0;
                let q: Vec<f64> =
                    w.iter().map(|w| if s > 0.0 { (w / s).round() * s } else { 0.0 }).collect();
                let sum: f64 = x.iter().zip(&q).map(|(x, w)| x * w).sum();
                let size: f64 = x.iter().zip(&q).map(|(x, w)| (x * w).abs()).sum();
                let rounding = q.iter().map(|w| w.abs()).sum::<f64>() * step * 0.51;
                // A weight halfway between two integers may be rounded either way in f32.
                let halfway = |w: f64| s > 0.0 && ((w / s).abs().fract() - 0.5).abs() < 1e-4;
                let either: f64 =
                    x.iter().zip(w).filter(|(_, w)| halfway(**w)).map(|(x, _)| x.abs() * s).sum();
                slack.push(rounding + 1e-5 * (size + b[j].abs()) + either + s * step);
                y.push(sum + b[j]);
            }
        }
        (y, slack)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn it_is_the_layer_with_rounded_weights(
            m in 1..110usize, k in 1..90usize, n in 1..70usize, seed in 0..1000u64, transposed: bool,
        ) {
            let (x, b) = (random(&[m, k], seed), random(&[n], seed + 2));
            let w = match transposed {
                true => random(&[k, n], seed + 1).t().unwrap(),
                false => random(&[n, k], seed + 1),
            };
            let y = linear(&x, &w, Some(&b), false).unwrap();
            let (want, slack) = reference(&x, &w, &b);
            for (i, ((got, want), slack)) in y.to_f64_vec().into_iter().zip(want).zip(slack).enumerate() {
                prop_assert!((got - want).abs() <= slack, "element {i}: {got}, not {want} (± {slack})");
            }
            // GELU in the same pass is GELU of the result, and a second call uses the same weight.
            let gelued = linear(&x, &w, Some(&b), true).unwrap().to_vec::<f32>().unwrap();
            for (got, y) in gelued.into_iter().zip(y.to_vec::<f32>().unwrap()) {
                prop_assert!((got - gelu(y)).abs() <= 1e-6 * y.abs().max(1.0), "{got} {}", gelu(y));
            }
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn the_kernel_is_its_plain_twin() {
        if !is_x86_feature_detected!("avx2") {
            return;
        }
        for (rows, pairs) in (1..=ROWS).zip([1, 2, 3, 7, 48, 193]) {
            let word = |i: usize| RngKey::new(5).word(i as u64);
            let a: Vec<i16> =
                (0..rows * 2 * pairs).map(|i| (word(i) >> 17) as i16 - 16384).collect();
            let b: Vec<i8> = (0..2 * WIDTH * pairs).map(|i| (word(i + 9999) % 255) as i8).collect();
            let (mut fast, mut plain) = ([[0; WIDTH]; ROWS], [[0; WIDTH]; ROWS]);
            // SAFETY: AVX2 was detected; the slices are as long as they must be.
            unsafe { avx2::sums(rows, pairs, a.as_ptr(), b.as_ptr(), None, &mut fast) };
            sums_plain(rows, &a, 2 * pairs, &b, &mut plain);
            assert_eq!(fast, plain);
        }
    }

    #[test]
    fn sums_fit_and_what_is_no_number_stays_none() {
        for k in [1, 2, 768, 3072, 100_000] {
            assert!(most(k) as i64 * 127 * k as i64 <= i32::MAX as i64, "{k}");
        }
        // All of the largest: the sum is as large as it can be.
        let (x, w) = (
            Tensor::full(&[1, 3072], 2.0, DType::F32).unwrap(),
            Tensor::full(&[1, 3072], -3.0, DType::F32).unwrap(),
        );
        let y = linear(&x, &w, None, false).unwrap().item().unwrap();
        assert!((y + 6.0 * 3072.0).abs() < 1.0, "{y}");
        for bad in [f32::NAN, f32::INFINITY] {
            let x = Tensor::from_slice(&[1.0, bad, 1.0, 1.0], &[2, 2]).unwrap();
            let y = linear(&x, &random(&[3, 2], 0), None, false).unwrap().to_vec::<f32>().unwrap();
            assert!(
                y[..3].iter().all(|y| y.is_nan()) && y[3..].iter().all(|y| y.is_finite()),
                "{y:?}"
            );
        }
        let zeros = Tensor::zeros(&[2, 4], DType::F32).unwrap();
        let y = linear(&zeros, &Tensor::zeros(&[3, 4], DType::F32).unwrap(), None, false).unwrap();
        assert_eq!(y.to_vec::<f32>().unwrap(), [0.0; 6]);
    }
}
