//! Memory of a GPU: buffers, recycled by size class.
//!
//! A freed buffer waits in the pool. A request takes the waiting buffer with the lowest number from
//! the smallest class that fits, up to twice the size. So a step of the same shapes, which starts
//! with the same set of waiting buffers, gets the same buffers in the same order, and finds its
//! bind groups again.
//!
//! Commands run in the order in which they are recorded, so a buffer may be handed out again while
//! recorded work still reads it: the kernel that writes it comes later. An **upload** ignores this
//! order and happens before everything that is not yet submitted. So buffers for uploads have
//! separate lists, and wait there until the batch of commands that last used them has been
//! submitted.

use std::collections::BTreeMap;

use super::context::Gpu;
use crate::{Result, bail};

/// The pool holds at most a fifth more than the peak of memory in use. With an eighth, the steps of
/// a small model with a large vocabulary dropped its few large buffers and made new ones each time,
/// because classes do not share perfectly.
const SHARE: u64 = 5;
/// The pool may always hold this much more.
const SLACK: u64 = 1 << 16;

/// A buffer and its number, which names it in the keys of bind groups.
#[derive(Clone)]
pub(super) struct Block {
    pub(super) raw: wgpu::Buffer,
    pub(super) id: u32,
    pub(super) class: u64,
}

/// The lists of waiting buffers, and the sums.
#[derive(Default)]
pub(super) struct Pool {
    free: BTreeMap<u64, BTreeMap<u32, Block>>,
    /// Buffers for uploads, each with the number of the batch that last used it.
    uploaded: BTreeMap<u64, BTreeMap<u32, (u64, Block)>>,
    next_id: u32,
    pub(super) created: u64,
    pub(super) live: u64,
    pub(super) held: u64,
    pub(super) peak_live: u64,
    pub(super) peak_held: u64,
}

impl Pool {
    /// Takes a waiting buffer of the class, or of one up to twice as large. So forward and
    /// backward, which need different classes at different times, share buffers, and so do changing
    /// shapes.
    fn take(&mut self, class: u64, upload: bool, batch: u64) -> Option<Block> {
        let fitting = class..=2 * class;
        if upload {
            return self.uploaded.range_mut(fitting).find_map(|(_, list)| {
                let done = list.iter().find(|(_, (last_used, _))| *last_used < batch);
                let id = *done?.0;
                list.remove(&id).map(|(_, block)| block)
            });
        }
        let mut lists = self.free.range_mut(fitting);
        lists.find_map(|(_, list)| list.pop_first()).map(|(_, block)| block)
    }

    /// Removes waiting buffers, largest first, until at most `limit` bytes are held.
    fn trim(&mut self, limit: u64, batch: u64) -> Vec<Block> {
        let mut dropped = Vec::new();
        for (&class, list) in self.free.iter_mut().rev() {
            while self.held > limit {
                let Some((_, block)) = list.pop_last() else { break };
                self.held -= class;
                dropped.push(block);
            }
        }
        for (&class, list) in self.uploaded.iter_mut().rev() {
            while self.held > limit {
                let done = list.iter().rfind(|(_, (last_used, _))| *last_used < batch);
                let Some((_, block)) = done.map(|(&id, _)| id).and_then(|id| list.remove(&id))
                else {
                    break;
                };
                self.held -= class;
                dropped.push(block);
            }
        }
        dropped
    }
}

/// A buffer of a GPU, given back to its pool when dropped.
pub(crate) struct Buffer {
    pub(super) block: Option<Block>,
    pub(crate) gpu: &'static Gpu,
    upload: bool,
}

impl Buffer {
    pub(super) fn block(&self) -> &Block {
        self.block.as_ref().expect("a buffer holds its block until dropped")
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let Some(block) = self.block.take() else { return };
        let batch = self.gpu.batch();
        let mut pool = self.gpu.pool();
        pool.live -= block.class;
        if self.upload {
            pool.uploaded.entry(block.class).or_default().insert(block.id, (batch, block));
        } else {
            pool.free.entry(block.class).or_default().insert(block.id, block);
        }
    }
}

/// Rounds up to one of four sizes per power of two: at most a fifth of a buffer is wasted.
fn size_class(bytes: u64) -> u64 {
    let bytes = bytes.max(256);
    let step = (1u64 << (u64::BITS - 1 - (bytes - 1).leading_zeros())) / 4;
    bytes.div_ceil(step) * step
}

impl Gpu {
    /// A buffer of `bytes` with arbitrary content, for kernels to write.
    pub(crate) fn scratch(&'static self, op: &'static str, bytes: u64) -> Result<Buffer> {
        self.allocate(op, bytes, false)
    }

    pub(super) fn allocate(
        &'static self,
        op: &'static str,
        bytes: u64,
        upload: bool,
    ) -> Result<Buffer> {
        let most = self.info.max_tensor_bytes;
        if bytes.next_multiple_of(4) > most {
            bail!(
                op,
                Device,
                "a tensor of {} is more than one binding of {} takes ({}); use a smaller batch or \
                 cut the tensor",
                mib(bytes),
                self.name,
                mib(most)
            );
        }
        // Near the limit the class may be larger than the limit.
        let class = size_class(bytes).min(most / 256 * 256).max(bytes.next_multiple_of(4));
        let batch = self.batch();
        let mut pool = self.pool();
        let taken = pool.take(class, upload, batch);
        pool.live += taken.as_ref().map_or(class, |block| block.class);
        pool.peak_live = pool.peak_live.max(pool.live);
        let block = match taken {
            Some(block) => block,
            None => {
                let limit = pool.peak_live + pool.peak_live / SHARE + SLACK;
                let limit = limit.saturating_sub(class);
                let dropped = if pool.held > limit { pool.trim(limit, batch) } else { Vec::new() };
                drop(pool);
                self.forget(op, dropped)?;
                match self.create(op, class) {
                    Ok(block) => block,
                    Err(error) => {
                        // Tries again after giving back all waiting buffers.
                        let dropped = self.pool().trim(0, batch);
                        self.forget(op, dropped)?;
                        self.wait(op)?;
                        self.create(op, class).map_err(|_| {
                            self.pool().live -= class;
                            error
                        })?
                    }
                }
            }
        };
        Ok(Buffer { block: Some(block), gpu: self, upload })
    }

    fn create(&self, op: &'static str, class: u64) -> Result<Block> {
        let scope = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let raw = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: class,
            usage: wgpu::BufferUsages::STORAGE
                | wgpu::BufferUsages::COPY_SRC
                | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let refused = super::sync::ready(scope.pop());
        self.check(op)?;
        let mut pool = self.pool();
        if refused.is_some() {
            bail!(
                op,
                OutOfMemory,
                "{} is out of memory: {} asked for, {} in use; use a smaller batch or shorter texts",
                self.name,
                mib(class),
                mib(pool.live - class)
            );
        }
        pool.held += class;
        pool.peak_held = pool.peak_held.max(pool.held);
        pool.created += 1;
        pool.next_id += 1;
        Ok(Block { raw, id: pool.next_id, class })
    }
}

/// A number of bytes for messages.
pub(super) fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / (1 << 20) as f64)
}
