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
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

use super::sync::lock;

/// The smallest buffer, in bytes.
pub(super) const SMALLEST: u64 = 256;

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
    /// Counts `class` bytes more as used, and takes a waiting buffer for them, if there is one.
    pub(super) fn request(&mut self, class: u64, upload: bool, batch: u64) -> Option<Block> {
        let taken = self.take(class, upload, batch);
        self.live += taken.as_ref().map_or(class, |block| block.class);
        self.peak_live = self.peak_live.max(self.live);
        taken
    }

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

    /// Removes waiting buffers where the pool would hold too much with a new one of `class` bytes.
    pub(super) fn make_room(&mut self, class: u64, batch: u64) -> Vec<Block> {
        let limit = self.peak_live + self.peak_live / SHARE + SLACK;
        self.trim(limit.saturating_sub(class), batch)
    }

    /// Counts a new buffer of `class` bytes; returns its number.
    pub(super) fn add(&mut self, class: u64) -> u32 {
        self.held += class;
        self.peak_held = self.peak_held.max(self.held);
        self.created += 1;
        self.next_id += 1;
        self.next_id
    }

    /// Removes waiting buffers, largest first, until at most `limit` bytes are held.
    pub(super) fn trim(&mut self, limit: u64, batch: u64) -> Vec<Block> {
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

/// The buffers of a GPU.
#[derive(Default)]
pub(super) struct Memory {
    pool: Mutex<Pool>,
    /// The number of the batch of commands that is being recorded.
    batch: AtomicU64,
}

impl Memory {
    pub(super) fn pool(&self) -> MutexGuard<'_, Pool> {
        lock(&self.pool)
    }

    pub(super) fn batch(&self) -> u64 {
        self.batch.load(Ordering::Acquire)
    }

    /// Notes that the batch has been submitted.
    pub(super) fn next_batch(&self) {
        self.batch.fetch_add(1, Ordering::AcqRel);
    }
}

/// A buffer of a GPU, given back to its pool when dropped.
pub(super) struct Buffer {
    block: Option<Block>,
    memory: &'static Memory,
    upload: bool,
}

impl Buffer {
    pub(super) fn new(block: Block, memory: &'static Memory, upload: bool) -> Buffer {
        Buffer { block: Some(block), memory, upload }
    }

    pub(super) fn block(&self) -> &Block {
        self.block.as_ref().expect("a buffer holds its block until dropped")
    }

    /// Whether it belongs to this memory.
    pub(super) fn is_of(&self, memory: &Memory) -> bool {
        std::ptr::eq(self.memory, memory)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let Some(block) = self.block.take() else { return };
        let batch = self.memory.batch();
        let mut pool = self.memory.pool();
        pool.live -= block.class;
        if self.upload {
            pool.uploaded.entry(block.class).or_default().insert(block.id, (batch, block));
        } else {
            pool.free.entry(block.class).or_default().insert(block.id, block);
        }
    }
}

/// Rounds up to one of four sizes per power of two: at most a fifth of a buffer is wasted.
pub(super) fn size_class(bytes: u64) -> u64 {
    let bytes = bytes.max(SMALLEST);
    let step = (1u64 << (u64::BITS - 1 - (bytes - 1).leading_zeros())) / 4;
    bytes.div_ceil(step) * step
}

/// A number of bytes for messages.
pub(super) fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / (1 << 20) as f64)
}
