//! The memory behind a tensor.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use crate::cpu::buffer::Buffer;
use crate::device::Device;
use crate::dtype::{DType, Element};
use crate::error::Result;
use crate::gpu::memory;
use crate::sizes;

/// Memory on one device.
pub(crate) enum Storage {
    Cpu(CpuStorage),
    Gpu(GpuStorage),
}

// The compiler would prove this by itself. But it would do so anew in every crate that sends a tensor
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

/// A CPU storage: bytes, and a place for a form of them that a kernel derived (a weight packed for
/// the matrix product, say). The derived form lives until the bytes change.
pub(crate) struct CpuStorage {
    bytes: Buffer,
    derived: OnceLock<Arc<dyn std::any::Any + Send + Sync>>,
}

impl CpuStorage {
    pub(crate) fn owned(bytes: Buffer) -> Self {
        CpuStorage { bytes, derived: OnceLock::new() }
    }

    /// How many bytes there are.
    pub(crate) fn len(&self) -> usize {
        self.bytes.bytes().len()
    }

    /// All elements.
    pub(crate) fn slice<T: Element>(&self) -> &[T] {
        bytemuck::cast_slice(self.bytes.bytes())
    }

    /// All elements for writing. Drops the derived form.
    pub(crate) fn slice_mut<T: Element>(&mut self) -> &mut [T] {
        self.derived = OnceLock::new();
        bytemuck::cast_slice_mut(self.bytes.bytes_mut())
    }

    /// The derived form of type `D`, made by `make` on first use. `None` if another kind of derived
    /// form is already there.
    pub(crate) fn derived<D: Send + Sync + 'static>(
        &self,
        make: impl FnOnce() -> Result<D>,
    ) -> Result<Option<Arc<D>>> {
        let derived = match self.derived.get() {
            Some(derived) => derived,
            // Made outside the lock: a thread that waits for tasks of `make` may take up another
            // task, which needs the same form. Two may make it; one of them is kept.
            None => {
                let made = make()?;
                self.derived.get_or_init(|| Arc::new(made))
            }
        };
        Ok(derived.clone().downcast().ok())
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
    /// Of each, the version and the number of elements.
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

/// Memory that a kernel writes, before it becomes a tensor. Its content is arbitrary until
/// written.
pub(crate) struct Output<T> {
    buffer: Buffer,
    element: std::marker::PhantomData<T>,
}

impl<T: Element> Output<T> {
    /// Memory for `shape`, whose elements are counted here.
    pub(crate) fn new(op: &'static str, shape: &[usize]) -> Result<Self> {
        let bytes = sizes::bytes(op, shape, size_of::<T>())?;
        Ok(Output { buffer: Buffer::scratch(op, bytes)?, element: std::marker::PhantomData })
    }

    pub(crate) fn filled(op: &'static str, shape: &[usize], value: T) -> Result<Self> {
        let mut output = Self::new(op, shape)?;
        output.slice_mut().fill(value);
        Ok(output)
    }

    pub(crate) fn slice_mut(&mut self) -> &mut [T] {
        bytemuck::cast_slice_mut(self.buffer.bytes_mut())
    }

    /// The storage that holds what was written.
    pub(crate) fn into_storage(self) -> Storage {
        Storage::Cpu(CpuStorage::owned(self.buffer))
    }
}
