//! Random shapes and values for the registry.

use std::cell::Cell;

use gradus_tensor::{RngKey, Tensor};

/// How large the inputs are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// Sizes from 1 to 5.
    Small,
    /// The same, but now and then one of [`LONG`].
    Long,
    /// One shape, large enough to be shared between threads.
    Large,
}

/// Odd sizes around those in which kernels work: a vector, a subgroup, a tile, a workgroup of 64,
/// of 256, and several of them.
const LONG: [usize; 14] = [7, 16, 17, 31, 33, 63, 65, 127, 129, 255, 257, 300, 513, 1031];

/// A source of random inputs: every call draws from the next stream of the key.
pub(super) struct Gen {
    key: RngKey,
    drawn: Cell<u64>,
    extent: Extent,
    /// Sizes still to be small, so that a shape has few long dimensions.
    rest: Cell<usize>,
}

const FITS: &str = "a tensor of the registry fits in memory";

impl Gen {
    fn new(key: RngKey, extent: Extent) -> Gen {
        Gen { key, drawn: Cell::new(0), extent, rest: Cell::new(0) }
    }

    pub(super) fn small(key: RngKey) -> Gen {
        Gen::new(key, Extent::Small)
    }

    pub(super) fn long(key: RngKey) -> Gen {
        Gen::new(key, Extent::Long)
    }

    pub(super) fn large(key: RngKey) -> Gen {
        Gen::new(key, Extent::Large)
    }

    pub(super) fn is_large(&self) -> bool {
        self.extent == Extent::Large
    }

    /// The next stream.
    pub(super) fn key(&self) -> RngKey {
        self.drawn.set(self.drawn.get() + 1);
        self.key.step(self.drawn.get())
    }

    /// A number below `n`.
    pub(super) fn below(&self, n: usize) -> usize {
        ((self.key().word(0) as u64 * n as u64) >> 32) as usize
    }

    /// A size from 1 to 5; with long inputs often a longer one, then three that are not.
    pub(super) fn size(&self) -> usize {
        let rest = self.rest.get();
        self.rest.set(rest.saturating_sub(1));
        if self.extent == Extent::Long && rest == 0 && self.below(2) == 0 {
            self.rest.set(3);
            return LONG[self.below(LONG.len())];
        }
        1 + self.below(5)
    }

    /// `rank` random sizes.
    pub(super) fn shape(&self, rank: usize) -> Vec<usize> {
        (0..rank).map(|_| self.size()).collect()
    }

    /// Shapes with at least `rank` dimensions: without elements, with one, random ones.
    pub(super) fn shapes(&self, rank: usize) -> Vec<Vec<usize>> {
        if self.is_large() {
            return vec![vec![701, 900]];
        }
        let mut empty = self.shape(rank.max(1));
        let at = self.below(empty.len());
        empty[at] = 0;
        let mut shapes = vec![empty, vec![1; rank], self.shape(rank.max(1)), self.shape(rank + 1)];
        shapes.push(self.shape(rank + 2));
        shapes
    }

    /// Uniform in `[low, high)`.
    pub(super) fn uniform(&self, shape: &[usize], low: f64, high: f64) -> Tensor {
        self.map(shape, |u| low + (high - low) * u)
    }

    /// A function of uniform numbers.
    pub(super) fn map(&self, shape: &[usize], f: impl Fn(f64) -> f64) -> Tensor {
        let u = Tensor::rand(shape, gradus_tensor::DType::F64, self.key()).expect(FITS);
        let values: Vec<f64> = u.to_f64_vec().into_iter().map(f).collect();
        Tensor::from_slice(&values, shape).expect(FITS)
    }

    /// In `[-2, 2)`: for functions that are smooth everywhere.
    pub(super) fn any(&self, shape: &[usize]) -> Tensor {
        self.uniform(shape, -2.0, 2.0)
    }

    /// In `[-2, 2)`, at least 0.05 away from the `kinks`.
    pub(super) fn away_from(&self, shape: &[usize], kinks: &[f64]) -> Tensor {
        self.map(shape, |u| {
            let mut x = 4.0 * u - 2.0;
            for &kink in kinks {
                if (x - kink).abs() < 0.05 {
                    x = kink + if x < kink { -0.05 } else { 0.05 } + (x - kink);
                }
            }
            x
        })
    }

    /// Different from each other by at least 0.05, in random order.
    pub(super) fn distinct(&self, shape: &[usize]) -> Tensor {
        let n: usize = shape.iter().product();
        let jitter = self.uniform(&[n], 0.0, 0.05).to_f64_vec();
        let order = self.key().permutation(n);
        let values: Vec<f64> =
            order.iter().zip(jitter).map(|(&i, j)| (i as f64 - n as f64 / 2.0) * 0.1 + j).collect();
        Tensor::from_slice(&values, shape).expect(FITS)
    }

    /// Indices below `n`.
    pub(super) fn ids(&self, shape: &[usize], n: usize) -> Tensor {
        if n == 0 {
            return Tensor::zeros(shape, gradus_tensor::DType::U32).expect(FITS);
        }
        Tensor::randint(0, n as u32, shape, self.key()).expect(FITS)
    }

    /// Zeros and ones.
    pub(super) fn mask(&self, shape: &[usize]) -> Tensor {
        let ids = self.ids(shape, 2);
        ids.to_dtype(gradus_tensor::DType::U8).expect(FITS)
    }

    /// A random dimension of `rank`, counted from either end.
    pub(super) fn dim(&self, rank: usize) -> isize {
        self.below(2 * rank) as isize - rank as isize
    }

    /// A random subset of the dimensions, counted from either end; perhaps none.
    pub(super) fn dims(&self, rank: usize) -> Vec<isize> {
        (0..rank as isize)
            .filter(|_| self.below(2) == 0)
            .map(|d| if self.below(2) == 0 { d } else { d - rank as isize })
            .collect()
    }
}
