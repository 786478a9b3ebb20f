//! Marks the matrix products of chapter 6: whether they agree with the engine's product in f64, how
//! fast they are beside each other, and how often they miss a cache.

use std::process::ExitCode;
use std::time::Instant;

use gradus_tensor::{DType, Result, RngKey, Tensor};

pub use gradus_cpu::{instruction_set, widest};

/// The sizes of a product: `m` rows of A, `k` columns of A, `n` columns of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Rows of A and of the result.
    pub m: usize,
    /// Columns of A.
    pub k: usize,
    /// Columns of the result.
    pub n: usize,
}

/// A product: from A `[m, k]` and B to C `[m, n]`, all row after row. B is `[k, n]`, or, for weights,
/// `[n, k]`.
pub type Product = fn(&[f32], &[f32], &mut [f32], Sizes);

/// How B lies in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// `[k, n]`, as in A·B.
    Plain,
    /// `[n, k]`, as in x·Wᵀ: the weights of each output lie together.
    Transposed,
}

/// Sizes at which products are compared.
const SIZES: [(usize, usize, usize); 6] =
    [(1, 1, 16), (2, 3, 16), (7, 5, 32), (12, 64, 48), (33, 100, 16), (6, 0, 16)];

/// Asserts that `product` agrees with the engine's, computed in f64, at several sizes, of which `n`
/// is always a multiple of 16. A sum of k products may be off by the rounding of 2·k operations.
///
/// # Panics
/// With the sizes, the matrices and the first wrong element.
#[track_caller]
pub fn marks(what: &str, side: Side, product: Product) {
    for (m, k, n) in SIZES {
        let sizes = Sizes { m, k, n };
        let (a, b, expected, allowed) = reference(sizes, side).expect("small matrices fit");
        let mut yours = vec![f32::NAN; m * n];
        product(&a, &b, &mut yours, sizes);
        let wide: Vec<f64> = yours.iter().map(|&x| f64::from(x)).collect();
        let yours = Tensor::from_slice(&wide, &[m, n]).expect("as many as m·n");
        let shape = if side == Side::Plain { [k, n] } else { [n, k] };
        let input = format!("A [{m}, {k}]: {a:.3?}\nB {shape:?}: {b:.3?}");
        crate::near(what, input, &yours, &expected, allowed);
    }
}

/// A, B, the product in f64, and by how much one in f32 may differ.
fn reference(s: Sizes, side: Side) -> Result<(Vec<f32>, Vec<f32>, Tensor, f64)> {
    let key = RngKey::new(s.k as u64);
    let a = Tensor::randn(&[s.m, s.k], DType::F32, key.place("a"))?;
    let shape = if side == Side::Plain { [s.k, s.n] } else { [s.n, s.k] };
    let b = Tensor::randn(&shape, DType::F32, key.place("b"))?;
    let (wide_a, wide_b) = (a.to_dtype(DType::F64)?, b.to_dtype(DType::F64)?);
    let wide_b = if side == Side::Plain { wide_b } else { wide_b.t()? };
    let largest = wide_a.abs()?.matmul(&wide_b.abs()?)?;
    let largest = largest.to_f64_vec().into_iter().fold(1.0, f64::max);
    let allowed = (2 * s.k) as f64 * f64::from(f32::EPSILON) / 2.0 * largest;
    Ok((a.to_vec()?, b.to_vec()?, wide_a.matmul(&wide_b)?, allowed))
}

/// Rounds in which two products are timed in turn. Short rounds and many of them: where other
/// programs run too, a long round is more often interrupted.
const ROUNDS: usize = 15;
/// How often the comparison may be made again: another program may have been in the way.
const TRIES: usize = 3;

/// Times two products of n·n matrices in turn, and prints the median of each. Success if `after` is
/// at least `times` as fast as `before`.
pub fn faster(times: f64, n: usize, before: (&str, Product), after: (&str, Product)) -> ExitCode {
    for attempt in 1..=TRIES {
        println!("products of {n}×{n} matrices, medians of {ROUNDS} rounds in turn:");
        let [old, new] = medians(n, [before, after]);
        let ratio = old / new;
        if ratio >= times {
            println!("{ratio:.1} times as fast; at least {times} were asked for");
            return ExitCode::SUCCESS;
        }
        println!("{ratio:.1} times as fast, not {times} (try {attempt} of {TRIES})\n");
    }
    ExitCode::FAILURE
}

/// Times a product of n·n matrices, and prints the median.
pub fn speed(n: usize, product: (&str, Product)) {
    println!("products of {n}×{n} matrices, the median of {ROUNDS} rounds:");
    medians(n, [product]);
}

/// The median seconds of each, which it prints.
fn medians<const N: usize>(n: usize, products: [(&str, Product); N]) -> [f64; N] {
    let numbers = |seed: usize| -> Vec<f32> {
        (0..n * n).map(|i| ((i * 7919 + seed) % 1000) as f32 / 500.0 - 1.0).collect()
    };
    let (a, b, mut c) = (numbers(1), numbers(2), vec![0.0; n * n]);
    let mut times = [[0.0; ROUNDS]; N];
    for round in 0..ROUNDS {
        for (times, (_, product)) in times.iter_mut().zip(products) {
            let start = Instant::now();
            product(&a, &b, &mut c, Sizes { m: n, k: n, n });
            times[round] = start.elapsed().as_secs_f64();
        }
    }
    std::array::from_fn(|i| {
        times[i].sort_by(f64::total_cmp);
        let seconds = times[i][ROUNDS / 2];
        let (milliseconds, rate) = (seconds * 1e3, 2.0 * (n * n * n) as f64 / seconds / 1e9);
        println!("  {:24} {milliseconds:8.2} ms  {rate:7.2} GFLOP/s", products[i].0);
        seconds
    })
}

/// A simulated cache: it holds the lines of 16 numbers that were used last.
///
/// ```
/// # use check::product::Cache;
/// let mut cache = Cache::of_lines(2);
/// for at in [0, 5, 16, 3, 40, 20] {
///     cache.read("B", at);
/// }
/// assert_eq!(cache.misses(), 4); // lines 0, 1, 2, and line 1 again, which had to go
/// ```
pub struct Cache {
    /// The lines, last used first.
    held: Vec<(&'static str, usize)>,
    lines: usize,
    misses: usize,
}

impl Cache {
    /// An empty cache of so many lines.
    pub fn of_lines(lines: usize) -> Cache {
        Cache { held: Vec::new(), lines, misses: 0 }
    }

    /// Reads number `at` of an array.
    pub fn read(&mut self, array: &'static str, at: usize) {
        let line = (array, at / 16);
        match self.held.iter().position(|held| *held == line) {
            Some(place) => self.held[..=place].rotate_right(1),
            None => {
                self.misses += 1;
                self.held.truncate(self.lines - 1);
                self.held.insert(0, line);
            }
        }
    }

    /// How often a line was read that the cache did not hold.
    pub fn misses(&self) -> usize {
        self.misses
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::tests::message_of;

    fn right(a: &[f32], b: &[f32], c: &mut [f32], s: Sizes) {
        for i in 0..s.m {
            for j in 0..s.n {
                c[i * s.n + j] = (0..s.k).map(|p| a[i * s.k + p] * b[p * s.n + j]).sum();
            }
        }
    }

    fn one_short(a: &[f32], b: &[f32], c: &mut [f32], s: Sizes) {
        let k = s.k.saturating_sub(1);
        for i in 0..s.m {
            for j in 0..s.n {
                c[i * s.n + j] = (0..k).map(|p| a[i * s.k + p] * b[p * s.n + j]).sum();
            }
        }
    }

    #[test]
    fn a_product_that_leaves_something_out_is_found() {
        marks("a product", Side::Plain, right);
        let text = message_of(|| marks("a product", Side::Plain, one_short));
        assert!(
            text.contains("a product: not yet right") && text.contains("element [0, 0]"),
            "{text}"
        );
        // A [k, n] read as [n, k].
        let text = message_of(|| marks("a product", Side::Transposed, right));
        assert!(text.contains("not yet right"), "{text}");
    }

    #[test]
    fn what_was_not_used_for_long_leaves_the_cache() {
        let mut cache = Cache::of_lines(2);
        for (at, misses) in [(0, 1), (15, 1), (16, 2), (0, 2), (32, 3), (0, 3), (16, 4)] {
            cache.read("A", at);
            assert_eq!(cache.misses(), misses, "after {at}");
        }
        cache.read("B", 16);
        assert_eq!(cache.misses(), 5, "another array has other lines");
    }
}
