//! Tensors of constants and sequences.

use gradus_base::Element;
use gradus_cpu::create;

use crate::{DType, Device, Result, Tensor, bail, gpu};

impl Tensor {
    /// A tensor of `shape` from values in row-major order, on `device`.
    pub fn from_slice_on<T: Element>(
        values: &[T],
        shape: &[usize],
        device: Device,
    ) -> Result<Self> {
        Self::from_slice(values, shape)?.to_device(device)
    }

    /// A tensor filled with one value, converted to `dtype`.
    pub fn full(shape: &[usize], value: f64, dtype: DType) -> Result<Self> {
        Ok(Self::from_array(create::full(shape, value, dtype)?))
    }

    /// A tensor filled with one value, on `device`.
    pub fn full_on(shape: &[usize], value: f64, dtype: DType, device: Device) -> Result<Self> {
        match device {
            Device::Cpu => Self::full(shape, value, dtype),
            Device::Gpu(index) => {
                gpu::copy::full("full", gpu::gpu("full", index)?, shape, value, dtype)
            }
        }
    }

    /// A tensor of zeros, on `device`.
    pub fn zeros_on(shape: &[usize], dtype: DType, device: Device) -> Result<Self> {
        Self::full_on(shape, 0.0, dtype, device)
    }

    /// A tensor of zeros.
    pub fn zeros(shape: &[usize], dtype: DType) -> Result<Self> {
        Self::full(shape, 0.0, dtype)
    }

    /// A tensor of ones.
    pub fn ones(shape: &[usize], dtype: DType) -> Result<Self> {
        Self::full(shape, 1.0, dtype)
    }

    /// Zeros of this tensor's shape and dtype, on its device.
    pub fn zeros_like(&self) -> Result<Self> {
        Self::full_on(self.shape(), 0.0, self.dtype, self.device())
    }

    /// Ones of this tensor's shape and dtype, on its device.
    pub fn ones_like(&self) -> Result<Self> {
        Self::full_on(self.shape(), 1.0, self.dtype, self.device())
    }

    /// A scalar of this tensor's dtype, on its device.
    ///
    /// # Errors
    /// If the dtype is an integer that does not hold the value.
    pub fn scalar_like(&self, value: f64) -> Result<Self> {
        if !self.dtype.holds(value) {
            bail!("scalar_like", "{} does not hold {value}; convert with to_dtype", self.dtype);
        }
        Self::full_on(&[], value, self.dtype, self.device())
    }

    /// `start, start + step, …` below `end` (above it for a negative step).
    pub fn arange(start: f64, end: f64, step: f64, dtype: DType) -> Result<Self> {
        let count = ((end - start) / step).ceil();
        if step == 0.0 || !count.is_finite() || count > 1e15 {
            bail!("arange", "from {start} to {end} by {step} is no finite range");
        }
        let count = count.max(0.0) as usize;
        let value = |i: usize| start + i as f64 * step;
        Ok(Self::from_array(create::list("arange", count, dtype, &value)?))
    }

    /// `steps` values evenly spaced from `start` to `end`, both included.
    pub fn linspace(start: f64, end: f64, steps: usize, dtype: DType) -> Result<Self> {
        let last = steps.saturating_sub(1).max(1) as f64;
        let value = |i: usize| start + (end - start) * (i as f64 / last);
        Ok(Self::from_array(create::list("linspace", steps, dtype, &value)?))
    }

    /// The identity matrix of size `n`.
    pub fn eye(n: usize, dtype: DType) -> Result<Self> {
        Ok(Self::from_array(create::eye(n, dtype)?))
    }
}
