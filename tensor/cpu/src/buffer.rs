//! Memory for CPU storages, recycled.
//!
//! A fresh page costs more than most kernels that write it (the kernel must zero and map it), and a
//! training step asks for the same sizes again and again. So freed blocks wait in a pool by size
//! class. The pool never lets the process hold much more than its own peak of live bytes: see
//! [`Pool::limit`].
//!
//! Every block starts zeroed and holds plain old data ever after, so that handing out a recycled
//! block without clearing it never exposes uninitialised memory.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::collections::BTreeMap;
use std::ptr::NonNull;
use std::sync::Mutex;

use gradus_base::{Error, ErrorKind, Result};
use memmap2::MmapMut;

/// Alignment of every block: a cache line, and the widest SIMD register.
const ALIGN: usize = 64;
/// From this size on a block is a mapping of its own, in huge pages where the system has them.
const MAP_FROM: usize = 2 << 20;
/// The pool may always keep this much, even above the peak.
const SLACK: usize = 32 << 20;

enum Block {
    Heap { ptr: NonNull<u8>, layout: Layout },
    Map(MmapMut),
}

// SAFETY: a block owns its memory exclusively; nothing in it is tied to a thread.
unsafe impl Send for Block {}
// SAFETY: shared access to a block only reads it.
unsafe impl Sync for Block {}

impl Block {
    fn new(class: usize) -> Option<Block> {
        if class >= MAP_FROM {
            let map = MmapMut::map_anon(class).ok()?;
            ask_for_huge_pages(&map);
            return Some(Block::Map(map));
        }
        let layout = Layout::from_size_align(class, ALIGN).ok()?;
        // SAFETY: `class` is never 0 (see `size_class`).
        let ptr = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        Some(Block::Heap { ptr, layout })
    }

    fn ptr(&self) -> *const u8 {
        match self {
            Block::Heap { ptr, .. } => ptr.as_ptr(),
            Block::Map(map) => map.as_ptr(),
        }
    }

    fn ptr_mut(&mut self) -> *mut u8 {
        match self {
            Block::Heap { ptr, .. } => ptr.as_ptr(),
            Block::Map(map) => map.as_mut_ptr(),
        }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        if let Block::Heap { ptr, layout } = self {
            // SAFETY: allocated in `Block::new` with this very layout, and freed once.
            unsafe { dealloc(ptr.as_ptr(), *layout) }
        }
    }
}

/// A hint; a system without huge pages serves small ones.
#[cfg(target_os = "linux")]
fn ask_for_huge_pages(map: &MmapMut) {
    let _ = map.advise(memmap2::Advice::HugePage);
}

/// Other systems have no such request.
#[cfg(not(target_os = "linux"))]
fn ask_for_huge_pages(_: &MmapMut) {}

/// Rounds up to one of four sizes per power of two, so that sizes that differ a little share a
/// class and at most a fifth of a block is wasted.
fn size_class(bytes: usize) -> usize {
    let bytes = bytes.max(256);
    let step = (1usize << (usize::BITS - 1 - (bytes - 1).leading_zeros())) / 4;
    bytes.div_ceil(step) * step
}

struct Pool {
    free: BTreeMap<usize, Vec<Block>>,
    free_bytes: usize,
    live_bytes: usize,
    peak_live: usize,
}

impl Pool {
    /// Bytes that live and free blocks may hold together, `room` more of them live.
    fn limit(&self, room: usize) -> usize {
        let peak = self.peak_live.max(self.live_bytes + room);
        peak + peak / 8 + SLACK
    }

    /// Gives free blocks back to the system, largest first, until `room` more bytes fit.
    fn trim(&mut self, room: usize) -> Vec<Block> {
        let most = self.limit(room) - room - self.live_bytes;
        self.shrink(most)
    }

    /// Gives free blocks back to the system, largest first, until they hold at most `most` bytes.
    fn shrink(&mut self, most: usize) -> Vec<Block> {
        let mut dropped = Vec::new();
        while self.free_bytes > most {
            let Some(mut entry) = self.free.last_entry() else { break };
            if let Some(block) = entry.get_mut().pop() {
                self.free_bytes -= *entry.key();
                dropped.push(block);
            }
            if entry.get().is_empty() {
                entry.remove();
            }
        }
        dropped
    }

    /// A waiting block of the class, or those to give back before a new one is made.
    fn take(&mut self, class: usize) -> Result<Block, Vec<Block>> {
        match self.free.get_mut(&class).and_then(Vec::pop) {
            Some(block) => {
                self.free_bytes -= class;
                Ok(block)
            }
            None => Err(self.trim(class)),
        }
    }
}

static POOL: Mutex<Pool> =
    Mutex::new(Pool { free: BTreeMap::new(), free_bytes: 0, live_bytes: 0, peak_live: 0 });

fn pool() -> std::sync::MutexGuard<'static, Pool> {
    // The pool's numbers are consistent at every point where a panic could occur.
    POOL.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// What the CPU's memory pool holds, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryUse {
    /// Held by tensors now.
    pub live: usize,
    /// The most that tensors ever held at once.
    pub peak: usize,
    /// Waiting in the pool to be used again.
    pub free: usize,
}

/// What the CPU's memory pool holds.
pub fn memory_use() -> MemoryUse {
    let pool = pool();
    MemoryUse { live: pool.live_bytes, peak: pool.peak_live, free: pool.free_bytes }
}

/// A block of bytes, aligned to 64, always initialised, given back to the pool when dropped.
pub(crate) struct Buffer {
    block: Option<Block>,
    class: usize,
    len: usize,
}

impl Buffer {
    /// A block of `len` bytes with arbitrary (initialised) content.
    pub(crate) fn scratch(op: &'static str, len: usize) -> Result<Buffer> {
        let too_large = || {
            let size = len as f64 / (1 << 20) as f64;
            let hint = "use a smaller batch or shorter texts";
            Error::of(
                ErrorKind::OutOfMemory,
                op,
                format!("out of memory: {size:.1} MiB asked for; {hint}"),
            )
        };
        // No machine has an eighth of the address space, and the pool's sums must not overflow.
        if len > usize::MAX / 8 {
            return Err(too_large());
        }
        let class = size_class(len);
        // Blocks are given back, and made, outside the lock.
        let taken = pool().take(class);
        let block = match taken {
            Ok(block) => Some(block),
            Err(dropped) => {
                drop(dropped);
                Block::new(class).or_else(|| {
                    // Once more, without all that waits.
                    let waiting = pool().shrink(0);
                    drop(waiting);
                    Block::new(class)
                })
            }
        };
        let block = block.ok_or_else(too_large)?;
        // Only now: a refused block must not count in the peak.
        let mut pool = pool();
        pool.live_bytes += class;
        pool.peak_live = pool.peak_live.max(pool.live_bytes);
        Ok(Buffer { block: Some(block), class, len })
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        let block = self.block.as_ref().expect("a buffer holds its block until dropped");
        // SAFETY: the block has at least `len` bytes, all initialised (zeroed when allocated).
        unsafe { std::slice::from_raw_parts(block.ptr(), self.len) }
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        let block = self.block.as_mut().expect("a buffer holds its block until dropped");
        // SAFETY: as in `bytes`; `&mut self` makes the access exclusive.
        unsafe { std::slice::from_raw_parts_mut(block.ptr_mut(), self.len) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let Some(block) = self.block.take() else { return };
        let dropped;
        {
            let mut pool = pool();
            pool.live_bytes -= self.class;
            pool.free_bytes += self.class;
            pool.free.entry(self.class).or_default().push(block);
            dropped = pool.trim(0);
        }
        drop(dropped); // unmapping happens outside the lock
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_classes_waste_at_most_a_fifth() {
        for bytes in [1, 255, 256, 257, 1000, 4096, 5000, 1 << 20, (1 << 20) + 1, 123_456_789] {
            let class = size_class(bytes);
            assert!(class >= bytes, "{bytes} does not fit its class {class}");
            assert!(
                bytes <= 256 || (class - bytes) * 4 < bytes,
                "{bytes} wastes too much: {class}"
            );
        }
    }

    #[test]
    fn blocks_are_aligned_and_come_back() {
        for len in [0, 10, 3 << 20] {
            let mut buffer = Buffer::scratch("test", len).unwrap();
            assert_eq!(buffer.bytes().as_ptr() as usize % ALIGN, 0);
            assert_eq!(buffer.bytes_mut().len(), len);
        }
    }

    #[test]
    fn an_impossible_size_is_an_error() {
        for len in [usize::MAX / 16, usize::MAX] {
            let error = Buffer::scratch("zeros", len).err().expect("cannot be had");
            assert!(error.to_string().contains("out of memory"), "{error}");
            // What was refused is not remembered as held: the pool would never give anything back.
            assert!(memory_use().peak < 1 << 40, "{:?}", memory_use());
        }
    }
}
