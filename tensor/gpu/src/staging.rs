//! Memory for uploads and reads that the processor and the GPU both see, recycled.
//!
//! A small upload (ids, offsets, tables) is written into an open chunk; commands submitted before
//! the kernels copy it from there. When they are done, the chunk is used again. Large uploads
//! (weights) go through the queue's memory, so that chunks stay small.

use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use gradus_base::Result;

use super::driver::Driver;
use super::memory::Block;
use super::sync::lock;

/// Bytes of a chunk, and the largest upload that goes through one.
pub(super) const CHUNK: u64 = 1 << 20;

/// The chunks for uploads.
#[derive(Default)]
pub(super) struct Belt {
    /// The chunk being filled, and the number of bytes in it.
    open: Option<(wgpu::Buffer, u64)>,
    /// Full chunks of the current batch.
    full: Vec<wgpu::Buffer>,
    /// Free chunks, mapped; they come here when the GPU has finished with them.
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

    /// Ends the writing of this batch. Call it before the submit.
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

/// Receives a message when a buffer can be read, or an error.
pub(super) type Mapped = mpsc::Receiver<Result<(), wgpu::BufferAsyncError>>;

/// Starts to map the first `bytes` of a buffer for reading.
pub(super) fn map(buffer: &wgpu::Buffer, bytes: u64) -> Mapped {
    let (tell, mapped) = mpsc::channel();
    buffer.map_async(wgpu::MapMode::Read, 0..bytes, move |outcome| {
        // An error means that the receiver is gone, and then nobody needs the buffer.
        let _ = tell.send(outcome);
    });
    mapped
}

/// Waits for the end of [`map`], after the device has been polled. The message may still be on its
/// way, if the poll of another thread found the buffer ready.
pub(super) fn mapped(driver: &Driver, op: &'static str, mapped: &Mapped) -> Result<()> {
    let why = match mapped.recv_timeout(Duration::from_secs(60)) {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "it does not answer".to_string(),
    };
    Err(driver.lost(op, format_args!("cannot be read: {why}")))
}
