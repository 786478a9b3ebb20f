//! The memory behind a tensor.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use gradus_base::DType;
use gradus_cpu::CpuStorage;

use crate::device::Device;
use crate::gpu::memory;

/// Memory on one device.
pub(crate) enum Storage {
    Cpu(CpuStorage),
    Gpu(GpuStorage),
}

// The compiler could prove this itself. But it would do so again in every crate that sends a tensor
// to a thread, through all the types of a GPU's driver, and those are nested deeper than its limit.
//
// SAFETY: every part of a storage can be sent and shared, as the constant below checks.
unsafe impl Send for Storage {}
// SAFETY: as above.
unsafe impl Sync for Storage {}

const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<CpuStorage>();
    shared::<GpuStorage>();
};

impl Storage {
    /// The storage that a CPU kernel reads.
    pub(crate) fn expect_cpu(&self) -> &CpuStorage {
        match self {
            Storage::Cpu(storage) => storage,
            Storage::Gpu(_) => unreachable!("a CPU kernel got a tensor of a GPU"),
        }
    }
}

/// Memory of a GPU, and what is kept until its values change.
pub(crate) struct GpuStorage {
    pub(crate) buffer: memory::Buffer,
    /// The CPU original, where it is kept.
    pub(crate) original: Option<Arc<Storage>>,
    /// The values in another dtype.
    pub(crate) cast: OnceLock<Kept>,
    /// The values joined with those of other storages.
    pub(crate) joined: Mutex<Option<Joined>>,
    /// A new number for new values.
    pub(crate) version: u64,
}

/// A whole storage of `numel` elements.
pub(crate) struct Kept {
    pub(crate) storage: Arc<Storage>,
    pub(crate) dtype: DType,
    pub(crate) numel: usize,
}

/// The values of several storages end to end.
pub(crate) struct Joined {
    /// Version and number of elements of each.
    pub(crate) parts: Vec<(u64, usize)>,
    pub(crate) values: Kept,
}

fn next_version() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl GpuStorage {
    pub(crate) fn new(buffer: memory::Buffer, original: Option<Arc<Storage>>) -> Self {
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

    /// Drops what was kept: the values are about to change.
    pub(crate) fn forget(&mut self) {
        self.original = None;
        self.cast = OnceLock::new();
        self.joined = Mutex::new(None);
        self.version = next_version();
    }
}
