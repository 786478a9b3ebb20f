//! The memory behind a tensor.

use std::sync::{Arc, OnceLock};

use crate::cpu::buffer::Buffer;
use crate::dtype::Element;
use crate::gpu::storage::GpuStorage;
use crate::sizes;

/// Memory on one device.
pub(crate) enum Storage {
    Cpu(CpuStorage),
    Gpu(GpuStorage),
}

/// A CPU storage: bytes, and a place for a form of them derived by a kernel (a weight packed for
/// the matrix product, say) that lives exactly as long as the bytes stay as they are.
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
        make: impl FnOnce() -> crate::Result<D>,
    ) -> crate::Result<Option<Arc<D>>> {
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

/// Memory being written by a kernel, before it becomes a tensor. Its content is arbitrary until
/// written.
pub(crate) struct Output<T> {
    buffer: Buffer,
    element: std::marker::PhantomData<T>,
}

impl<T: Element> Output<T> {
    /// Memory for `shape`, whose elements are counted here.
    pub(crate) fn new(op: &'static str, shape: &[usize]) -> crate::Result<Self> {
        let bytes = sizes::bytes(op, shape, size_of::<T>())?;
        Ok(Output { buffer: Buffer::scratch(op, bytes)?, element: std::marker::PhantomData })
    }

    pub(crate) fn filled(op: &'static str, shape: &[usize], value: T) -> crate::Result<Self> {
        let mut output = Self::new(op, shape)?;
        output.slice_mut().fill(value);
        Ok(output)
    }

    pub(crate) fn slice_mut(&mut self) -> &mut [T] {
        bytemuck::cast_slice_mut(self.buffer.bytes_mut())
    }

    /// The tensor of `shape` (whose number of elements is the output's).
    pub(crate) fn into_tensor(self, shape: &[usize]) -> crate::Tensor {
        crate::Tensor::from_storage(Storage::Cpu(CpuStorage::owned(self.buffer)), T::DTYPE, shape)
    }
}
