//! What a program asks of a [`Device`].

use super::adapter::{gpu, gpu_within, gpus};
use super::{GpuCounters, GpuLimits};
use crate::{Device, Result};

impl Device {
    /// The GPU of this number, opened: an error now rather than at the first tensor.
    ///
    /// # Errors
    /// If there is none, or it cannot be opened.
    pub fn gpu(index: usize) -> Result<Device> {
        gpu("device", index)?;
        Ok(Device::Gpu(index))
    }

    /// As [`gpu`](Device::gpu), opened within limits that hold for the whole program.
    ///
    /// # Errors
    /// As for [`gpu`](Device::gpu), and if it is open already.
    pub fn gpu_within(index: usize, limits: GpuLimits) -> Result<Device> {
        gpu_within("device", index, limits)?;
        Ok(Device::Gpu(index))
    }

    /// The first hardware GPU, or the CPU where there is none. (A GPU in software is slower than
    /// the CPU's own kernels.)
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
