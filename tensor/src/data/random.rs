//! Tensors of random numbers.

use crate::cpu::parallel;
use crate::cpu::random::fill_words;
use crate::random::{RngKey, unit};
use crate::storage::Output;
use crate::{DType, Result, Tensor, bail};

impl Tensor {
    /// Uniform random numbers in [0, 1); f32 or f64 (both from 24 random bits).
    ///
    /// ```
    /// # use gradus_tensor::{DType, RngKey, Tensor};
    /// let x = Tensor::rand(&[1000], DType::F32, RngKey::new(0))?;
    /// assert!(x.to_f64_vec().iter().all(|x| (0.0..1.0).contains(x)));
    /// let again = Tensor::rand(&[1000], DType::F32, RngKey::new(0))?;
    /// assert_eq!(x.to_f64_vec(), again.to_f64_vec()); // the same key, the same numbers
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn rand(shape: &[usize], dtype: DType, key: RngKey) -> Result<Tensor> {
        let mut out = Output::<f32>::new("rand", shape)?;
        fill_words(out.slice_mut(), key, |words, out| {
            for (x, &w) in out.iter_mut().zip(words) {
                *x = unit(w);
            }
        });
        float_dtype("rand", out.into_tensor(shape), dtype)
    }

    /// Standard normal random numbers (Box–Muller); f32 or f64.
    ///
    /// Elements `2i` and `2i + 1` are the cosine and sine of one pair of uniform numbers. Computed
    /// in f64 and rounded.
    ///
    /// ```
    /// # use gradus_tensor::{DType, RngKey, Tensor};
    /// let x = Tensor::randn(&[10_000], DType::F32, RngKey::new(0))?;
    /// assert!(x.mean_all()?.item()?.abs() < 0.05);
    /// assert!((x.var(&[], false, 1)?.item()? - 1.0).abs() < 0.05);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn randn(shape: &[usize], dtype: DType, key: RngKey) -> Result<Tensor> {
        let mut out = Output::<f64>::new("randn", shape)?;
        parallel::rows_ragged(out.slice_mut(), 1024, 25.0, |first, out| {
            for (i, x) in out.iter_mut().enumerate() {
                let index = (first + i) as u64;
                let block = key.block([(index / 4) as u32, ((index / 4) >> 32) as u32, 0, 0]);
                let pair = (index % 4 / 2 * 2) as usize;
                // (0, 1]: the logarithm of 0 must not occur.
                let u = (block[pair] as f64 + 1.0) / 4_294_967_296.0;
                let angle = std::f64::consts::TAU * (block[pair + 1] as f64 / 4_294_967_296.0);
                let radius = (-2.0 * u.ln()).sqrt();
                *x = radius * if index.is_multiple_of(2) { angle.cos() } else { angle.sin() };
            }
        });
        float_dtype("randn", out.into_tensor(shape), dtype)
    }

    /// Uniform random integers in `low..high`, u32.
    ///
    /// ```
    /// # use gradus_tensor::{RngKey, Tensor};
    /// let dice = Tensor::randint(1, 7, &[1000], RngKey::new(0))?;
    /// assert_eq!(dice.min(&[], false)?.item()?, 1.0);
    /// assert_eq!(dice.max(&[], false)?.item()?, 6.0);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn randint(low: u32, high: u32, shape: &[usize], key: RngKey) -> Result<Tensor> {
        if low >= high {
            bail!("randint", "the range {low}..{high} is empty");
        }
        let range = (high - low) as u64;
        let mut out = Output::<u32>::new("randint", shape)?;
        fill_words(out.slice_mut(), key, |words, out| {
            for (x, &w) in out.iter_mut().zip(words) {
                *x = low + ((w as u64 * range) >> 32) as u32;
            }
        });
        Ok(out.into_tensor(shape))
    }
}

fn float_dtype(op: &'static str, tensor: Tensor, dtype: DType) -> Result<Tensor> {
    if !dtype.is_float() {
        bail!(op, "makes floating-point numbers, got {dtype}");
    }
    tensor.to_dtype(dtype)
}
