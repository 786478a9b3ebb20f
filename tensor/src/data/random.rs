//! Tensors of random numbers.

use gradus_base::RngKey;
use gradus_cpu::random;

use crate::{DType, Result, Tensor, bail};

impl Tensor {
    /// Uniform random numbers in [0, 1); f32 or f64 (both from 24 random bits).
    pub fn rand(shape: &[usize], dtype: DType, key: RngKey) -> Result<Tensor> {
        check_float("rand", dtype)?;
        Ok(Tensor::from_array(random::rand(shape, dtype, key)?))
    }

    /// Standard normal random numbers (Box–Muller); f32 or f64.
    ///
    /// Elements `2i` and `2i + 1` are the cosine and sine of one pair of uniform numbers. Computed
    /// in f64 and rounded.
    pub fn randn(shape: &[usize], dtype: DType, key: RngKey) -> Result<Tensor> {
        check_float("randn", dtype)?;
        Ok(Tensor::from_array(random::randn(shape, dtype, key)?))
    }

    /// Uniform random integers in `low..high`, u32.
    pub fn randint(low: u32, high: u32, shape: &[usize], key: RngKey) -> Result<Tensor> {
        if low >= high {
            bail!("randint", "the range {low}..{high} is empty");
        }
        Ok(Tensor::from_array(random::randint(low, high, shape, key)?))
    }
}

fn check_float(op: &'static str, dtype: DType) -> Result<()> {
    if !dtype.is_float() {
        bail!(op, "makes floating-point numbers, got {dtype}");
    }
    Ok(())
}
