//! Tensors of constants and sequences.

use gradus_base::Element;
use gradus_base::op::cross_entropy::class_index;
use gradus_cpu::create;
use gradus_gpu as gpu;

use crate::{DType, Device, Result, Tensor, bail};

impl Tensor {
    /// A tensor of `shape` from values in row-major order, on `device`.
    ///
    /// ```
    /// # use gradus_tensor::{Device, Tensor};
    /// let ids = Tensor::from_slice_on(&[7u32, 8], &[2], Device::Cpu)?;
    /// assert_eq!(ids.to_vec::<u32>()?, [7, 8]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn from_slice_on<T: Element>(
        values: &[T],
        shape: &[usize],
        device: Device,
    ) -> Result<Self> {
        Self::from_slice(values, shape)?.to_device(device)
    }

    /// A tensor filled with one value, converted to `dtype`.
    ///
    /// ```
    /// # use gradus_tensor::{DType, Tensor};
    /// assert_eq!(Tensor::full(&[2], 0.5, DType::F32)?.to_string(), "[0.5 0.5]");
    /// assert_eq!(Tensor::full(&[2], 0.5, DType::U8)?.to_string(), "[0 0]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn full(shape: &[usize], value: f64, dtype: DType) -> Result<Self> {
        Ok(Self::from_array(create::full(shape, value, dtype)?))
    }

    /// Class indices in u32, the targets of [`cross_entropy`](Tensor::cross_entropy), from the numbers
    /// that PyTorch's users write. A negative index, such as −100, marks a row that counts for nothing:
    /// give the same number as [`CrossEntropy::ignore_index`](crate::CrossEntropy::ignore_index).
    ///
    /// ```
    /// # use gradus_tensor::{CrossEntropy, DType, Tensor};
    /// let logits = Tensor::zeros(&[2, 4], DType::F32)?;
    /// let targets = Tensor::from_class_indices(&[1, -100], &[2])?;
    /// let options = CrossEntropy { ignore_index: Some(-100), ..CrossEntropy::default() };
    /// let (loss, _) = logits.cross_entropy(&targets, &options)?; // the mean of one row: ln 4
    /// assert!((loss.item()? - 4f64.ln()).abs() < 1e-6);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// If an index is below −2³¹ or above 2³² − 1, or there are not as many as the shape has elements.
    pub fn from_class_indices(indices: &[i64], shape: &[usize]) -> Result<Self> {
        let stored = indices.iter().map(|&index| class_index("from_class_indices", index));
        Tensor::from_slice(&stored.collect::<Result<Vec<u32>>>()?, shape)
    }

    /// A tensor filled with one value, on `device`.
    ///
    /// ```
    /// # use gradus_tensor::{DType, Device, Tensor};
    /// let x = Tensor::full_on(&[2], 0.5, DType::F32, Device::Cpu)?;
    /// assert_eq!(x.to_string(), "[0.5 0.5]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn full_on(shape: &[usize], value: f64, dtype: DType, device: Device) -> Result<Self> {
        match device {
            Device::Cpu => Self::full(shape, value, dtype),
            Device::Gpu(index) => {
                let there = gpu::gpu("full", index)?;
                Ok(Self::from_gpu(gpu::copy::full("full", there, shape, value, dtype)?))
            }
        }
    }

    /// A tensor of zeros, on `device`.
    ///
    /// ```
    /// # use gradus_tensor::{DType, Device, Tensor};
    /// let x = Tensor::zeros_on(&[2], DType::U32, Device::Cpu)?;
    /// assert_eq!(x.to_vec::<u32>()?, [0, 0]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn zeros_on(shape: &[usize], dtype: DType, device: Device) -> Result<Self> {
        Self::full_on(shape, 0.0, dtype, device)
    }

    /// A tensor of zeros.
    ///
    /// ```
    /// # use gradus_tensor::{DType, Tensor};
    /// assert_eq!(Tensor::zeros(&[2, 2], DType::F32)?.to_string(), "[[0. 0.]\n [0. 0.]]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn zeros(shape: &[usize], dtype: DType) -> Result<Self> {
        Self::full(shape, 0.0, dtype)
    }

    /// A tensor of ones.
    ///
    /// ```
    /// # use gradus_tensor::{DType, Tensor};
    /// assert_eq!(Tensor::ones(&[2, 2], DType::F32)?.to_string(), "[[1. 1.]\n [1. 1.]]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn ones(shape: &[usize], dtype: DType) -> Result<Self> {
        Self::full(shape, 1.0, dtype)
    }

    /// Zeros of this tensor's shape and dtype, on its device.
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// let x = Tensor::from_slice(&[7u32, 8], &[2])?;
    /// assert_eq!(x.zeros_like()?.to_vec::<u32>()?, [0, 0]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn zeros_like(&self) -> Result<Self> {
        Self::full_on(self.shape(), 0.0, self.dtype, self.device())
    }

    /// Ones of this tensor's shape and dtype, on its device.
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// let x = Tensor::from_slice(&[7u32, 8], &[2])?;
    /// assert_eq!(x.ones_like()?.to_vec::<u32>()?, [1, 1]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn ones_like(&self) -> Result<Self> {
        Self::full_on(self.shape(), 1.0, self.dtype, self.device())
    }

    /// A scalar of this tensor's dtype, on its device.
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// let x = Tensor::from_slice(&[7u32, 8], &[2])?;
    /// assert_eq!(x.maximum(&x.scalar_like(8.0)?)?.to_vec::<u32>()?, [8, 8]);
    /// assert!(x.scalar_like(0.5).is_err()); // no u32
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
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
    ///
    /// ```
    /// # use gradus_tensor::{DType, Tensor};
    /// assert_eq!(Tensor::arange(0.0, 6.0, 2.0, DType::F32)?.to_string(), "[0. 2. 4.]");
    /// assert_eq!(Tensor::arange(3.0, 0.0, -1.0, DType::U32)?.to_string(), "[3 2 1]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
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
    ///
    /// ```
    /// # use gradus_tensor::{DType, Tensor};
    /// let x = Tensor::linspace(0.0, 1.0, 5, DType::F32)?;
    /// assert_eq!(x.to_string(), "[0.   0.25 0.5  0.75 1.  ]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn linspace(start: f64, end: f64, steps: usize, dtype: DType) -> Result<Self> {
        let last = steps.saturating_sub(1).max(1) as f64;
        let value = |i: usize| start + (end - start) * (i as f64 / last);
        Ok(Self::from_array(create::list("linspace", steps, dtype, &value)?))
    }

    /// The identity matrix of size `n`.
    ///
    /// ```
    /// # use gradus_tensor::{DType, Tensor};
    /// assert_eq!(Tensor::eye(2, DType::F32)?.to_string(), "[[1. 0.]\n [0. 1.]]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn eye(n: usize, dtype: DType) -> Result<Self> {
        Ok(Self::from_array(create::eye(n, dtype)?))
    }
}
