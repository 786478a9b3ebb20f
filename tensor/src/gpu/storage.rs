//! A tensor's memory on a GPU.
//!
//! | dtype | in the buffer |
//! | --- | --- |
//! | f32, u32 | unchanged |
//! | f16 | unchanged, where the adapter has `SHADER_F16` |
//! | u8 | a 32-bit word for each element: WGSL has no bytes, and masks are small |
//! | f64, bf16 | not supported |

use gradus_base::sizes;
use gradus_shaders::Scalar;

use super::context::Gpu;
use super::memory::Buffer;
use crate::storage::{GpuStorage, Storage};
use crate::{DType, Result, Tensor, bail};

/// The type of a dtype's elements in a buffer, or an error that says why there is none.
pub(crate) fn scalar(op: &'static str, dtype: DType) -> Result<Scalar> {
    Ok(match dtype {
        DType::F32 => Scalar::F32,
        DType::F16 => Scalar::F16,
        DType::U32 => Scalar::U32,
        DType::U8 => Scalar::U8,
        DType::F64 => {
            bail!(op, DType, "GPUs do not compute in f64; convert to f32 with to_dtype first")
        }
        DType::BF16 => {
            bail!(op, DType, "bf16 stays on the CPU; convert to f32 or f16 with to_dtype first")
        }
    })
}

/// Like [`scalar`], for kernels that compute on floats.
pub(crate) fn float(op: &'static str, dtype: DType) -> Result<Scalar> {
    match dtype {
        DType::F32 | DType::F16 => scalar(op, dtype),
        other => {
            bail!(op, DType, "computes on f32 and f16 on a GPU, got {other}; convert with to_dtype")
        }
    }
}

/// Bytes of an element in a buffer.
pub(super) fn stored_size(scalar: Scalar) -> u64 {
    if scalar == Scalar::F16 { 2 } else { 4 }
}

/// A new tensor of `shape` and `dtype` with arbitrary content, which a kernel writes from element 0
/// on.
pub(crate) fn output(
    op: &'static str,
    gpu: &'static Gpu,
    shape: &[usize],
    dtype: DType,
) -> Result<Tensor> {
    let scalar = scalar(op, dtype)?;
    let numel = sizes::numel(op, shape)?;
    if numel > u32::MAX as usize {
        bail!(
            op,
            Device,
            "{shape:?} has more elements than GPU kernels count (2³² − 1); cut the tensor"
        );
    }
    let buffer = gpu.scratch(op, numel as u64 * stored_size(scalar))?;
    Ok(Tensor::from_storage(Storage::Gpu(GpuStorage::new(buffer, None)), dtype, shape))
}

impl Tensor {
    /// The GPU of a tensor's storage. Only kernels of GPUs call it, for tensors of their device.
    pub(crate) fn gpu(&self) -> &'static Gpu {
        self.buffer().gpu
    }

    /// The buffer of a tensor on a GPU; its first element is number `layout.offset`.
    pub(crate) fn buffer(&self) -> &Buffer {
        match &*self.storage {
            Storage::Gpu(storage) => &storage.buffer,
            Storage::Cpu(_) => unreachable!("a GPU kernel got a tensor of the CPU"),
        }
    }

    /// The offset of a tensor's first element, in the type that kernels take.
    pub(crate) fn start(&self) -> u32 {
        self.layout.offset as u32
    }
}
