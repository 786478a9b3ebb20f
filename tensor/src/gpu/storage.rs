//! A tensor's memory on a GPU, and the ways in and out.
//!
//! | dtype | in the buffer |
//! | --- | --- |
//! | f32, u32 | as it is |
//! | f16 | as it is, where the adapter has `SHADER_F16` |
//! | u8 | one element a 32-bit word: WGSL has no bytes, and masks are small |
//! | f64, bf16 | not at all |
//!
//! Ids, targets and offsets (u32) that were uploaded keep their CPU original beside the buffer: so
//! checking and sorting them on the CPU needs no read from the GPU.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use gradus_shaders::Scalar;

use super::context::Gpu;
use super::memory::Buffer;
use super::staging::Reading;
use crate::sizes;
use crate::storage::{CpuStorage, Output, Storage};
use crate::{DType, Device, Result, Tensor, bail};

/// The largest u32 tensor, in elements, whose CPU original is kept.
const MOST_KEPT: usize = 1 << 22;

/// Memory of a GPU; the CPU original where it is kept; and its values in another dtype, and joined with others,
/// where they were asked to be kept, as long as they stay as they are.
pub(crate) struct GpuStorage {
    pub(crate) buffer: Buffer,
    original: Option<std::sync::Arc<Storage>>,
    cast: OnceLock<Tensor>,
    joined: Mutex<Option<Joined>>,
    /// Another number for other values.
    version: u64,
}

/// The values of several storages end to end.
struct Joined {
    /// Of each, the version and the number of elements.
    parts: Vec<(u64, usize)>,
    values: Tensor,
}

fn next_version() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl GpuStorage {
    fn new(buffer: Buffer, original: Option<std::sync::Arc<Storage>>) -> Self {
        GpuStorage {
            buffer,
            original,
            cast: OnceLock::new(),
            joined: Mutex::new(None),
            version: next_version(),
        }
    }

    pub(crate) fn device(&self) -> Device {
        Device::Gpu(self.buffer.gpu.info.index)
    }
}

/// How a dtype lies in a buffer, or why it cannot.
pub(crate) fn scalar(op: &'static str, dtype: DType) -> Result<Scalar> {
    Ok(match dtype {
        DType::F32 => Scalar::F32,
        DType::F16 => Scalar::F16,
        DType::U32 => Scalar::U32,
        DType::U8 => Scalar::U8,
        DType::F64 => bail!(op, "GPUs do not compute in f64; convert to f32 with to_dtype first"),
        DType::BF16 => {
            bail!(op, "bf16 stays on the CPU; convert to f32 or f16 with to_dtype first")
        }
    })
}

/// As [`scalar`], for kernels that compute on floats.
pub(crate) fn float(op: &'static str, dtype: DType) -> Result<Scalar> {
    match dtype {
        DType::F32 | DType::F16 => scalar(op, dtype),
        other => bail!(op, "computes on f32 and f16 on a GPU, got {other}; convert with to_dtype"),
    }
}

/// Bytes of an element in a buffer.
fn stored_size(scalar: Scalar) -> u64 {
    if scalar == Scalar::F16 { 2 } else { 4 }
}

/// A tensor in the making: a buffer of `shape` and `dtype` with arbitrary content, for a kernel to
/// write from element 0 on.
pub(crate) fn output(
    op: &'static str,
    gpu: &'static Gpu,
    shape: &[usize],
    dtype: DType,
) -> Result<Tensor> {
    let scalar = scalar(op, dtype)?;
    let numel = sizes::numel(op, shape)?;
    if numel > u32::MAX as usize {
        bail!(op, "{shape:?} has more elements than GPU kernels count (2³² − 1); cut the tensor");
    }
    let buffer = gpu.scratch(op, numel as u64 * stored_size(scalar))?;
    Ok(Tensor::from_storage(Storage::Gpu(GpuStorage::new(buffer, None)), dtype, shape))
}

impl Tensor {
    /// The GPU of a tensor's storage. Kernels are only called for tensors of their device.
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

    /// The first element of a contiguous tensor, as kernels take it.
    pub(crate) fn start(&self) -> u32 {
        self.layout.offset as u32
    }

    /// Makes the tensor contiguous and its buffer its own, so that a kernel may write it in place.
    pub(crate) fn make_writable(&mut self, op: &'static str) -> Result<()> {
        let mine = match std::sync::Arc::get_mut(&mut self.storage) {
            Some(Storage::Gpu(storage)) => {
                // They will no longer be the same.
                storage.original = None;
                storage.cast = OnceLock::new();
                storage.joined = Mutex::new(None);
                storage.version = next_version();
                true
            }
            _ => false,
        };
        if !mine || !self.is_contiguous() {
            *self = super::copy::copy(op, self)?;
        }
        Ok(())
    }
}

/// [`Tensor::to_dtype_kept`]: of a whole storage.
pub(crate) fn convert_kept(op: &'static str, x: &Tensor, dtype: DType) -> Result<Tensor> {
    let Storage::Gpu(storage) = &*x.storage else { return x.to_dtype(dtype) };
    if !x.is_contiguous() || x.layout.offset != 0 {
        return super::copy::convert(op, x, dtype);
    }
    let cast = match storage.cast.get() {
        Some(cast) => cast,
        None => {
            let made = super::copy::convert(op, x, dtype)?;
            storage.cast.get_or_init(|| made)
        }
    };
    if cast.dtype() != dtype || cast.numel() != x.numel() {
        return super::copy::convert(op, x, dtype);
    }
    cast.reshape(x.shape())
}

/// The elements of `tensors`, of one dtype, one after another; kept beside the first's storage until any of them
/// changes, where they are whole storages.
pub(crate) fn join_kept(op: &'static str, tensors: &[&Tensor]) -> Result<Tensor> {
    let whole = |t: &Tensor| match &*t.storage {
        Storage::Gpu(storage) if t.is_contiguous() && t.layout.offset == 0 => {
            Some((storage.version, t.numel()))
        }
        _ => None,
    };
    let parts: Option<Vec<_>> = tensors.iter().map(|t| whole(t)).collect();
    let (Some(parts), Storage::Gpu(first)) = (parts, &*tensors[0].storage) else {
        let tensors = tensors.iter().map(|t| t.contiguous()).collect::<Result<Vec<_>>>()?;
        return super::concat::join(op, &tensors.iter().collect::<Vec<_>>());
    };
    let mut joined = first.joined.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(joined) = &*joined
        && joined.parts == parts
    {
        return Ok(joined.values.clone());
    }
    let values = super::concat::join(op, tensors)?;
    *joined = Some(Joined { parts, values: values.clone() });
    Ok(values)
}

/// A tensor of the CPU, uploaded.
pub(crate) fn upload(op: &'static str, source: &Tensor, gpu: &'static Gpu) -> Result<Tensor> {
    let scalar = scalar(op, source.dtype())?;
    if scalar == Scalar::F16 && !gpu.info.features.f16 {
        bail!(op, "{} has no 16-bit floats; convert to f32 with to_dtype first", gpu.name);
    }
    let keep = scalar == Scalar::U32 && source.is_contiguous() && source.numel() <= MOST_KEPT;
    // The original is kept as it is, so the layouts must agree: offset 0.
    let source = if source.is_contiguous() && source.layout.offset == 0 {
        source.clone()
    } else {
        source.copy()?
    };
    let numel = source.numel();
    if numel > u32::MAX as usize {
        bail!(op, "{:?} has more elements than GPU kernels count (2³² − 1)", source.shape());
    }
    let buffer = gpu.allocate(op, numel as u64 * stored_size(scalar), true)?;
    match source.dtype() {
        DType::U8 => {
            let words: Vec<u32> = source.cpu_slice::<u8>().iter().map(|&x| x as u32).collect();
            gpu.copy_in(op, &buffer, bytemuck::cast_slice(&words))?;
        }
        DType::F16 => {
            let mut halves = source.cpu_slice::<half::f16>().to_vec();
            halves.resize(numel.next_multiple_of(2), half::f16::ZERO); // whole words
            gpu.copy_in(op, &buffer, bytemuck::cast_slice(&halves))?;
        }
        DType::U32 => gpu.copy_in(op, &buffer, bytemuck::cast_slice(source.cpu_slice::<u32>()))?,
        _ => gpu.copy_in(op, &buffer, bytemuck::cast_slice(source.cpu_slice::<f32>()))?,
    }
    gpu.check(op)?;
    let original = keep.then(|| source.storage.clone());
    let storage = Storage::Gpu(GpuStorage::new(buffer, original));
    Ok(Tensor::from_storage(storage, source.dtype(), source.shape()))
}

/// A tensor of a GPU, read. Waits for everything recorded so far, unless the CPU original is at hand.
pub(crate) fn download(op: &'static str, source: &Tensor) -> Result<Tensor> {
    start_reading(op, source)?.wait()
}

/// Starts to read a tensor of a GPU.
pub(super) fn start_reading(op: &'static str, source: &Tensor) -> Result<Reading> {
    if let Storage::Gpu(GpuStorage { original: Some(original), .. }) = &*source.storage {
        return Ok(Reading::here(Tensor {
            storage: original.clone(),
            layout: source.layout.clone(),
            dtype: source.dtype(),
        }));
    }
    let scalar = scalar(op, source.dtype())?;
    if source.numel() == 0 {
        return Ok(Reading::here(Tensor::zeros(source.shape(), source.dtype())?));
    }
    // Only what is asked for is read: a view is gathered on the GPU first.
    let whole = source.is_contiguous() && source.layout.offset == 0;
    let source = if whole { source.clone() } else { super::copy::copy(op, source)? };
    let bytes = (source.numel() as u64 * stored_size(scalar)).next_multiple_of(4);
    source.gpu().start_reading(op, source.buffer(), bytes, source.dtype(), source.shape())
}

/// The tensor that lies in the bytes of a buffer.
pub(super) fn decode(
    op: &'static str,
    data: &[u8],
    dtype: DType,
    shape: &[usize],
) -> Result<Tensor> {
    fn plain<T: crate::Element>(op: &'static str, data: &[u8], shape: &[usize]) -> Result<Tensor> {
        let mut out = Output::<T>::new(op, shape)?;
        let target: &mut [u8] = bytemuck::cast_slice_mut(out.slice_mut());
        let length = target.len();
        target.copy_from_slice(&data[..length]);
        Ok(out.into_tensor(shape))
    }
    match dtype {
        DType::U8 => {
            let mut out = Output::<u8>::new(op, shape)?;
            for (x, word) in out.slice_mut().iter_mut().zip(data.chunks_exact(4)) {
                *x = word[0]; // little-endian, as every GPU is
            }
            Ok(out.into_tensor(shape))
        }
        DType::F16 => plain::<half::f16>(op, data, shape),
        DType::U32 => plain::<u32>(op, data, shape),
        _ => plain::<f32>(op, data, shape),
    }
}

/// Used where the CPU's storage is meant.
pub(crate) fn expect_cpu(storage: &Storage) -> &CpuStorage {
    match storage {
        Storage::Cpu(storage) => storage,
        Storage::Gpu(_) => unreachable!("a CPU kernel got a tensor of a GPU"),
    }
}
