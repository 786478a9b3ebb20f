//! Uploads to a GPU and reads from it.
//!
//! Uploaded ids, targets and offsets (u32) keep their values on the CPU with the buffer, so
//! checking and sorting them there needs no read from the GPU.

use std::borrow::Cow;
use std::sync::Arc;

use gradus_base::{DType, Element, Layout, Result, bail, sizes};

use super::context::Gpu;
use super::memory::Buffer;
use super::staging::{Mapped, map, mapped};
use super::storage::{GpuStorage, scalar, stored_size};
use super::sync::lock;
use super::view::{Array, View};

/// The largest upload of u32, in elements, whose values stay on the CPU too.
const MAX_ORIGINAL: usize = 1 << 22;

/// The most buffers for reading that are kept, and below it the size of the largest.
const MAX_KEPT: usize = 4;
const LARGEST_KEPT: u64 = 64 << 20;

/// Elements on their way from a GPU to the CPU.
pub struct Reading(Progress);

enum Progress {
    /// The values that stayed on the CPU.
    Here(Vec<u32>),
    UnderWay(UnderWay),
}

struct UnderWay {
    op: &'static str,
    gpu: &'static Gpu,
    staging: wgpu::Buffer,
    bytes: u64,
    mapped: Mapped,
    submission: wgpu::SubmissionIndex,
}

impl Reading {
    /// Waits for the elements and writes them, in row-major order, into `out`.
    ///
    /// # Errors
    /// If the GPU failed meanwhile.
    ///
    /// # Panics
    /// If `T` is not their type, or `out` has not their number.
    pub fn wait_into<T: Element>(self, out: &mut [T]) -> Result<()> {
        match self.0 {
            _ if out.is_empty() => Ok(()),
            Progress::Here(values) => {
                bytemuck::cast_slice_mut::<T, u32>(out).copy_from_slice(&values);
                Ok(())
            }
            Progress::UnderWay(reading) => reading.wait_into(out),
        }
    }
}

impl UnderWay {
    fn wait_into<T: Element>(self, out: &mut [T]) -> Result<()> {
        let UnderWay { op, gpu, staging, bytes, mapped: ready, submission } = self;
        gpu.driver.wait(op, Some(submission))?;
        mapped(gpu.driver, op, &ready)?;
        {
            let view = staging.slice(0..bytes).get_mapped_range();
            decode(&view.map_err(|error| gpu.driver.lost(op, error))?, out);
        }
        staging.unmap();
        let mut kept = lock(&gpu.staging);
        if staging.size() <= LARGEST_KEPT && kept.len() < MAX_KEPT {
            kept.push(staging);
        }
        Ok(())
    }
}

/// Takes the elements out of the bytes of a buffer.
fn decode<T: Element>(data: &[u8], out: &mut [T]) {
    let out: &mut [u8] = bytemuck::cast_slice_mut(out);
    if T::DTYPE == DType::U8 {
        for (x, word) in out.iter_mut().zip(data.chunks_exact(4)) {
            *x = word[0]; // every GPU is little-endian
        }
    } else {
        let length = out.len();
        out.copy_from_slice(&data[..length]);
    }
}

/// Starts to read elements. This submits everything recorded so far, unless the values stayed on
/// the CPU; later work does not delay the reading.
///
/// # Errors
/// Of `op`, if the GPU has failed, or memory is short.
pub fn start_reading(op: &'static str, x: View) -> Result<Reading> {
    if let Some(original) = &x.storage().original {
        return Ok(Reading(Progress::Here(picked(op, original, x.layout())?)));
    }
    if x.numel() == 0 {
        return Ok(Reading(Progress::Here(Vec::new())));
    }
    // Only the elements of the view are read: the GPU makes them contiguous first.
    let x = if x.is_whole() { x.share() } else { x.copy(op)? };
    let bytes = (x.numel() as u64 * stored_size(x.dtype())).next_multiple_of(4);
    Ok(Reading(Progress::UnderWay(x.view().gpu().start_reading(op, x.buffer(), bytes)?)))
}

/// The values at the places of a layout.
fn picked(op: &'static str, values: &[u32], layout: &Layout) -> Result<Vec<u32>> {
    let mut picked = sizes::list(op, layout.numel())?;
    picked.extend(layout.positions().map(|at| values[at]));
    Ok(picked)
}

/// The values of ids (u32) on the CPU, in row-major order.
pub(super) fn values<'a>(op: &'static str, ids: View<'a>) -> Result<Cow<'a, [u32]>> {
    let numel = ids.numel();
    if let Some(original) = &ids.storage().original
        && ids.is_contiguous()
    {
        let first = ids.layout().offset;
        return Ok(Cow::Borrowed(&original[first..first + numel]));
    }
    let mut values = sizes::list(op, numel)?;
    values.resize(numel, 0);
    start_reading(op, ids)?.wait_into(&mut values)?;
    Ok(Cow::Owned(values))
}

impl Gpu {
    /// Starts to read the first `bytes` of a buffer.
    fn start_reading(
        &'static self,
        op: &'static str,
        from: &Buffer,
        bytes: u64,
    ) -> Result<UnderWay> {
        let kept = {
            let mut kept = lock(&self.staging);
            let found = kept.iter().position(|staging| staging.size() >= bytes);
            found.map(|i| kept.swap_remove(i))
        };
        let staging = kept.unwrap_or_else(|| {
            let max = self.driver.info.max_tensor_bytes;
            self.driver.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("read"),
                // Near the limit the power of two may be larger than the limit.
                size: bytes.next_power_of_two().min(max / 4 * 4).max(4096),
                usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            })
        });
        let submission = self.copy_out(op, from, &staging, bytes)?;
        let mapped = map(&staging, bytes);
        Ok(UnderWay { op, gpu: self, staging, bytes, mapped, submission })
    }
}

/// Uploads values in row-major order. Those of u32 stay on the CPU too, unless they are very many.
///
/// # Errors
/// Of `op`, if the GPU does not take their type, has failed, or memory is short.
///
/// # Panics
/// If they do not fill the shape.
pub fn upload<T: Element>(
    op: &'static str,
    gpu: &'static Gpu,
    values: &[T],
    shape: &[usize],
) -> Result<Array> {
    let mut storage = uploaded(op, gpu, values, shape)?;
    if T::DTYPE == DType::U32 && values.len() <= MAX_ORIGINAL {
        let mut original = sizes::list(op, values.len())?;
        original.extend_from_slice(bytemuck::cast_slice(values));
        storage.original = Some(original);
    }
    Ok(Array::from_storage(Arc::new(storage), T::DTYPE, shape))
}

/// Uploads a table that only a kernel reads.
pub(super) fn upload_table(op: &'static str, gpu: &'static Gpu, table: &[u32]) -> Result<Array> {
    let shape = [table.len()];
    let storage = uploaded(op, gpu, table, &shape)?;
    Ok(Array::from_storage(Arc::new(storage), DType::U32, &shape))
}

fn uploaded<T: Element>(
    op: &'static str,
    gpu: &'static Gpu,
    values: &[T],
    shape: &[usize],
) -> Result<GpuStorage> {
    scalar(op, T::DTYPE)?;
    if T::DTYPE == DType::F16 && !gpu.info().features.f16 {
        let name = &gpu.driver.name;
        bail!(op, DType, "{name} has no 16-bit floats; convert to f32 with to_dtype first");
    }
    let numel = sizes::numel(op, shape)?;
    assert_eq!(values.len(), numel, "values of {shape:?}");
    if numel > u32::MAX as usize {
        bail!(op, Device, "{shape:?} has more elements than GPU kernels count (2³² − 1)");
    }
    let storage = GpuStorage::new(op, gpu, numel as u64 * stored_size(T::DTYPE), true)?;
    let bytes: &[u8] = bytemuck::cast_slice(values);
    let bytes = match T::DTYPE {
        DType::U8 => {
            let words: Vec<u32> = bytes.iter().map(|&x| x as u32).collect();
            Cow::Owned(bytemuck::cast_slice(&words).to_vec())
        }
        DType::F16 if !bytes.len().is_multiple_of(4) => {
            Cow::Owned([bytes, &[0; 2]].concat()) // whole words
        }
        _ => Cow::Borrowed(bytes),
    };
    gpu.copy_in(op, storage.buffer(), &bytes)?;
    gpu.driver.check(op)?;
    Ok(storage)
}
