//! Reading values, copying them, converting them, moving them between devices.

use gradus_base::Element;
use gradus_cpu as cpu;
use gradus_gpu as gpu;

use super::transfer::{download, upload};
use crate::ops::{begin, common, end, must_match};
use crate::{DType, Device, Result, Tensor, bail};

impl Tensor {
    /// All values in row-major order. `T` must be the tensor's dtype. On a GPU this waits for all
    /// work so far (except for uploaded ids, whose original is kept).
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// let x = Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0], &[2, 2])?;
    /// assert_eq!(x.t()?.to_vec::<f32>()?, [1.0, 3.0, 2.0, 4.0]);
    /// assert!(x.to_vec::<f64>().is_err());
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn to_vec<T: Element>(&self) -> Result<Vec<T>> {
        if T::DTYPE != self.dtype {
            bail!(
                "to_vec",
                DType,
                "the tensor is {}, not {}; convert with to_dtype",
                self.dtype,
                T::DTYPE
            );
        }
        if self.device() != Device::Cpu {
            return download("to_vec", self)?.to_vec();
        }
        self.cpu().to_vec("to_vec")
    }

    /// All values in row-major order, widened to f64.
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// let ids = Tensor::from_slice(&[1u32, 2], &[2])?;
    /// assert_eq!(ids.to_f64_vec(), [1.0, 2.0]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    ///
    /// # Panics
    /// If the tensor is on a GPU that fails, or is a view of more elements than fit in memory; move
    /// it with `to_device` first, or use [`to_vec`](Tensor::to_vec), to get an error instead.
    pub fn to_f64_vec(&self) -> Vec<f64> {
        if self.device() != Device::Cpu {
            let here = self.to_device(Device::Cpu).unwrap_or_else(|error| panic!("{error}"));
            return here.to_f64_vec();
        }
        self.cpu().to_f64_vec("to_f64_vec").unwrap_or_else(|error| panic!("{error}"))
    }

    /// The value of a tensor of one element, widened to f64.
    ///
    /// ```
    /// # use gradus_tensor::{DType, Tensor};
    /// assert_eq!(Tensor::from_slice(&[2.5f32], &[1, 1])?.item()?, 2.5);
    /// assert!(Tensor::zeros(&[2], DType::F32)?.item().is_err());
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn item(&self) -> Result<f64> {
        if self.numel() != 1 {
            bail!(
                "item",
                Shape,
                "needs one element, the shape is {:?}; index or reduce first",
                self.shape()
            );
        }
        Ok(self.to_device(Device::Cpu)?.to_f64_vec()[0])
    }

    /// This tensor in row-major order; itself if it already is.
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// let x = Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0], &[2, 2])?;
    /// assert!(x.contiguous()?.shares_storage(&x)); // it already is
    /// assert!(x.t()?.contiguous()?.is_contiguous());
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn contiguous(&self) -> Result<Self> {
        if self.is_contiguous() { Ok(self.clone()) } else { self.copy() }
    }

    /// A copy with a storage of its own, in row-major order.
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// let x = Tensor::from_slice(&[1f32, 2.0], &[2])?;
    /// let copy = x.copy()?;
    /// assert_eq!(copy.to_vec::<f32>()?, [1.0, 2.0]);
    /// assert!(!copy.shares_storage(&x));
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn copy(&self) -> Result<Self> {
        let (_, span) = begin("copy", &[self])?;
        span.kernel("copy::copy");
        let copied = self.copied();
        end(span, &copied);
        copied
    }

    fn copied(&self) -> Result<Self> {
        if self.device() != Device::Cpu {
            return Ok(Tensor::from_gpu(self.gpu().copy("copy")?));
        }
        Ok(Tensor::from_array(self.cpu().copy("copy")?))
    }

    /// The same values in another dtype. Floats are rounded to the nearest, ties to even; beyond
    /// the largest they become infinite. A conversion to integers cuts towards 0 and stops at the
    /// ends of their range: −1, −∞ and NaN become 0, ∞ becomes the largest. (PyTorch leaves these
    /// conversions to the platform.) A GPU may turn a subnormal number into 0.
    ///
    /// ```
    /// # use gradus_tensor::{DType, Tensor};
    /// let x = Tensor::from_slice(&[1.9f32, -1.0, 300.0], &[3])?;
    /// assert_eq!(x.to_dtype(DType::U8)?.to_vec::<u8>()?, [1, 0, 255]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn to_dtype(&self, dtype: DType) -> Result<Self> {
        if dtype == self.dtype {
            return Ok(self.clone());
        }
        if self.device() != Device::Cpu {
            return Ok(Tensor::from_gpu(gpu::copy::convert("to_dtype", self.gpu(), dtype)?));
        }
        Ok(Tensor::from_array(cpu::copy::convert(self.cpu(), dtype)?))
    }

    /// As [`to_dtype`](Tensor::to_dtype), for a tensor that is converted again and again: a GPU
    /// keeps the result together with the values until they change, so it converts a weight once a
    /// step.
    ///
    /// ```
    /// # use gradus_tensor::{DType, Tensor};
    /// let weight = Tensor::from_slice(&[1f32, 2.0], &[2])?;
    /// assert_eq!(weight.to_dtype_kept(DType::F16)?.dtype(), DType::F16);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn to_dtype_kept(&self, dtype: DType) -> Result<Self> {
        match self.device() {
            Device::Gpu(_) => {
                let kept = gpu::kept::to_dtype_kept("to_dtype", self.gpu(), dtype)?;
                Ok(Tensor::from_gpu(kept))
            }
            Device::Cpu => self.to_dtype(dtype),
        }
    }

    /// This tensor on `device`; itself if it is there already. From a GPU this waits for all work
    /// so far (except for uploaded ids, whose original is kept). GPUs hold f32, f16, u32 and u8.
    ///
    /// ```
    /// # use gradus_tensor::{Device, Tensor};
    /// let x = Tensor::from_slice(&[1f32, 2.0], &[2])?;
    /// assert!(x.to_device(Device::Cpu)?.shares_storage(&x)); // it is there already
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn to_device(&self, device: Device) -> Result<Self> {
        match (self.device(), device) {
            (from, to) if from == to => Ok(self.clone()),
            (Device::Cpu, Device::Gpu(index)) => {
                upload("to_device", self, gpu::gpu("to_device", index)?)
            }
            (_, Device::Cpu) => download("to_device", self),
            (Device::Gpu(_), Device::Gpu(_)) => self.to_device(Device::Cpu)?.to_device(device),
        }
    }

    /// Overwrites the values with those of `source`, which must have this shape and dtype.
    ///
    /// ```
    /// # use gradus_tensor::{DType, Tensor};
    /// let mut x = Tensor::zeros(&[2], DType::F32)?;
    /// let before = x.clone();
    /// x.copy_(&Tensor::from_slice(&[1f32, 2.0], &[2])?)?;
    /// assert_eq!(x.to_vec::<f32>()?, [1.0, 2.0]);
    /// assert_eq!(before.to_vec::<f32>()?, [0.0, 0.0]); // other tensors keep their values
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn copy_(&mut self, source: &Tensor) -> Result<()> {
        must_match("copy_", ("source", source), ("destination", self))?;
        if common("copy_", &[self, source])? != Device::Cpu {
            return gpu::copy::copy_(self.gpu_mut("copy_")?, source.gpu());
        }
        cpu::copy::copy_(self.cpu_mut("copy_")?, source.cpu())
    }
}
