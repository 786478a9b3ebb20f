//! Scalar functions that vectorise when inlined into a SIMD loop (see [`super::simd`]).
//!
//! The f32 versions are polynomials without branches or table look-ups; the f64 versions, used by
//! gradient checks, call the system's library. Error bounds are tested below against f64.

use gradus_base::Element;

/// The arithmetic of a dtype in which kernels compute: f32 or f64.
#[allow(missing_docs)] // the functions are those of `std`
pub trait Float:
    Element
    + std::ops::Add<Output = Self>
    + std::ops::Sub<Output = Self>
    + std::ops::Mul<Output = Self>
    + std::ops::Div<Output = Self>
    + std::ops::Neg<Output = Self>
    + std::ops::AddAssign
    + std::ops::SubAssign
    + std::ops::MulAssign
    + std::iter::Sum
{
    const ZERO: Self;
    const ONE: Self;
    /// A constant given at full precision.
    fn c(value: f64) -> Self;
    fn exp(self) -> Self;
    /// 2ˣ for x up to 127, in f32 0 for x below −126.5: half the work of [`exp`](Self::exp), for
    /// weights that vanish.
    fn exp2(self) -> Self;
    fn ln(self) -> Self;
    fn ln_1p(self) -> Self;
    fn sqrt(self) -> Self;
    fn tanh(self) -> Self;
    fn sin(self) -> Self;
    fn cos(self) -> Self;
    fn erf(self) -> Self;
    fn powf(self, e: Self) -> Self;
    fn abs(self) -> Self;
    fn floor(self) -> Self;
    fn ceil(self) -> Self;
    fn round_ties_even(self) -> Self;
    fn is_nan(self) -> bool;
    fn is_finite(self) -> bool;
    /// self·a + b, rounded once. Only inside [`super::simd::dispatch`]: elsewhere it is a call.
    fn mul_add(self, a: Self, b: Self) -> Self;
    /// Φ(−x) and φ(x), the standard normal distribution function and density, for x from 0 to 40,
    /// where both are 0.
    fn normal_tail(self) -> (Self, Self);
    /// The standard normal distribution function Φ(x) and density φ(x), for GELU's derivative.
    #[inline(always)]
    fn normal(self) -> (Self, Self) {
        let (tail, density) = at_most(self.abs(), Self::c(NORMAL_END)).normal_tail();
        (if self > Self::ZERO { Self::ONE - tail } else { tail }, density)
    }
    /// The larger; NaN if either is NaN (as PyTorch's `maximum`).
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        if self > other || self.is_nan() { self } else { other }
    }
    /// The largest of them, −∞ of none. A NaN counts as its sign says, or not at all: for maxima
    /// that only keep an exponential from overflowing, where a NaN shows itself later.
    fn largest(xs: impl Iterator<Item = Self>) -> Self;
    /// The smaller; NaN if either is NaN.
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        if self < other || self.is_nan() { self } else { other }
    }
}

/// √(1/2π), the height of the normal density.
const FRAC_1_SQRT_TAU: f64 = 0.398_942_280_401_432_7;

/// Φ(−x) and φ(x) are 0 from here on, in f64 too.
pub(crate) const NORMAL_END: f64 = 40.0;

/// The smaller; NaN if x is NaN.
#[inline(always)]
pub(crate) fn at_most<T: Float>(x: T, end: T) -> T {
    if x > end { end } else { x }
}

impl Float for f64 {
    const ZERO: f64 = 0.0;
    const ONE: f64 = 1.0;
    #[inline(always)]
    fn c(value: f64) -> f64 {
        value
    }
    #[inline(always)]
    fn exp(self) -> f64 {
        f64::exp(self)
    }
    #[inline(always)]
    fn exp2(self) -> f64 {
        f64::exp2(self)
    }
    #[inline(always)]
    fn ln(self) -> f64 {
        f64::ln(self)
    }
    #[inline(always)]
    fn ln_1p(self) -> f64 {
        f64::ln_1p(self)
    }
    #[inline(always)]
    fn sqrt(self) -> f64 {
        f64::sqrt(self)
    }
    #[inline(always)]
    fn tanh(self) -> f64 {
        f64::tanh(self)
    }
    #[inline(always)]
    fn sin(self) -> f64 {
        f64::sin(self)
    }
    #[inline(always)]
    fn cos(self) -> f64 {
        f64::cos(self)
    }
    #[inline(always)]
    fn erf(self) -> f64 {
        libm::erf(self)
    }
    #[inline(always)]
    fn powf(self, e: f64) -> f64 {
        f64::powf(self, e)
    }
    #[inline(always)]
    fn abs(self) -> f64 {
        f64::abs(self)
    }
    #[inline(always)]
    fn floor(self) -> f64 {
        f64::floor(self)
    }
    #[inline(always)]
    fn ceil(self) -> f64 {
        f64::ceil(self)
    }
    #[inline(always)]
    fn round_ties_even(self) -> f64 {
        f64::round_ties_even(self)
    }
    #[inline(always)]
    fn is_nan(self) -> bool {
        f64::is_nan(self)
    }
    #[inline(always)]
    fn is_finite(self) -> bool {
        f64::is_finite(self)
    }
    #[inline(always)]
    fn mul_add(self, a: f64, b: f64) -> f64 {
        f64::mul_add(self, a, b)
    }
    #[inline(always)]
    fn largest(xs: impl Iterator<Item = f64>) -> f64 {
        xs.fold(f64::NEG_INFINITY, |m, x| if x > m { x } else { m })
    }
    #[inline(always)]
    fn normal_tail(self) -> (f64, f64) {
        let tail = 0.5 * libm::erfc(self * std::f64::consts::FRAC_1_SQRT_2);
        (tail, FRAC_1_SQRT_TAU * (-0.5 * self * self).exp())
    }
}

/// The bits of x as an integer in the order of the numbers, a NaN beyond the infinity of its sign;
/// and back. Maxima of integers vectorise for all registers, those of floats by lanes fell
/// apart on AVX-512.
#[inline(always)]
pub(crate) fn in_order(x: f32) -> i32 {
    turn(x.to_bits() as i32)
}

/// Undoes [`in_order`].
#[inline(always)]
pub(crate) fn from_order(key: i32) -> f32 {
    f32::from_bits(turn(key) as u32)
}

#[inline(always)]
fn turn(bits: i32) -> i32 {
    bits ^ ((bits >> 31) as u32 >> 1) as i32
}

/// A polynomial by fused multiply-adds, from the coefficient of the highest power to that of 1.
#[inline(always)]
fn horner<const N: usize>(x: f32, coefficients: [f32; N]) -> f32 {
    let mut sum = coefficients[0];
    for i in 1..N {
        sum = x.mul_add(sum, coefficients[i]);
    }
    sum
}

/// eˣ. Cody–Waite reduction x = n·ln 2 + r, a degree-7 polynomial for eʳ (Cephes'
/// `expf`), then 2ⁿ by the exponent bits in two halves, so that subnormal results
/// are right too. At most 2 ulp.
#[inline(always)]
fn exp_f32(x: f32) -> f32 {
    // Outside these the result is 0 or infinity in f32. A comparison keeps NaN.
    let clamped = if x < -104.0 { -104.0 } else { x };
    let clamped = if clamped > 89.0 { 89.0 } else { clamped };
    // Adding 1.5·2²³ rounds to an integer, which then is the low bits of the sum.
    let rounded = clamped * std::f32::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = n.mul_add(-0.693_359_4, clamped);
    let r = n.mul_add(2.121_944_4e-4, r);
    let p = horner(
        r,
        [
            1.987_569_1e-4,
            1.398_199_9e-3,
            8.333_452e-3,
            4.166_579_6e-2,
            1.666_666_5e-1,
            5.000_000_1e-1,
        ],
    );
    let p = p.mul_add(r * r, r) + 1.0;
    // In [-151, 129] after the clamp; of a NaN some integer, masked by the NaN polynomial.
    // Wrapping, because a check for overflow would keep the loop from being vectorised.
    let n = low_bits(rounded);
    let half = n >> 1;
    let pow2 = |k: i32| f32::from_bits((k.wrapping_add(127) << 23) as u32);
    p * pow2(half) * pow2(n.wrapping_sub(half))
}

/// 2ˣ for x up to 127: 2ⁿ by the exponent bits, n the nearest integer, times 2ʳ by a polynomial of
/// degree 6 (minimax of the relative error with 1 at 0, 2e-9). At n = −127 the bits are those of 0.
/// At most 2 ulp.
#[inline(always)]
fn exp2_f32(x: f32) -> f32 {
    // A comparison keeps NaN.
    let x = if x < -127.0 { -127.0 } else { x };
    let rounded = x + ROUND;
    let r = x - (rounded - ROUND);
    let p = horner(
        r,
        [
            1.535_336_2e-4,
            1.339_887_4e-3,
            9.618_437e-3,
            5.550_332_5e-2,
            2.402_264_8e-1,
            6.931_472e-1,
            1.0,
        ],
    );
    // The shift leaves n alone of the bits of n + 1.5·2²³.
    p * f32::from_bits((rounded.to_bits() << 23).wrapping_add(127 << 23))
}

/// 1.5·2²³: f32 of this size have no fraction.
const ROUND: f32 = 12_582_912.0;

/// To the nearest integer, if that is below 2²² in size; of anything else some integer.
#[inline(always)]
pub(crate) fn nearest(x: f32) -> i32 {
    low_bits(x + ROUND)
}

/// The integer n of n + [`ROUND`].
#[inline(always)]
fn low_bits(rounded: f32) -> i32 {
    (rounded.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32)
}

/// tanh. An odd polynomial (Cephes) where e²ˣ − 1 would cancel, 1 − 2/(e²ˣ + 1) beyond.
#[inline(always)]
fn tanh_f32(x: f32) -> f32 {
    let a = x.abs();
    let z = x * x;
    let mut p = -5.704_988_7e-3;
    p = p * z + 2.063_908_9e-2;
    p = p * z - 5.373_971_2e-2;
    p = p * z + 1.333_144_2e-1;
    p = p * z - 3.333_328_2e-1;
    let small = x + x * z * p;
    let large = 1.0 - 2.0 / (exp_f32(2.0 * a) + 1.0);
    // The sign of −0 too.
    (if a < 0.625 { small } else { large }).copysign(x)
}

impl Float for f32 {
    const ZERO: f32 = 0.0;
    const ONE: f32 = 1.0;
    #[inline(always)]
    fn c(value: f64) -> f32 {
        value as f32
    }
    #[inline(always)]
    fn exp(self) -> f32 {
        exp_f32(self)
    }
    #[inline(always)]
    fn exp2(self) -> f32 {
        exp2_f32(self)
    }
    #[inline(always)]
    fn ln(self) -> f32 {
        f32::ln(self)
    }
    #[inline(always)]
    fn ln_1p(self) -> f32 {
        f32::ln_1p(self)
    }
    #[inline(always)]
    fn sqrt(self) -> f32 {
        f32::sqrt(self)
    }
    #[inline(always)]
    fn tanh(self) -> f32 {
        tanh_f32(self)
    }
    #[inline(always)]
    fn sin(self) -> f32 {
        f32::sin(self)
    }
    #[inline(always)]
    fn cos(self) -> f32 {
        f32::cos(self)
    }
    #[inline(always)]
    fn erf(self) -> f32 {
        libm::erff(self)
    }
    #[inline(always)]
    fn powf(self, e: f32) -> f32 {
        f32::powf(self, e)
    }
    #[inline(always)]
    fn abs(self) -> f32 {
        f32::abs(self)
    }
    #[inline(always)]
    fn floor(self) -> f32 {
        f32::floor(self)
    }
    #[inline(always)]
    fn ceil(self) -> f32 {
        f32::ceil(self)
    }
    #[inline(always)]
    fn round_ties_even(self) -> f32 {
        f32::round_ties_even(self)
    }
    #[inline(always)]
    fn is_nan(self) -> bool {
        f32::is_nan(self)
    }
    #[inline(always)]
    fn is_finite(self) -> bool {
        f32::is_finite(self)
    }
    #[inline(always)]
    fn mul_add(self, a: f32, b: f32) -> f32 {
        f32::mul_add(self, a, b)
    }
    #[inline(always)]
    fn largest(xs: impl Iterator<Item = f32>) -> f32 {
        from_order(xs.map(in_order).fold(in_order(f32::NEG_INFINITY), i32::max))
    }
    /// Φ(−x) = P(x)/Q(x)·e^(−x²/2), P and Q of degree 3 and 4 (minimax of the relative error up to 9,
    /// 2e-7, with ½ at 0). Up to 5.6 the relative error is at most 2e-6.
    #[inline(always)]
    fn normal_tail(self) -> (f32, f32) {
        let p = horner(self, [1.520_995_5e-2, 1.116_517_7e-1, 3.480_139e-1, 0.5]);
        let q = horner(self, [3.813_645e-2, 2.795_215_5e-1, 9.153_334e-1, 1.493_906_1, 1.0]);
        let e = exp2_f32(-0.5 * std::f32::consts::LOG2_E * (self * self));
        (p / q * e, FRAC_1_SQRT_TAU as f32 * e)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Units in the last place between an f32 result and the f64 truth.
    fn ulp(got: f32, want: f64) -> f64 {
        let w = want as f32;
        let step = (f32::from_bits(w.abs().to_bits() + 1) - w.abs()) as f64;
        (got as f64 - want).abs() / step.max(f32::from_bits(1) as f64)
    }

    fn worst(from: f32, to: f32, f: impl Fn(f32) -> f32, truth: impl Fn(f64) -> f64) -> f64 {
        (0..200_001)
            .map(|i| from + (to - from) * i as f32 / 200_000.0)
            .map(|x| ulp(f(x), truth(x as f64)))
            .fold(0.0, f64::max)
    }

    #[test]
    fn error_bounds() {
        let exp = worst(-87.0, 88.7, Float::exp, f64::exp);
        assert!(exp < 2.5, "exp: {exp} ulp");
        let tanh = worst(-10.0, 10.0, Float::tanh, f64::tanh);
        assert!(tanh < 3.5, "tanh: {tanh} ulp");
        let exp2 = worst(-126.0, 127.0, Float::exp2, f64::exp2);
        assert!(exp2 < 2.5, "exp2: {exp2} ulp");
        for i in 0..=56_000 {
            let x = i as f32 * 1e-4;
            let (tail, _) = Float::normal_tail(x);
            let (truth, _) = Float::normal_tail(x as f64);
            assert!((tail as f64 / truth - 1.0).abs() < 2e-6, "Φ(−{x}) = {tail}, not {truth}");
        }
        for i in 0..=120_000 {
            let x = -6.0 + i as f32 * 1e-4;
            let (cdf, pdf) = Float::normal(x);
            let (c, p) = Float::normal(x as f64);
            assert!((cdf as f64 - c).abs() < 2.5e-7, "Φ({x}) = {cdf}, not {c}");
            assert!((pdf as f64 - p).abs() < 1.5e-7, "φ({x}) = {pdf}, not {p}");
        }
    }

    #[test]
    fn the_ends_of_the_range() {
        assert_eq!(Float::exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(Float::exp(f32::INFINITY), f32::INFINITY);
        assert_eq!(Float::exp(1000f32), f32::INFINITY);
        assert_eq!(Float::exp(0f32), 1.0);
        assert!(Float::exp(f32::NAN).is_nan());
        assert!((Float::exp(-100f32) as f64 / (-100f64).exp() - 1.0).abs() < 0.05, "subnormal");
        assert_eq!(Float::tanh(f32::INFINITY), 1.0);
        assert_eq!(Float::tanh(-50f32), -1.0);
        assert!(Float::tanh(f32::NAN).is_nan());
        assert_eq!(Float::exp2(f32::NEG_INFINITY), 0.0);
        assert_eq!(Float::exp2(-1000f32), 0.0);
        assert_eq!(Float::exp2(-126f32), f32::MIN_POSITIVE);
        assert_eq!([Float::exp2(0f32), Float::exp2(5f32)], [1.0, 32.0]);
        assert!(Float::exp2(f32::NAN).is_nan());
        for x in [0.0, 1.0, 13.0, 40.0, 1e30, f32::INFINITY] {
            let ((lower, density), (upper, _)) = (Float::normal(-x), Float::normal(x));
            assert_eq!(lower + upper, 1.0);
            assert!(density >= 0.0 && (x < 13.5 || (lower, density) == (0.0, 0.0)), "{x}");
        }
        assert!(Float::normal(f32::NAN).0.is_nan());
        let (inf, sub) = (f32::INFINITY, f32::from_bits(1));
        let sorted = [-inf, -1.5, -sub, -0.0, 0.0, sub, 1.5, f32::MAX, inf];
        assert!(sorted.is_sorted_by_key(|&x| in_order(x)));
        for x in sorted.into_iter().chain([f32::NAN, -f32::NAN]) {
            assert_eq!(from_order(in_order(x)).to_bits(), x.to_bits());
        }
        for n in 0..sorted.len() {
            let largest = f32::largest(sorted[..n].iter().rev().copied());
            assert_eq!(largest, if n == 0 { -inf } else { sorted[n - 1] });
        }
        assert_eq!(f32::largest([-f32::NAN, 2.0, -3.0].into_iter()), 2.0);
        assert!(Float::max(f32::NAN, 1.0).is_nan() && Float::max(1.0, f32::NAN).is_nan());
    }
}
