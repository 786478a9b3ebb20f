//! The two products of a head in the forward pass, S = Q·Kᵀ and O = P·V: with the operands as they
//! are, or rounded to bf16.

use super::product::product;
use super::task::{BLOCK, Rows, pad};
use crate::mat::Mat;
use crate::math::Float;
use crate::product::Small;

/// How a head's products are computed. Memory is the caller's, in elements of T.
pub(super) trait Products<T>: Copy + Sync {
    /// Shorter sequences are faster with [`Exact`] operands.
    const FROM: usize;

    /// The elements of a padded row of S or O: at least those of [`pad`].
    fn pad(self, n: usize) -> usize;

    /// The memory for K and V of `keys` keys of `d` elements, and for Q or P of a block.
    fn memory(self, keys: usize, d: usize) -> [usize; 3];

    /// Prepares K and V of `n` keys of `d` elements.
    fn prepare(self, rows: [Rows<T>; 2], sizes: (usize, usize), out: [&mut [T]; 2]);

    /// C = A·B for sizes `(m, k, n)`, where B is Kᵀ or V as prepared. Of a row of C so many elements are
    /// written as [`pad`](Self::pad) tells; `left` is memory for A.
    fn multiply(
        self,
        sizes: (usize, usize, usize),
        a: Mat<T>,
        b: &[T],
        left: &mut [T],
        c: &mut [T],
    );
}

/// The operands as they are.
#[derive(Clone, Copy)]
pub(super) struct Exact;

impl<T: Float> Products<T> for Exact {
    const FROM: usize = 0;

    #[inline(always)]
    fn pad(self, n: usize) -> usize {
        pad(n)
    }

    fn memory(self, keys: usize, d: usize) -> [usize; 3] {
        [d * pad(keys), keys * pad(d), 0]
    }

    #[inline(always)]
    fn prepare(self, [k, v]: [Rows<T>; 2], (n, d): (usize, usize), [kt, out]: [&mut [T]; 2]) {
        k.transpose(n, d, kt);
        v.pack(n, d, out);
    }

    #[inline(always)]
    fn multiply(
        self,
        (m, k, n): (usize, usize, usize),
        a: Mat<T>,
        b: &[T],
        _: &mut [T],
        c: &mut [T],
    ) {
        product((m, k, pad(n)), a, b, c, false);
    }
}

/// The operands rounded to bf16, sums in f32.
#[derive(Clone, Copy)]
pub(super) struct Bf16(pub(super) Small);

impl Products<f32> for Bf16 {
    /// With heads of 32: a tenth faster for 64 tokens and a third for 512, but slower for 48.
    const FROM: usize = 64;

    fn pad(self, n: usize) -> usize {
        self.0.columns(n)
    }

    fn memory(self, keys: usize, d: usize) -> [usize; 3] {
        let Bf16(small) = self;
        [small.right(d, keys), small.right(keys, d), BLOCK * small.row(keys.max(d))]
    }

    fn prepare(self, [k, v]: [Rows<f32>; 2], (n, d): (usize, usize), [kt, out]: [&mut [f32]; 2]) {
        self.0.pack_right(k.mat().t(), (d, n), bytemuck::cast_slice_mut(kt));
        self.0.pack_right(v.mat(), (n, d), bytemuck::cast_slice_mut(out));
    }

    fn multiply(
        self,
        (m, k, n): (usize, usize, usize),
        a: Mat<f32>,
        b: &[f32],
        left: &mut [f32],
        c: &mut [f32],
    ) {
        let left = bytemuck::cast_slice_mut(left);
        self.0.pack_left(a, (m, k), left);
        self.0.multiply((m, k, n), (left, bytemuck::cast_slice(b)), c);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::attention::forward;
    use crate::view::Array;
    use crate::{create, random};
    use gradus_base::op::attention::{Attention, Sequences};
    use gradus_base::{DType, RngKey};

    fn array(shape: &[usize], seed: u64) -> Array {
        random::randn(shape, DType::F32, RngKey::new(seed)).unwrap()
    }

    fn random(len: usize, seed: u64) -> Vec<f32> {
        array(&[len], seed).view().to_vec("test").unwrap()
    }

    /// The nearest bf16.
    fn rounded(x: f32) -> f64 {
        f32::from_bits(x.to_bits().wrapping_add(0x7fff + (x.to_bits() >> 16 & 1)) >> 16 << 16)
            as f64
    }

    /// The processor's, if it has one, and the plain twin.
    fn all() -> impl Iterator<Item = Small> {
        Small::detect().into_iter().chain([Small::plain()])
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn both_products_are_those_of_rounded_operands(
            m in 1..=BLOCK, n in 1..150usize, d in 1..80usize, beyond in 0..9usize,
            seed in 0..1000u64,
        ) {
            let stride = d + beyond;
            let [q, k, v] = [0, 1, 2].map(|i| random(150 * stride, seed + i));
            let [q, k, v] = [&q, &k, &v].map(|data| Rows { data, stride });
            for small in all() {
                let products = Bf16(small);
                let [mut kt, mut packed, mut left] =
                    products.memory(n, d).map(|len| vec![f32::NAN; len]);
                let [mut s, mut o] = [n, d].map(|x| vec![f32::NAN; BLOCK * products.pad(x)]);
                products.prepare([k, v], (n, d), [&mut kt, &mut packed]);
                products.multiply((m, d, n), q.mat(), &kt, &mut left, &mut s);
                let tall = products.pad(n);
                let of = |x: Rows<f32>, i: usize, j: usize| rounded(x.data[i * stride + j]);
                let close = |got: f32, terms: &dyn Fn(usize) -> f64, count: usize| {
                    let want: f64 = (0..count).map(terms).sum();
                    let size: f64 = (0..count).map(|p| terms(p).abs()).sum();
                    (got as f64 - want).abs() <= 2e-6 * size
                };
                for (i, j) in (0..m).flat_map(|i| (0..n).map(move |j| (i, j))) {
                    let terms = |p| of(q, i, p) * of(k, j, p);
                    prop_assert!(close(s[i * tall + j], &terms, d), "S at {i}, {j}");
                }
                let p = Mat { data: &s, row: tall, col: 1 };
                products.multiply((m, n, d), p, &packed, &mut left, &mut o);
                for (i, j) in (0..m).flat_map(|i| (0..d).map(move |j| (i, j))) {
                    let terms = |p| rounded(s[i * tall + p]) * of(v, p, j);
                    prop_assert!(close(o[i * products.pad(d) + j], &terms, n), "O at {i}, {j}");
                }
            }
        }
    }

    /// Near attention in f32; not the same where sequences are long enough and the processor rounds.
    #[test]
    fn attention_in_bf16_is_near_and_takes_each_sequence_alone() {
        let (heads, d, bounds) = (3, 20, [0, 40, 140, 340]);
        let hidden = heads * d;
        let shapes = [[340, hidden], [340, hidden], [340, hidden], [heads, 21]];
        let operands: [Array; 4] = std::array::from_fn(|i| array(&shapes[i], i as u64));
        let run = |bounds: &[usize], options: Attention, with_bias: bool| -> Vec<f32> {
            let mut layout = operands[0].view().layout().clone();
            layout.shape[0] = bounds[bounds.len() - 1];
            let [q, k, v] = [0, 1, 2].map(|i| operands[i].view().with(&layout));
            let bias = with_bias.then(|| operands[3].view());
            let at = |i: usize| bounds[i] as f64;
            let offsets = create::list("test", bounds.len(), DType::U32, &at).unwrap();
            let offsets = offsets.view();
            let sequences = Sequences { q, k, v, bias, offsets, bounds };
            forward(sequences, &options).unwrap().0.view().to_vec("test").unwrap()
        };
        let plain = Attention { heads, scale: 0.2, ..Default::default() };
        let dropout = Some((0.3, RngKey::new(1)));
        for (options, with_bias) in [
            (plain, false),
            (Attention { causal: true, ..plain }, true),
            (Attention { window: Some(50), ..plain }, true),
            (Attention { causal: true, window: Some(70), dropout, ..plain }, false),
        ] {
            let bf16 = Attention { bf16: true, ..options };
            let [exact, rounded] = [options, bf16].map(|o| run(&bounds, o, with_bias));
            for (i, (got, want)) in rounded.iter().zip(&exact).enumerate() {
                assert!((got - want).abs() <= 0.03, "{options:?}, element {i}: {got}, not {want}");
            }
            assert_eq!(rounded != exact, Small::detect().is_some(), "{options:?}");
            // A sequence of 40 tokens is computed in f32; no sequence depends on another.
            assert_eq!(rounded[..40 * hidden], exact[..40 * hidden], "{options:?}");
            assert_eq!(rounded[..140 * hidden], run(&bounds[..3], bf16, with_bias), "{options:?}");
        }
    }
}
