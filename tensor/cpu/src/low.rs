//! The linear layer of inference with operands of 8 or 16 bits: y ≈ x·Wᵀ + b, on request with GELU.
//!
//! Shapes: x `[m, k]`, W `[n, k]`, b `[n]`, y `[m, n]`.
//!
//! **int8** (Jacob et al., arXiv:1712.05877): a row of W, that is an output channel, is q·s with s
//! = max|w|/127 and q in −127..127. A row of x is rounded in every call, in one of two forms:
//! - where the processor multiplies 8 bits by 8 (AVX512-VNNI, AMX): x = s·(u − z), u in 0..255, z
//!   the u of 0. Then y[i][j] = (Σ_p u[i][p]·q[j][p] − z[i]·Σ_p q[j][p])·s[i]·s[j] + b[j];
//! - elsewhere: x = q·s with q of 16 bits, s being max|x| over the most for which no sum can leave
//!   an i32 ([`most`]), so that what is lost is the weights' rounding alone.
//!
//! Sums are exact in i32, so all processors with one form, and any split, give the same result.
//!
//! **bf16**: x and W rounded to the nearest, products exact, sums in f32, an order for each
//! instruction set. A processor without AVX512-BF16 or AMX has no kernel for it: the caller takes
//! f32.
//!
//! W lies in pairs of panels `[⌈n/32⌉][2][words][16]`, made once a weight. A word has, of one
//! channel, as many steps along k as a kernel takes at once: four (int8), two (bf16), or two of 8
//! bits in half a word. A row of x lies in words as well. So all kernels are one loop: a word of x
//! times 32 words of W (AMX: 16 of x each time), the sums of a tile in registers. A weight takes a
//! half or a quarter of the memory of f32, so few rows wait less for it.
//!
//! What limits it: AVX2 and AVX-512 the rate of multiply-adds, AMX what comes before and after the
//! product.
//! Reference: [`tile::plain`], which is also int8's path of processors without AVX2.

mod tile;

use std::ops::Range;

use gradus_base::op::matmul::LowPrecision;
use gradus_base::{Result, sizes};

use self::tile::{Form, Kernel, choose};
use self::tile::{PANEL, Sums, WIDTH};
use super::buffer::Buffer;
use super::mat::Mat;
use super::math::{from_order, in_order, nearest};
use super::matmul;
use super::parallel::{self, SharedMut};
use super::simd;
use super::storage::Output;
use super::unary::gelu;
use super::view::{Array, View, ViewOrCopy};

/// A task passes as many rows of x over a panel as the second cache keeps, because W comes from
/// further away: so many bytes, and no fewer rows and no more. The least is a multiple of every
/// kernel's tile.
const BLOCK_BYTES: usize = 1 << 20;
const BLOCK: (usize, usize) = (96, 576);
/// Picoseconds that a byte of W takes to arrive, and that an element of y takes after its sum.
const PS_PER_BYTE: usize = 40;
const PS_PER_ELEMENT: usize = 300;

/// So many zeros.
fn zeros<T: Default + Clone>(len: usize) -> Result<Vec<T>> {
    let mut zeros = sizes::list("linear_low", len)?;
    zeros.resize(len, T::default());
    Ok(zeros)
}

/// A weight in panels, with the scale of each channel (0 beyond the last) and the sum of its
/// integers.
pub(crate) struct Weight {
    panels: Buffer,
    scales: Vec<f32>,
    sums: Vec<i32>,
    k: usize,
    n: usize,
    form: Form,
}

impl Weight {
    /// Rounds `w [n, k]`, any strides. In int8 a channel with an infinity or a NaN results in NaN.
    pub(crate) fn new(form: Form, w: Mat<f32>, n: usize, k: usize) -> Result<Weight> {
        w.check(n, k);
        let (count, words) = (n.div_ceil(WIDTH), form.words(k));
        let all = sizes::bytes("linear_low", &[count, words, form.bytes(), WIDTH], 1)?;
        let size = all / count.max(1);
        let mut panels = Buffer::scratch("linear_low", all)?;
        let (mut scales, mut sums) = (zeros(count * WIDTH)?, zeros(count * WIDTH)?);
        {
            let out = SharedMut::new(panels.bytes_mut());
            let (scales, sums) = (SharedMut::new(&mut scales), SharedMut::new(&mut sums));
            parallel::run(count, k * WIDTH, &|pair| {
                let channels = pair * WIDTH..n.min((pair + 1) * WIDTH);
                // SAFETY: each pair of panels belongs to one task.
                let out = unsafe { out.slice(pair * size..(pair + 1) * size) };
                // SAFETY: as above.
                let (scales, sums) =
                    unsafe { (scales.slice(channels.clone()), sums.slice(channels.clone())) };
                out.fill(0);
                for (c, channel) in channels.enumerate() {
                    let row = |p: usize| w.data[channel * w.row + p * w.col];
                    // Where step p of this channel lies.
                    let (steps, bytes) = (form.steps(), form.bytes());
                    let panel = c / PANEL * words * PANEL + c % PANEL;
                    let at = |p: usize| {
                        (panel + p / steps * PANEL) * bytes + p % steps * (bytes / steps)
                    };
                    if form == Form::Bf16 {
                        (0..k).for_each(|p| {
                            out[at(p)..][..2].copy_from_slice(&bf16(row(p)).to_ne_bytes())
                        });
                        continue;
                    }
                    let (scale, inverse) = scale((0..k).map(row).fold(0, larger), 127);
                    scales[c] = scale;
                    for p in 0..k {
                        let q = nearest(row(p) * inverse).clamp(-127, 127);
                        sums[c] += q;
                        out[at(p)] = q as i8 as u8;
                    }
                }
            });
        }
        Ok(Weight { panels, scales, sums, k, n, form })
    }

    /// Whether it is an `[n, k]` in `form`.
    pub(crate) fn is_for(&self, form: Form, n: usize, k: usize) -> bool {
        (self.form, self.n, self.k) == (form, n, k)
    }

    /// Panels `2·pair` and `2·pair + 1`.
    fn pair(&self, pair: usize) -> &[u8] {
        let size = self.form.words(self.k) * self.form.bytes() * WIDTH;
        &self.panels.bytes()[pair * size..(pair + 1) * size]
    }
}

/// The largest integer of a row of x in 16 bits: `k` products of it and ±127 fit an i32.
fn most(k: usize) -> i32 {
    ((i32::MAX as usize / 127 / k.max(1)).min(i16::MAX as usize) as i32).max(1)
}

/// The larger of `m` and |x| by their bits: without the sign these are in the order of the numbers,
/// infinity and NaN above all.
#[inline(always)]
fn larger(m: u32, x: f32) -> u32 {
    m.max(x.to_bits() & 0x7fff_ffff)
}

/// What an integer of a row is worth, and its inverse, from the bits of the largest magnitude; NaN
/// and 0 where a value is not finite.
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

/// As [`scale`], for integers 0..255 with `low` at their lower end and `high` at their upper: and
/// the integer of 0.
#[inline(always)]
fn affine(low: f32, high: f32) -> (f32, f32, i32) {
    let step = high * (1.0 / 255.0) - low * (1.0 / 255.0);
    let inverse = 1.0 / step;
    match (low.is_finite() && high.is_finite(), inverse.is_finite()) {
        (false, _) => (f32::NAN, 0.0, 0),
        (true, true) => (step, inverse, nearest(-low * inverse).clamp(0, 255)),
        (true, false) => (0.0, 0.0, 0),
    }
}

/// The nearest bf16, ties to even; of a NaN a NaN.
#[inline(always)]
fn bf16(x: f32) -> u16 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
    let nan = bits >> 16 | 0x40;
    (if bits & 0x7fff_ffff > 0x7f80_0000 { nan } else { rounded }) as u16
}

/// The rows of x, each `words` words; and what an integer of each row is worth, and which is 0.
struct Rounded {
    words: Buffer,
    scales: Vec<f32>,
    zeros: Vec<i32>,
}

impl Rounded {
    /// Rounds `x [m, k]`, contiguous.
    fn new(op: &'static str, form: Form, x: &[f32], m: usize, k: usize) -> Result<Rounded> {
        let words = form.words(k);
        // A tile reads whole, perhaps beyond the last row.
        let mut buffer = Buffer::scratch(op, sizes::bytes(op, &[m + tile::TALLEST, words], 4)?)?;
        let (mut scales, mut zeros) = (zeros(m)?, zeros(m)?);
        let out = &mut buffer.bytes_mut()[..m * words * 4];
        let of_rows = (SharedMut::new(&mut scales), SharedMut::new(&mut zeros));
        parallel::rows(out, words * 4, parallel::rows_per_task(k), k as f64 * 0.3, |first, out| {
            let rows = first..first + out.len() / (words * 4);
            // SAFETY: each row belongs to one task.
            let (scales, zeros) = unsafe { (of_rows.0.slice(rows.clone()), of_rows.1.slice(rows)) };
            simd::dispatch::<true, f32, _>(
                #[inline(always)]
                || {
                    for (i, out) in out.chunks_exact_mut(words * 4).enumerate() {
                        let x = &x[(first + i) * k..][..k];
                        match form {
                            Form::Int8By16 => {
                                scales[i] = in_16_bits(x, bytemuck::cast_slice_mut(out))
                            }
                            Form::Int8 => (scales[i], zeros[i]) = in_8_bits(x, out),
                            Form::Bf16 => {
                                let out: &mut [u16] = bytemuck::cast_slice_mut(out);
                                for (out, &x) in out.iter_mut().zip(x) {
                                    *out = bf16(x);
                                }
                                out[k..].fill(0);
                            }
                        }
                    }
                },
            );
        });
        Ok(Rounded { words: buffer, scales, zeros })
    }
}

#[inline(always)]
fn in_16_bits(x: &[f32], out: &mut [i16]) -> f32 {
    let (scale, inverse) = scale(x.iter().fold(0, |m, &x| larger(m, x)), most(x.len()));
    for (q, &x) in out.iter_mut().zip(x) {
        *q = nearest(x * inverse) as i16;
    }
    out[x.len()..].fill(0);
    scale
}

#[inline(always)]
fn in_8_bits(x: &[f32], out: &mut [u8]) -> (f32, i32) {
    // 0 is always among them; an infinity or a NaN is at one end.
    let (mut low, mut high) = (0, 0);
    for key in x.iter().map(|&x| in_order(x)) {
        (low, high) = (low.min(key), high.max(key));
    }
    let (scale, inverse, zero) = affine(from_order(low), from_order(high));
    for (q, &x) in out.iter_mut().zip(x) {
        *q = (nearest(x * inverse) + zero).clamp(0, 255) as u8;
    }
    out[x.len()..].fill(0);
    (scale, zero)
}

/// One product, its operands rounded.
struct Product<'a> {
    kernel: Kernel,
    x: &'a Rounded,
    w: &'a Weight,
    bias: Option<&'a [f32]>,
    gelu: bool,
    c: &'a SharedMut<'a, f32>,
    /// How far C's rows are apart.
    row_c: usize,
}

impl Product<'_> {
    /// Rows `rows` of the channels of `pairs` of panels.
    ///
    /// # Safety
    /// No other thread writes them meanwhile; the processor has the kernel.
    #[inline(always)]
    unsafe fn block(&self, rows: Range<usize>, pairs: Range<usize>) {
        let Product { kernel, x, w, bias, gelu: gelued, c, row_c } = *self;
        let words = w.form.words(w.k);
        let tiles = rows.len().div_ceil(kernel.rows());
        let all: &[u32] = bytemuck::cast_slice(x.words.bytes());
        // SAFETY: the caller's promise.
        let state = unsafe { kernel.begin() };
        let mut sums = Sums::ZERO;
        let mut ys = [[0f32; WIDTH]; tile::TALLEST];
        for pair in pairs {
            let (first, b) = (pair * WIDTH, w.pair(pair));
            let cols = WIDTH.min(w.n - first);
            let mut shift = [0f32; WIDTH];
            if let Some(bias) = bias {
                shift[..cols].copy_from_slice(&bias[first..first + cols]);
            }
            let channel: &[f32; WIDTH] = w.scales[first..].first_chunk().expect("whole panels");
            let total: &[i32; WIDTH] = w.sums[first..].first_chunk().expect("whole panels");
            for t in 0..tiles {
                let tile = parallel::part(rows.len(), tiles, t);
                let (at, height) = (rows.start + tile.start, tile.len());
                // The first tile of a panel asks for the next panel.
                let next = (t == 0).then(|| b.as_ptr().wrapping_add(b.len()));
                // SAFETY: the caller's promise.
                unsafe {
                    kernel.sums(
                        &state,
                        w.form,
                        height,
                        words,
                        &all[at * words..],
                        b,
                        next,
                        &mut sums,
                    )
                };
                for (r, y) in ys[..height].iter_mut().enumerate() {
                    let (scale, zero) = (x.scales[at + r], x.zeros[at + r]);
                    let sums = &sums.0[r];
                    for c in 0..WIDTH {
                        y[c] = if w.form == Form::Bf16 {
                            f32::from_bits(sums[c]) + shift[c]
                        } else {
                            let sum = (sums[c] as i32).wrapping_sub(zero.wrapping_mul(total[c]));
                            sum as f32 * (scale * channel[c]) + shift[c]
                        };
                    }
                }
                if gelued {
                    // In one loop over all rows: one vector's long chain of operations hides behind
                    // another's.
                    for y in ys[..height].as_flattened_mut() {
                        *y = gelu(*y);
                    }
                }
                for (r, y) in ys[..height].iter().enumerate() {
                    let place = (at + r) * row_c + first;
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

    /// The whole product of `m` rows, split between threads.
    fn run(&self, m: usize) {
        let (n, k) = (self.w.n, self.w.k);
        let block = (BLOCK_BYTES / (4 * self.w.form.words(k)).max(1)).clamp(BLOCK.0, BLOCK.1);
        let block = block / BLOCK.0 * BLOCK.0;
        let (pairs, row_parts) = (n.div_ceil(WIDTH), m.div_ceil(block));
        let wanted = rayon::current_num_threads() * if row_parts == 1 { 1 } else { 4 };
        let column_parts = wanted.div_ceil(row_parts).min(pairs);
        let tasks = row_parts * column_parts;
        let macs = sizes::work(&[m, n, k, self.kernel.fs_per_mac(self.w.form)]) / tasks / 1000;
        let arrival = self.w.panels.bytes().len() / tasks * PS_PER_BYTE;
        let finish = sizes::work(&[m, n, PS_PER_ELEMENT]) / tasks;
        let ns = (macs.max(arrival) / 1000).saturating_add(finish / 1000);
        parallel::run(tasks, ns.saturating_add(100), &|task| {
            let (part, column) = (task / column_parts, task % column_parts);
            let rows = part * block..m.min((part + 1) * block);
            let pairs = parallel::part(pairs, column_parts, column);
            simd::dispatch::<true, f32, _>(
                #[inline(always)]
                || {
                    // SAFETY: each task has its own part of C; the kernel was chosen for this
                    // processor.
                    unsafe { self.block(rows, pairs) }
                },
            );
        });
    }
}

/// Whether this processor has a kernel for inputs of `k` columns.
pub fn has_kernel(low: LowPrecision, k: usize) -> bool {
    choose(low, k).is_some()
}

/// Layers side by side: `x [m, k]`, weights `[n, k]`, their biases `[n]` (or none) → `[m, Σn]`; with `gelu`,
/// GELU of it.
///
/// # Panics
/// If there is no kernel: see [`has_kernel`].
pub fn linear_low(
    low: LowPrecision,
    x: View,
    weights: Vec<View>,
    biases: Vec<View>,
    gelu: bool,
) -> Result<Array> {
    let kernel = choose(low, x.shape()[1]).expect("the caller asked for one");
    let biases = biases.into_iter().map(View::contiguous).collect::<Result<Vec<_>>>()?;
    let biases: Vec<View> = biases.iter().map(ViewOrCopy::view).collect();
    linear(kernel, x.contiguous()?.view(), &weights, &biases, gelu)
}

/// Layers side by side: `x [m, k]` contiguous, weights `[n, k]`, their biases `[n]` contiguous (or
/// none) → `[m, Σn]`; with `gelu`, GELU of it.
fn linear(
    (form, kernel): (Form, Kernel),
    x: View,
    weights: &[View],
    biases: &[View],
    gelu: bool,
) -> Result<Array> {
    let op = "linear_low";
    let (m, k) = (x.shape()[0], x.shape()[1]);
    let row_c: usize = weights.iter().map(|w| w.shape()[0]).sum();
    let mut out = Output::<f32>::new(op, &[m, row_c])?;
    if out.slice_mut().is_empty() {
        return Ok(out.into_array(&[m, row_c]));
    }
    let rows = Rounded::new(op, form, x.slice::<f32>(), m, k)?;
    let mut column = 0;
    for (i, w) in weights.iter().enumerate().filter(|(_, w)| w.shape()[0] > 0) {
        let n = w.shape()[0];
        let make = || Weight::new(form, w.mat(), n, k);
        let kept = matmul::derived(*w, make)?;
        let made;
        let rounded = match kept.as_deref().filter(|q| q.is_for(form, n, k)) {
            Some(kept) => kept,
            None => {
                made = make()?;
                &made
            }
        };
        let c = SharedMut::new(&mut out.slice_mut()[column..]);
        let bias = biases.get(i).map(|b| b.slice::<f32>());
        Product { kernel, x: &rows, w: rounded, bias, gelu, c: &c, row_c }.run(m);
        column += n;
    }
    Ok(out.into_array(&[m, row_c]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::tile::MAX_STEPS;
    use super::*;
    use crate::{create, random};
    use gradus_base::{DType, RngKey};

    fn random(shape: &[usize], seed: u64) -> Array {
        random::randn(shape, DType::F32, RngKey::new(seed)).unwrap()
    }

    fn values(x: View) -> Vec<f32> {
        x.to_vec("test").unwrap()
    }

    fn to_bf16(x: f64) -> f64 {
        f32::from_bits((bf16(x as f32) as u32) << 16) as f64
    }

    /// The layer with operands that were rounded as they should be, in f64, and how far the
    /// rounding of x, sums in f32 and the rounding of a number halfway between two may take the
    /// result from it.
    fn reference(form: Form, x: View, w: View, b: View) -> (Vec<f64>, Vec<f64>) {
        let ((m, k), n) = ((x.shape()[0], x.shape()[1]), w.shape()[0]);
        let [x, w, b] = [x, w, b].map(|x| x.to_f64_vec("test").unwrap());
        let (mut y, mut slack) = (Vec::new(), Vec::new());
        for i in 0..m {
            let x = &x[i * k..(i + 1) * k];
            let low = x.iter().fold(0.0, |m: f64, x| m.min(*x));
            let high = x.iter().fold(0.0, |m: f64, x| m.max(*x));
            let step = match form {
                Form::Int8By16 => high.max(-low) / most(k) as f64,
                Form::Int8 => (high - low) / 255.0,
                Form::Bf16 => 0.0,
            };
            for j in 0..n {
                let w = &w[j * k..(j + 1) * k];
                if form == Form::Bf16 {
                    let products = || x.iter().zip(w).map(|(x, w)| to_bf16(*x) * to_bf16(*w));
                    slack.push(1e-6 * (products().map(f64::abs).sum::<f64>() + b[j].abs()) + 1e-30);
                    y.push(products().sum::<f64>() + b[j]);
                    continue;
                }
                let s = w.iter().fold(0.0, |m: f64, w| m.max(w.abs())) / 127.0;
                let q: Vec<f64> =
                    w.iter().map(|w| if s > 0.0 { (w / s).round() * s } else { 0.0 }).collect();
                let sum: f64 = x.iter().zip(&q).map(|(x, w)| x * w).sum();
                let size: f64 = x.iter().zip(&q).map(|(x, w)| (x * w).abs()).sum();
                // In 8 bits 0 is rounded as well, so an end of the range may lie half a step
                // outside.
                let most = if form == Form::Int8 { 1.01 } else { 0.51 };
                let rounding = q.iter().map(|w| w.abs()).sum::<f64>() * step * most;
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

    /// All kernels of this processor, and the plain twins of those forms.
    fn all(k: usize) -> Vec<(Form, Kernel)> {
        let low = [LowPrecision::Int8, LowPrecision::Bf16];
        let mut all: Vec<_> = low.into_iter().flat_map(|low| tile::choices(low, k)).collect();
        all.extend([Form::Int8By16, Form::Int8, Form::Bf16].map(|form| (form, Kernel::Plain)));
        all
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn it_is_the_layer_with_rounded_operands(
            m in 1..140usize, k in 1..200usize, n in 1..100usize, seed in 0..1000u64, transposed: bool,
        ) {
            let (x, b) = (random(&[m, k], seed), random(&[n], seed + 2));
            for (form, kernel) in all(k) {
                // A new weight, because it keeps the form that it was given first.
                let shape = if transposed { [k, n] } else { [n, k] };
                let w = random(&shape, seed + 1);
                let order = if transposed { [1, 0] } else { [0, 1] };
                let layout = w.view().layout().permute(order);
                let w = w.view().with(&layout);
                let layer = |gelu| {
                    let y = linear((form, kernel), x.view(), &[w], &[b.view()], gelu).unwrap();
                    values(y.view())
                };
                let y = layer(false);
                let (want, slack) = reference(form, x.view(), w, b.view());
                for (i, ((got, want), slack)) in y.iter().zip(want).zip(slack).enumerate() {
                    prop_assert!(
                        (*got as f64 - want).abs() <= slack,
                        "{form:?} {kernel:?}, element {i}: {got}, not {want} (± {slack})"
                    );
                }
                // GELU in the same pass is GELU of the result, and a second call uses the same
                // weight.
                for (got, y) in layer(true).into_iter().zip(y) {
                    prop_assert!((got - gelu(y)).abs() <= 1e-6 * y.abs().max(1.0), "{kernel:?} {got} {}", gelu(y));
                }
            }
        }

        #[test]
        fn kernels_are_their_plain_twin_and_threads_do_not_matter(
            m in 1..100usize, k in 1..300usize, n in 1..80usize, seed in 0..1000u64,
        ) {
            let x = random(&[m, k], seed);
            for (form, kernel) in all(k) {
                let w = random(&[n, k], seed + 1);
                let run = |kernel, threads| {
                    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                    let layer = || linear((form, kernel), x.view(), &[w.view()], &[], false);
                    values(pool.install(layer).unwrap().view())
                };
                let (got, twin) = (run(kernel, 1), run(Kernel::Plain, 1));
                prop_assert_eq!(&got, &run(kernel, 3), "{:?} with three threads", kernel);
                if form != Form::Bf16 {
                    prop_assert_eq!(got, twin, "{:?} {:?}", form, kernel);
                }
            }
        }
    }

    #[test]
    fn sums_fit_and_what_is_no_number_stays_none() {
        for k in [1, 2, 768, 3072, 100_000] {
            assert!(most(k) as i64 * 127 * k as i64 <= i32::MAX as i64, "{k}");
        }
        for (form, kernel) in all(3072) {
            let layer = |x: &Array, w: &Array| {
                let y = linear((form, kernel), x.view(), &[w.view()], &[], false);
                values(y.unwrap().view())
            };
            let full = |shape: &[usize], x| create::full(shape, x, DType::F32).unwrap();
            // All of the largest: the sum is as large as it can be.
            for (x, w) in [(2.0, -3.0), (-2.0, -3.0), (2.0, 3.0)] {
                let y = layer(&full(&[1, 3072], x), &full(&[1, 3072], w))[0];
                assert!((y as f64 - x * w * 3072.0).abs() < 1.0, "{form:?} {kernel:?} {y}");
            }
            for bad in [f32::NAN, f32::INFINITY] {
                let mut x = Output::filled("test", &[2, 2], 1f32).unwrap();
                x.slice_mut()[1] = bad;
                let y = layer(&x.into_array(&[2, 2]), &random(&[3, 2], 0));
                assert!(
                    y[..3].iter().all(|y| !y.is_finite()) && y[3..].iter().all(|y| y.is_finite()),
                    "{form:?} {kernel:?} {y:?}"
                );
            }
            let y = layer(&full(&[2, 4], 0.0), &full(&[3, 4], 0.0));
            assert_eq!(y, [0.0; 6], "{form:?} {kernel:?}");
        }
    }

    #[test]
    fn a_row_too_long_for_8_by_8_bits_takes_another_form() {
        for (form, _) in tile::choices(LowPrecision::Int8, MAX_STEPS + 1) {
            assert_eq!(form, Form::Int8By16);
        }
        assert!(MAX_STEPS as i64 * 255 * 127 <= i32::MAX as i64);
    }

    #[test]
    fn bf16_is_the_nearest() {
        for bits in (0..=u32::MAX).step_by(65_521 * 16) {
            let x = f32::from_bits(bits);
            assert_eq!(bf16(x), half::bf16::from_f32(x).to_bits(), "{x}");
        }
        assert_eq!(bf16(1.0 + 1.0 / 256.0), 0x3f80, "a tie goes to even");
        assert_eq!(bf16(1.0 + 3.0 / 256.0), 0x3f82, "a tie goes to even");
    }
}
