//! Moving tensors between the CPU and GPUs.

use gradus_base::{Element, dispatch_any};
use gradus_cpu::Output;
use gradus_gpu::{self as gpu, Gpu};

use crate::{DType, Device, Result, Tensor};

/// A tensor on its way from a GPU to the CPU; see [`Tensor::read_later`].
pub struct Reading(Progress);

enum Progress {
    Here(Tensor),
    UnderWay { op: &'static str, reading: gpu::Reading, dtype: DType, shape: Vec<usize> },
}

impl Tensor {
    /// Starts to read the tensor; [`Reading::wait`] returns it on the CPU. This submits everything
    /// recorded so far to the GPU, and later work does not delay the reading. A tensor on the CPU
    /// is ready at once.
    ///
    /// ```
    /// # use gradus_tensor::{Device, Tensor};
    /// let x = Tensor::from_slice_on(&[1f32, 2.0], &[2], Device::auto())?;
    /// let reading = x.mul_scalar(2.0)?.read_later()?;
    /// let sum = x.sum(&[], false)?; // a GPU computes it meanwhile
    /// assert_eq!(reading.wait()?.to_vec::<f32>()?, [2.0, 4.0]);
    /// assert_eq!(sum.item()?, 3.0);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn read_later(&self) -> Result<Reading> {
        match self.device() {
            Device::Cpu => Ok(Reading(Progress::Here(self.copy()?))),
            Device::Gpu(_) => start_reading("read_later", self),
        }
    }
}

impl Reading {
    /// Waits for the tensor and returns it.
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// let reading = Tensor::scalar(2.5f32).read_later()?;
    /// assert_eq!(reading.wait()?.item()?, 2.5);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the GPU failed meanwhile.
    pub fn wait(self) -> Result<Tensor> {
        match self.0 {
            Progress::Here(tensor) => Ok(tensor),
            Progress::UnderWay { op, reading, dtype, shape } => {
                dispatch_any!(dtype, read::<T>(op, reading, &shape))
            }
        }
    }
}

fn start_reading(op: &'static str, source: &Tensor) -> Result<Reading> {
    let reading = gpu::transfer::start_reading(op, source.gpu())?;
    let (dtype, shape) = (source.dtype(), source.shape().to_vec());
    Ok(Reading(Progress::UnderWay { op, reading, dtype, shape }))
}

fn read<T: Element>(op: &'static str, reading: gpu::Reading, shape: &[usize]) -> Result<Tensor> {
    let mut out = Output::<T>::new(op, shape)?;
    reading.wait_into(out.slice_mut())?;
    Ok(Tensor::from_array(out.into_array(shape)))
}

/// Reads a tensor of a GPU. Waits for everything recorded so far, unless the values stayed on the
/// CPU.
pub(super) fn download(op: &'static str, source: &Tensor) -> Result<Tensor> {
    start_reading(op, source)?.wait()
}

/// Uploads a tensor of the CPU.
pub(super) fn upload(op: &'static str, source: &Tensor, gpu: &'static Gpu) -> Result<Tensor> {
    dispatch_any!(source.dtype(), uploaded::<T>(op, source, gpu))
}

fn uploaded<T: Element>(op: &'static str, source: &Tensor, gpu: &'static Gpu) -> Result<Tensor> {
    let values = source.cpu().contiguous()?;
    let values = values.view().slice::<T>();
    Ok(Tensor::from_gpu(gpu::transfer::upload(op, gpu, values, source.shape())?))
}
