//! SIMD by runtime dispatch: the same Rust code compiled for the widest registers the processor has.
//!
//! The compiler vectorises a plain loop for the instruction set of the function it is inlined into.
//! [`dispatch`] inlines its closure into a function compiled for AVX-512, for AVX2, or for the
//! baseline, whichever the processor supports. Results do not depend on the choice: a
//! multiply-add is fused only where the code says `mul_add` (which on a processor without the
//! instruction is slow, but the same), and lanes are explicit wherever a reduction is vectorised.

use super::math::Float;
use crate::Element;

/// Runs `body` compiled for the processor's best instruction set.
///
/// What is not inlined is compiled for the baseline: an exponential is then 40 times slower. The
/// compiler's own judgement is not enough, for it sees each closure called from three places. So
/// mark the closure (`dispatch(#[inline(always)] || …)`), the functions it calls, and the closures
/// given to them that are more than a few operations long. A function passed by its name cannot be
/// marked; wrap it in a closure.
///
/// `T` is the element type computed on: only for f32, the type of training and inference, are there
/// several versions. f64 checks gradients; compiling everything three times for it would double the
/// time that this crate takes to build. For the same reason only a `HEAVY` body has one for AVX-512:
/// where a few operations meet each element, memory decides, and AVX2 keeps up with it.
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

/// Whether [`dispatch`] chooses AVX-512: registers twice as wide, and twice as many.
#[inline(always)]
fn has_avx512() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("fma")
    }
    #[cfg(not(target_arch = "x86_64"))]
    false
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

/// Elements that the lanes take one after another. What is longer is reduced in blocks of so many.
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

/// Folds `xs` in [`LANES`] independent accumulators, then joins the lanes pairwise; beyond [`BLOCK`] elements in blocks.
/// The order is fixed, and the error grows with the logarithm of the length instead of the length.
#[inline(always)]
pub(crate) fn reduce<T: Copy, A: Copy>(
    xs: &[T],
    identity: A,
    fold: impl Fn(A, T) -> A,
    join: impl Fn(A, A) -> A,
) -> A {
    let mut levels = Levels::new(identity);
    for block in xs.chunks(BLOCK) {
        let mut lanes = [identity; LANES];
        let (vectors, rest) = block.as_chunks::<LANES>();
        for vector in vectors {
            for l in 0..LANES {
                lanes[l] = fold(lanes[l], vector[l]);
            }
        }
        for (l, &x) in rest.iter().enumerate() {
            lanes[l] = fold(lanes[l], x);
        }
        if xs.len() <= BLOCK {
            return join_lanes(lanes, join);
        }
        levels.add(lanes, identity, &join);
    }
    levels.join(join)
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
    let mut levels = Levels::new(identity);
    let mut mapped = [identity; PIECE];
    for block in xs.chunks(BLOCK) {
        let mut lanes = [identity; LANES];
        for piece in block.chunks(PIECE) {
            let mapped = &mut mapped[..piece.len()];
            for i in 0..piece.len() {
                mapped[i] = map(piece[i]);
            }
            let (vectors, rest) = mapped.as_chunks::<LANES>();
            for vector in vectors {
                for l in 0..LANES {
                    lanes[l] = join(lanes[l], vector[l]);
                }
            }
            for (l, &x) in rest.iter().enumerate() {
                lanes[l] = join(lanes[l], x);
            }
        }
        if xs.len() <= BLOCK {
            return join_lanes(lanes, join);
        }
        levels.add(lanes, identity, &join);
    }
    levels.join(join)
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
    let mut levels = Levels::new(identity);
    for (block_x, block_y) in xs.chunks(BLOCK).zip(ys.chunks(BLOCK)) {
        let mut lanes = [identity; LANES];
        let (vx, rest_x) = block_x.as_chunks::<LANES>();
        let (vy, rest_y) = block_y.as_chunks::<LANES>();
        for (x, y) in vx.iter().zip(vy) {
            for l in 0..LANES {
                lanes[l] = fold(lanes[l], x[l], y[l]);
            }
        }
        for (l, (&x, &y)) in rest_x.iter().zip(rest_y).enumerate() {
            lanes[l] = fold(lanes[l], x, y);
        }
        if xs.len() <= BLOCK {
            return join_lanes(lanes, join);
        }
        levels.add(lanes, identity, &join);
    }
    levels.join(join)
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

/// A sum of squares without `part`, which is of it but for roundings: never negative, and infinite where the sum is.
#[inline(always)]
pub(crate) fn without<T: Float>(squares: T, part: T) -> T {
    let rest = squares - part;
    match squares.to_f64().is_finite() {
        true if rest < T::ZERO => T::ZERO,
        true => rest,
        false => squares,
    }
}
