//! Uploads of tensors to a GPU and reads from it.
//!
//! Uploaded ids, targets and offsets (u32) keep their CPU original with the buffer, so checking and
//! sorting them on the CPU needs no read from the GPU.

use gradus_cpu::Output;
use gradus_shaders::Scalar;

use super::context::Gpu;
use super::copy;
use super::memory::Buffer;
use super::staging::{Mapped, map, mapped};
use super::storage::{scalar, stored_size};
use super::sync::lock;
use crate::storage::{GpuStorage, Storage};
use crate::{DType, Device, Element, Error, ErrorKind, Result, Tensor, bail};

/// The largest u32 tensor, in elements, whose CPU original is kept.
const MAX_ORIGINAL: usize = 1 << 22;

/// The most buffers for reading that are kept, and below it the size of the largest.
const MAX_KEPT: usize = 4;
const LARGEST_KEPT: u64 = 64 << 20;

/// A tensor on its way from a GPU to the CPU; see [`Tensor::read_later`].
pub struct Reading(State);

enum State {
    Here(Tensor),
    UnderWay {
        op: &'static str,
        gpu: &'static Gpu,
        staging: wgpu::Buffer,
        bytes: u64,
        mapped: Mapped,
        submission: wgpu::SubmissionIndex,
        dtype: DType,
        shape: Vec<usize>,
    },
}

impl Tensor {
    /// Starts to read the tensor; [`Reading::wait`] returns it on the CPU. This submits everything
    /// recorded so far to the GPU, and later work does not delay the reading. A tensor on the CPU
    /// is ready at once.
    pub fn read_later(&self) -> Result<Reading> {
        match self.device() {
            Device::Cpu => Ok(Reading(State::Here(self.copy()?))),
            Device::Gpu(_) => start_reading("read_later", self),
        }
    }
}

impl Reading {
    pub(super) fn here(tensor: Tensor) -> Reading {
        Reading(State::Here(tensor))
    }

    /// Waits for the tensor and returns it.
    ///
    /// # Errors
    /// If the GPU failed meanwhile.
    pub fn wait(self) -> Result<Tensor> {
        let (op, gpu, staging, bytes, ready, submission, dtype, shape) = match self.0 {
            State::Here(tensor) => return Ok(tensor),
            State::UnderWay { op, gpu, staging, bytes, mapped, submission, dtype, shape } => {
                (op, gpu, staging, bytes, mapped, submission, dtype, shape)
            }
        };
        gpu.poll_until(op, Some(submission))?;
        mapped(&gpu.name, op, &ready)?;
        let tensor = {
            let view = staging.slice(0..bytes).get_mapped_range().map_err(|error| {
                Error::of(ErrorKind::DeviceLost, op, format!("{}: {error}", gpu.name))
            })?;
            decode(op, &view, dtype, &shape)?
        };
        staging.unmap();
        let mut kept = lock(&gpu.staging);
        if staging.size() <= LARGEST_KEPT && kept.len() < MAX_KEPT {
            kept.push(staging);
        }
        Ok(tensor)
    }
}

impl Gpu {
    /// Starts to read the first `bytes` of a buffer: `shape` elements of `dtype`.
    pub(super) fn start_reading(
        &'static self,
        op: &'static str,
        from: &Buffer,
        bytes: u64,
        dtype: DType,
        shape: &[usize],
    ) -> Result<Reading> {
        let kept = {
            let mut kept = lock(&self.staging);
            let found = kept.iter().position(|staging| staging.size() >= bytes);
            found.map(|i| kept.swap_remove(i))
        };
        let staging = kept.unwrap_or_else(|| {
            self.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("read"),
                // Near the limit the power of two may be larger than the limit.
                size: bytes.next_power_of_two().min(self.info.max_tensor_bytes / 4 * 4).max(4096),
                usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            })
        });
        let submission = self.copy_out(op, from, &staging, bytes)?;
        let mapped = map(&staging, bytes);
        let shape = shape.to_vec();
        Ok(Reading(State::UnderWay {
            op,
            gpu: self,
            staging,
            bytes,
            mapped,
            submission,
            dtype,
            shape,
        }))
    }
}

/// The tensor in the bytes of a buffer.
fn decode(op: &'static str, data: &[u8], dtype: DType, shape: &[usize]) -> Result<Tensor> {
    fn plain<T: Element>(op: &'static str, data: &[u8], shape: &[usize]) -> Result<Tensor> {
        let mut out = Output::<T>::new(op, shape)?;
        let target: &mut [u8] = bytemuck::cast_slice_mut(out.slice_mut());
        let length = target.len();
        target.copy_from_slice(&data[..length]);
        Ok(Tensor::from_array(out.into_array(shape)))
    }
    match dtype {
        DType::U8 => {
            let mut out = Output::<u8>::new(op, shape)?;
            for (x, word) in out.slice_mut().iter_mut().zip(data.chunks_exact(4)) {
                *x = word[0]; // every GPU is little-endian
            }
            Ok(Tensor::from_array(out.into_array(shape)))
        }
        DType::F16 => plain::<half::f16>(op, data, shape),
        DType::U32 => plain::<u32>(op, data, shape),
        _ => plain::<f32>(op, data, shape),
    }
}

/// Uploads a tensor of the CPU.
pub(crate) fn upload(op: &'static str, source: &Tensor, gpu: &'static Gpu) -> Result<Tensor> {
    let scalar = scalar(op, source.dtype())?;
    if scalar == Scalar::F16 && !gpu.info.features.f16 {
        bail!(op, DType, "{} has no 16-bit floats; convert to f32 with to_dtype first", gpu.name);
    }
    let keep = scalar == Scalar::U32 && source.is_contiguous() && source.numel() <= MAX_ORIGINAL;
    // The original is kept unchanged, so its layout must be that of the buffer: offset 0.
    let source = if source.is_contiguous() && source.layout.offset == 0 {
        source.clone()
    } else {
        source.copy()?
    };
    let numel = source.numel();
    if numel > u32::MAX as usize {
        bail!(
            op,
            Device,
            "{:?} has more elements than GPU kernels count (2³² − 1)",
            source.shape()
        );
    }
    let buffer = gpu.allocate(op, numel as u64 * stored_size(scalar), true)?;
    match source.dtype() {
        DType::U8 => {
            let words: Vec<u32> = source.cpu().slice::<u8>().iter().map(|&x| x as u32).collect();
            gpu.copy_in(op, &buffer, bytemuck::cast_slice(&words))?;
        }
        DType::F16 => {
            let mut halves = source.cpu().slice::<half::f16>().to_vec();
            halves.resize(numel.next_multiple_of(2), half::f16::ZERO); // whole words
            gpu.copy_in(op, &buffer, bytemuck::cast_slice(&halves))?;
        }
        DType::U32 => {
            gpu.copy_in(op, &buffer, bytemuck::cast_slice(source.cpu().slice::<u32>()))?
        }
        _ => gpu.copy_in(op, &buffer, bytemuck::cast_slice(source.cpu().slice::<f32>()))?,
    }
    gpu.check(op)?;
    let original = keep.then(|| source.storage.clone());
    let storage = Storage::Gpu(GpuStorage::new(buffer, original));
    Ok(Tensor::from_storage(storage, source.dtype(), source.shape()))
}

/// Reads a tensor of a GPU. Waits for everything recorded so far, unless the CPU original is kept.
pub(crate) fn download(op: &'static str, source: &Tensor) -> Result<Tensor> {
    start_reading(op, source)?.wait()
}

/// Starts to read a tensor of a GPU.
fn start_reading(op: &'static str, source: &Tensor) -> Result<Reading> {
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
    // Only the elements of the view are read: the GPU makes them contiguous first.
    let whole = source.is_contiguous() && source.layout.offset == 0;
    let source = if whole { source.clone() } else { copy::copy(op, source)? };
    let bytes = (source.numel() as u64 * stored_size(scalar)).next_multiple_of(4);
    source.gpu().start_reading(op, source.buffer(), bytes, source.dtype(), source.shape())
}
