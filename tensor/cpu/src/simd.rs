//! SIMD by runtime dispatch: the same Rust code compiled for the widest registers the processor
//! has.
//!
//! The compiler vectorises a plain loop for the instruction set of the function it is inlined into.
//! [`dispatch`] inlines its closure into a function compiled for AVX-512, for AVX2, or for the
//! baseline, whichever the processor supports. The baseline of aarch64 has NEON. Results do not
//! depend on the choice: a multiply-add is fused only where the code says `mul_add` (which on a
//! processor without the instruction is slow, but the same), and lanes are explicit wherever a
//! reduction is vectorised.

use std::ops::Range;

use gradus_base::Element;

use super::math::Float;

/// Runs `body` compiled for the processor's best instruction set.
///
/// What is not inlined is compiled for the baseline: an exponential is then 40 times slower. The
/// compiler alone does not inline enough, because it sees three calls of each closure. So mark the
/// closure (`dispatch(#[inline(always)] || …)`), the functions it calls, and the closures given to
/// them that are more than a few operations long. A function passed by its name cannot be marked;
/// wrap it in a closure.
///
/// `T` is the element type: only f32, the type of training and inference, has several versions. f64
/// checks gradients; three versions of it would double the time that this crate takes to build. For
/// the same reason only a `HEAVY` body has a version for AVX-512: where an element needs only a few
/// operations, memory limits the speed, and AVX2 is fast enough for it.
#[inline(always)]
pub(crate) fn dispatch<const HEAVY: bool, T: Element, R>(body: impl FnOnce() -> R) -> R {
    #[cfg(target_arch = "x86_64")]
    if T::WIDE {
        if HEAVY && has_avx512() {
            // SAFETY: the features were just detected.
            return unsafe { avx512(body) };
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: the features were just detected.
            return unsafe { avx2(body) };
        }
    }
    body()
}

/// Runs `body` compiled for the widest registers of this processor: AVX-512, AVX2, or the baseline (which
/// has NEON on aarch64). A plain loop over arrays then fills these registers, and `mul_add` is one
/// instruction where [`instruction_set`](super::instruction_set) names one.
///
/// Only what is inlined into `body` is compiled so: mark the closure, and the functions that it calls,
/// `#[inline(always)]`.
///
/// ```
/// let (x, mut sums) = ([2f32; 64], [1f32; 16]);
/// gradus_cpu::widest(
///     #[inline(always)]
///     || {
///         for row in x.as_chunks::<16>().0 {
///             for lane in 0..16 {
///                 sums[lane] += row[lane]; // 16 additions, one instruction of AVX-512
///             }
///         }
///     },
/// );
/// assert_eq!(sums, [9.0; 16]);
/// ```
#[inline(always)]
pub fn widest<R>(body: impl FnOnce() -> R) -> R {
    dispatch::<true, f32, R>(body)
}

/// Whether [`dispatch`] chooses AVX-512: registers twice as wide, and twice as many.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn has_avx512() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("fma")
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
fn avx512<R>(body: impl FnOnce() -> R) -> R {
    body()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2<R>(body: impl FnOnce() -> R) -> R {
    body()
}

/// Lanes of a vectorised reduction. Fixed, so that every processor adds in the same order.
pub(crate) const LANES: usize = 16;

/// Elements of a block, which the lanes take one after another. A longer slice has several blocks.
pub(crate) const BLOCK: usize = 1024;

/// The lanes of the blocks of a long slice, joined: of 64 blocks, then of 64 such joins, and so on.
struct Levels<A> {
    joined: [[A; LANES]; 4],
    blocks: usize,
}

impl<A: Copy> Levels<A> {
    #[inline(always)]
    fn new(identity: A) -> Self {
        Levels { joined: [[identity; LANES]; 4], blocks: 0 }
    }

    #[inline(always)]
    fn add(&mut self, mut lanes: [A; LANES], identity: A, join: &impl Fn(A, A) -> A) {
        self.blocks += 1;
        let (mut left, highest) = (self.blocks, self.joined.len() - 1);
        for (i, level) in self.joined.iter_mut().enumerate() {
            for l in 0..LANES {
                level[l] = join(level[l], lanes[l]);
            }
            if i == highest || !left.is_multiple_of(64) {
                return;
            }
            left /= 64;
            lanes = std::mem::replace(level, [identity; LANES]);
        }
    }

    #[inline(always)]
    fn join(self, join: impl Fn(A, A) -> A) -> A {
        let [mut lanes, higher @ ..] = self.joined;
        for level in higher {
            for l in 0..LANES {
                lanes[l] = join(lanes[l], level[l]);
            }
        }
        join_lanes(lanes, join)
    }
}

/// Reduces `len` elements: `fold_block` folds those of a range, at most [`BLOCK`], into lanes. Then
/// the lanes join pairwise, those of several blocks level by level. The order is fixed, and the
/// error grows with the logarithm of the length instead of the length.
#[inline(always)]
fn join_blocks<A: Copy>(
    len: usize,
    identity: A,
    fold_block: impl Fn(Range<usize>) -> [A; LANES],
    join: impl Fn(A, A) -> A,
) -> A {
    let mut levels = Levels::new(identity);
    let mut start = 0;
    loop {
        let end = len.min(start + BLOCK);
        let lanes = fold_block(start..end);
        if len <= BLOCK {
            return join_lanes(lanes, join);
        }
        levels.add(lanes, identity, &join);
        if end == len {
            return levels.join(join);
        }
        start = end;
    }
}

/// Folds element i of `xs` into lane i mod [`LANES`].
#[inline(always)]
fn fold_lanes<T: Copy, A: Copy>(
    mut lanes: [A; LANES],
    xs: &[T],
    fold: impl Fn(A, T) -> A,
) -> [A; LANES] {
    let (vectors, rest) = xs.as_chunks::<LANES>();
    for vector in vectors {
        for l in 0..LANES {
            lanes[l] = fold(lanes[l], vector[l]);
        }
    }
    for (l, &x) in rest.iter().enumerate() {
        lanes[l] = fold(lanes[l], x);
    }
    lanes
}

/// Folds `xs` in [`LANES`] independent accumulators and joins them; see [`join_blocks`].
#[inline(always)]
pub(crate) fn reduce<T: Copy, A: Copy>(
    xs: &[T],
    identity: A,
    fold: impl Fn(A, T) -> A,
    join: impl Fn(A, A) -> A,
) -> A {
    join_blocks(
        xs.len(),
        identity,
        #[inline(always)]
        |block| opaque(fold_lanes([identity; LANES], &xs[block], &fold)),
        join,
    )
}

/// The sum of `xs`, in the order of [`reduce`]; for short slices faster.
#[inline(always)]
pub(crate) fn sum<T: Float>(xs: &[T]) -> T {
    let add = |a: T, x: T| a + x;
    join_blocks(
        xs.len(),
        T::ZERO,
        #[inline(always)]
        |block| fold_lanes([T::ZERO; LANES], &xs[block], add),
        add,
    )
}

/// [`reduce`] of `map(x)`, for maps worth vectorising on their own (an exponential): they run in a
/// plain loop over a piece that stays in the cache. The order is that of [`reduce`].
#[inline(always)]
pub(crate) fn map_reduce<T: Copy, A: Copy>(
    xs: &[T],
    identity: A,
    map: impl Fn(T) -> A,
    join: impl Fn(A, A) -> A,
) -> A {
    const PIECE: usize = 8 * LANES;
    join_blocks(
        xs.len(),
        identity,
        #[inline(always)]
        |block| {
            let (mut lanes, mut mapped) = ([identity; LANES], [identity; PIECE]);
            for piece in xs[block].chunks(PIECE) {
                let mapped = &mut mapped[..piece.len()];
                for i in 0..piece.len() {
                    mapped[i] = map(piece[i]);
                }
                lanes = fold_lanes(lanes, mapped, &join);
            }
            lanes
        },
        &join,
    )
}

/// [`reduce`] over two slices of one length.
#[inline(always)]
pub(crate) fn reduce2<T: Copy, A: Copy>(
    xs: &[T],
    ys: &[T],
    identity: A,
    fold: impl Fn(A, T, T) -> A,
    join: impl Fn(A, A) -> A,
) -> A {
    join_blocks(
        xs.len().min(ys.len()),
        identity,
        #[inline(always)]
        |block| {
            let mut lanes = [identity; LANES];
            let (vectors_x, rest_x) = xs[block.clone()].as_chunks::<LANES>();
            let (vectors_y, rest_y) = ys[block].as_chunks::<LANES>();
            for (x, y) in vectors_x.iter().zip(vectors_y) {
                for l in 0..LANES {
                    lanes[l] = fold(lanes[l], x[l], y[l]);
                }
            }
            for (l, (&x, &y)) in rest_x.iter().zip(rest_y).enumerate() {
                lanes[l] = fold(lanes[l], x, y);
            }
            opaque(lanes)
        },
        join,
    )
}

/// The lanes, hidden from the compiler. Where it sees how they are joined, it keeps them in vectors of
/// two, as the last join needs them, and the loop that fills them takes twice as long.
#[inline(always)]
fn opaque<A>(mut lanes: [A; LANES]) -> [A; LANES] {
    std::hint::black_box(&mut lanes);
    lanes
}

/// Joins the lanes pairwise.
#[inline(always)]
pub(crate) fn join_lanes<A: Copy>(mut lanes: [A; LANES], join: impl Fn(A, A) -> A) -> A {
    let mut width = LANES / 2;
    while width > 0 {
        for l in 0..width {
            lanes[l] = join(lanes[l], lanes[l + width]);
        }
        width /= 2;
    }
    lanes[0]
}

/// A sum of squares minus `part`, a part of it. Roundings may make the difference negative: then it
/// is 0. An infinite sum stays infinite.
#[inline(always)]
pub(crate) fn without<T: Float>(squares: T, part: T) -> T {
    let rest = squares - part;
    match squares.to_f64().is_finite() {
        true if rest < T::ZERO => T::ZERO,
        true => rest,
        false => squares,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sum of mapped numbers is the sum of what the map gives, bit for bit.
    #[test]
    fn mapped_sums_have_the_order_of_sums() {
        for n in [0u32, 1, 15, 16, 17, 127, 128, 129, 1000, 1024, 1025, 5000] {
            let x: Vec<f32> = (0..n).map(|i| (i * 7919 % 1009) as f32 / 31.0).collect();
            let squares: Vec<f32> = x.iter().map(|x| x * x).collect();
            let add = |a: f32, b: f32| a + b;
            let mapped = map_reduce(&x, 0.0, |x| x * x, add);
            assert_eq!(mapped.to_bits(), reduce(&squares, 0.0, add, add).to_bits(), "{n} numbers");
        }
    }
}
