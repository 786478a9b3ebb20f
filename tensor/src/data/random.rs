//! Tensors of random numbers.

use gradus_base::{RngKey, sizes};
use gradus_cpu::random;

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
        check("rand", shape, dtype)?;
        Ok(Tensor::from_array(random::rand(shape, dtype, key)?))
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
        check("randn", shape, dtype)?;
        Ok(Tensor::from_array(random::randn(shape, dtype, key)?))
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
        Ok(Tensor::from_array(random::randint(low, high, shape, key)?))
    }
}

fn check(op: &'static str, shape: &[usize], dtype: DType) -> Result<()> {
    sizes::bytes(op, shape, dtype.size())?;
    if !dtype.is_float() {
        bail!(op, DType, "makes floating-point numbers, got {dtype}");
    }
    Ok(())
}
