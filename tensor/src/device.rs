//! Devices.

use std::fmt;

use gradus_base::Result;
use gradus_gpu::{GpuCounters, GpuLimits, gpus};

/// Where a tensor's storage lies and its operations run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Device {
    /// The processor: rayon threads, SIMD chosen at run time.
    #[default]
    Cpu,
    /// A GPU by its number in [`gpus`](crate::gpus).
    Gpu(usize),
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Device::Cpu => f.write_str("cpu"),
            Device::Gpu(index) => write!(f, "gpu:{index}"),
        }
    }
}

impl Device {
    /// Opens the GPU with this number, so that an error comes now and not at the first tensor.
    ///
    /// # Errors
    /// If there is no such GPU, or it cannot be opened.
    pub fn gpu(index: usize) -> Result<Device> {
        gradus_gpu::gpu("device", index)?;
        Ok(Device::Gpu(index))
    }

    /// Like [`gpu`](Device::gpu), but within limits that hold for the whole program.
    ///
    /// # Errors
    /// Those of [`gpu`](Device::gpu), and if the GPU is open already.
    pub fn gpu_within(index: usize, limits: GpuLimits) -> Result<Device> {
        gradus_gpu::gpu_within("device", index, limits)?;
        Ok(Device::Gpu(index))
    }

    /// The first hardware GPU, or the CPU where there is none. (A software GPU is slower than the
    /// CPU's kernels.)
    pub fn auto() -> Device {
        match gpus().first() {
            Some(info) if !info.software => Device::gpu(info.index).unwrap_or(Device::Cpu),
            _ => Device::Cpu,
        }
    }

    /// Waits until everything asked of this device is done: for measurements.
    ///
    /// ```
    /// # use gradus_tensor::Device;
    /// Device::Cpu.synchronize()?; // the CPU's operations return when they are done
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn synchronize(self) -> Result<()> {
        match self {
            Device::Cpu => Ok(()),
            Device::Gpu(index) => gradus_gpu::gpu("synchronize", index)?.wait("synchronize"),
        }
    }

    /// What a GPU did and holds; `None` for the CPU (see [`memory_use`](crate::memory_use)).
    ///
    /// ```
    /// # use gradus_tensor::Device;
    /// assert!(Device::Cpu.counters()?.is_none());
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn counters(self) -> Result<Option<GpuCounters>> {
        match self {
            Device::Cpu => Ok(None),
            Device::Gpu(index) => Ok(Some(gradus_gpu::gpu("counters", index)?.counters())),
        }
    }
}
