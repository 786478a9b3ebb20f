//! The memory behind a tensor.

use std::sync::Arc;

use gradus_cpu::CpuStorage;
use gradus_gpu::GpuStorage;

use crate::device::Device;

/// Memory on one device, which tensors share.
#[derive(Clone)]
pub(crate) enum Storage {
    Cpu(Arc<CpuStorage>),
    Gpu(Arc<GpuStorage>),
}

impl Storage {
    /// Where it lies.
    pub(crate) fn device(&self) -> Device {
        match self {
            Storage::Cpu(_) => Device::Cpu,
            Storage::Gpu(storage) => Device::Gpu(storage.gpu().info().index),
        }
    }

    /// Whether both are the same memory.
    pub(crate) fn is(&self, other: &Storage) -> bool {
        match (self, other) {
            (Storage::Cpu(a), Storage::Cpu(b)) => Arc::ptr_eq(a, b),
            (Storage::Gpu(a), Storage::Gpu(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }
}
