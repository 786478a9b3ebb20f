//! The way in and the way out: memory that the processor and the GPU both see, recycled.
//!
//! A small upload (ids, offsets, tables) is written into an open chunk and copied from there by the
//! commands that are submitted before the kernels; the chunk is taken up again once that is done.
//! Large ones (weights) go through the queue's own memory, so that no chunk stays large.

use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use super::memory::Block;
use super::sync::lock;
use crate::{Error, ErrorKind, Result};

/// Bytes of a chunk, and the largest upload that goes through one.
pub(super) const CHUNK: u64 = 1 << 20;
/// The chunks for uploads.
#[derive(Default)]
pub(super) struct Belt {
    /// The chunk being filled, and how far it is.
    open: Option<(wgpu::Buffer, u64)>,
    /// Full ones of the present batch.
    full: Vec<wgpu::Buffer>,
    /// Mapped and free, put here when the GPU has done with them.
    free: Arc<Mutex<Vec<wgpu::Buffer>>>,
    /// Chunks made so far.
    pub(super) created: u64,
}

impl Belt {
    /// Writes `bytes` (a multiple of 4, at most [`CHUNK`]), and records the copy to `to`.
    pub(super) fn write(
        &mut self,
        device: &wgpu::Device,
        encoder: &mut wgpu::CommandEncoder,
        to: &Block,
        bytes: &[u8],
    ) -> Result<(), wgpu::MapRangeError> {
        let n = bytes.len() as u64;
        if self.open.as_ref().is_some_and(|(_, at)| at + n > CHUNK) {
            self.full.extend(self.open.take().map(|(chunk, _)| chunk));
        }
        let (chunk, at) = self.open.get_or_insert_with(|| {
            let free = lock(&self.free).pop();
            let chunk = free.unwrap_or_else(|| {
                self.created += 1;
                device.create_buffer(&wgpu::BufferDescriptor {
                    label: Some("upload"),
                    size: CHUNK,
                    usage: wgpu::BufferUsages::MAP_WRITE | wgpu::BufferUsages::COPY_SRC,
                    mapped_at_creation: true,
                })
            });
            (chunk, 0)
        });
        chunk.get_mapped_range_mut(*at..*at + n)?.copy_from_slice(bytes);
        encoder.copy_buffer_to_buffer(chunk, *at, &to.raw, 0, n);
        *at += n.next_multiple_of(wgpu::MAP_ALIGNMENT);
        Ok(())
    }

    /// Ends the writing of this batch: before it is submitted.
    pub(super) fn close(&mut self) {
        self.full.extend(self.open.take().map(|(chunk, _)| chunk));
        self.full.iter().for_each(wgpu::Buffer::unmap);
    }

    /// Takes the chunks back as soon as the submitted batch is done.
    pub(super) fn recall(&mut self) {
        for chunk in self.full.drain(..) {
            let (free, back) = (self.free.clone(), chunk.clone());
            chunk.map_async(wgpu::MapMode::Write, .., move |outcome| {
                if outcome.is_ok() {
                    lock(&free).push(back);
                }
            });
        }
    }
}

/// Tells when a buffer can be read, or that it cannot.
pub(super) type Mapped = mpsc::Receiver<Result<(), wgpu::BufferAsyncError>>;

/// Starts to map the first `bytes` of a buffer for reading.
pub(super) fn map(buffer: &wgpu::Buffer, bytes: u64) -> Mapped {
    let (tell, mapped) = mpsc::channel();
    buffer.map_async(wgpu::MapMode::Read, 0..bytes, move |outcome| {
        // An error means that the receiver is gone: then the buffer is not needed.
        let _ = tell.send(outcome);
    });
    mapped
}

/// Waits for what [`map`] began, after the device has been polled. The poll of another thread may
/// have found the buffer ready and be about to tell.
pub(super) fn mapped(gpu: &str, op: &'static str, mapped: &Mapped) -> Result<()> {
    let why = match mapped.recv_timeout(Duration::from_secs(60)) {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "it does not answer".to_string(),
    };
    Err(Error::of(ErrorKind::DeviceLost, op, format!("{gpu} cannot be read: {why}")))
}
