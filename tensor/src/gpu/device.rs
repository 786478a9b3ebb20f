//! The methods of [`Device`] that concern GPUs.

use super::adapter::{gpu, gpu_within, gpus};
use super::{GpuCounters, GpuLimits};
use crate::{Device, Result};

impl Device {
    /// Opens the GPU with this number, so that an error comes now and not at the first tensor.
    ///
    /// # Errors
    /// If there is no such GPU, or it cannot be opened.
    pub fn gpu(index: usize) -> Result<Device> {
        gpu("device", index)?;
        Ok(Device::Gpu(index))
    }

    /// Like [`gpu`](Device::gpu), but within limits that hold for the whole program.
    ///
    /// # Errors
    /// Those of [`gpu`](Device::gpu), and if the GPU is open already.
    pub fn gpu_within(index: usize, limits: GpuLimits) -> Result<Device> {
        gpu_within("device", index, limits)?;
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
            Device::Gpu(index) => gpu("synchronize", index)?.wait("synchronize"),
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
            Device::Gpu(index) => Ok(Some(gpu("counters", index)?.counters())),
        }
    }
}
