//! Devices.

use std::fmt;

use crate::gpu::{self, GpuCounters, GpuLimits};
use crate::profile::Span;
use crate::{Result, Tensor, bail};

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

impl Device {
    /// The GPU of this number, opened: an error now rather than at the first tensor.
    ///
    /// # Errors
    /// If there is none, or it cannot be opened.
    pub fn gpu(index: usize) -> Result<Device> {
        gpu::gpu("device", index)?;
        Ok(Device::Gpu(index))
    }

    /// As [`gpu`](Device::gpu), opened within limits that hold for the whole program.
    ///
    /// # Errors
    /// As for [`gpu`](Device::gpu), and if it is open already.
    pub fn gpu_within(index: usize, limits: GpuLimits) -> Result<Device> {
        gpu::gpu_within("device", index, limits)?;
        Ok(Device::Gpu(index))
    }

    /// The first hardware GPU, or the CPU where there is none. (A GPU in software is slower than the
    /// CPU's own kernels.)
    pub fn auto() -> Device {
        match gpu::gpus().first() {
            Some(info) if !info.software => Device::gpu(info.index).unwrap_or(Device::Cpu),
            _ => Device::Cpu,
        }
    }

    /// Waits until everything asked of this device is done: for measurements.
    pub fn synchronize(self) -> Result<()> {
        match self {
            Device::Cpu => Ok(()),
            Device::Gpu(index) => gpu::gpu("synchronize", index)?.wait("synchronize"),
        }
    }

    /// What a GPU did and holds; `None` for the CPU (see [`memory_use`](crate::memory_use)).
    pub fn counters(self) -> Result<Option<GpuCounters>> {
        match self {
            Device::Cpu => Ok(None),
            Device::Gpu(index) => Ok(Some(gpu::gpu("counters", index)?.counters())),
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Device::Cpu => f.write_str("cpu"),
            Device::Gpu(index) => write!(f, "gpu:{index}"),
        }
    }
}

/// The device of an operation's operands, which must be one.
pub(crate) fn common(op: &'static str, operands: &[&Tensor]) -> Result<Device> {
    let device = operands.first().map_or(Device::Cpu, |t| t.device());
    if let Some(other) = operands.iter().find(|t| t.device() != device) {
        bail!(
            op,
            "operands lie on {device} ({:?}) and on {} ({:?}); move one with to_device",
            operands[0].shape(),
            other.device(),
            other.shape()
        );
    }
    Ok(device)
}

/// The device of an operation's operands, and the call's entry in the profile, if one is kept.
pub(crate) fn begin(op: &'static str, operands: &[&Tensor]) -> Result<(Device, Span)> {
    let device = common(op, operands)?;
    Ok((device, Span::begin(op, device, operands)))
}

/// Hands a call to the kernels of the operands' device: `cpu::FAMILY::function(…)` or
/// `gpu::FAMILY::function(…)`, which have the same arguments. Operands on different devices are an error.
macro_rules! on_device {
    ($op:expr, [$($operand:expr),+ $(,)?], $family:ident::$function:ident($($argument:expr),* $(,)?)) => {
        on_device!($op, &[$($operand),+]; $family::$function($($argument),*))
    };
    ($op:expr, $operands:expr; $family:ident::$function:ident($($argument:expr),* $(,)?)) => {
        {
            let (device, span) = $crate::device::begin($op, $operands)?;
            let result = match device {
                $crate::Device::Cpu => $crate::cpu::$family::$function($($argument),*),
                $crate::Device::Gpu(_) => $crate::gpu::$family::$function($($argument),*),
            };
            span.end(&result);
            result
        }
    };
}
pub(crate) use on_device;
