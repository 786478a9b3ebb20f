//! The memory of arrays on the CPU.

use std::any::Any;
use std::marker::PhantomData;
use std::sync::{Arc, OnceLock};

use gradus_base::{Element, Result, sizes};

use super::buffer::Buffer;

/// A CPU storage: bytes, and a place for a form of them that a kernel derived (a weight packed for
/// the matrix product, say). The derived form lives until the bytes change.
pub struct CpuStorage {
    bytes: Buffer,
    derived: OnceLock<Arc<dyn Any + Send + Sync>>,
}

impl CpuStorage {
    fn new(bytes: Buffer) -> Self {
        CpuStorage { bytes, derived: OnceLock::new() }
    }

    /// The number of bytes.
    pub fn len(&self) -> usize {
        self.bytes.bytes().len()
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All elements.
    ///
    /// # Panics
    /// If the bytes are no whole number of elements.
    pub fn slice<T: Element>(&self) -> &[T] {
        bytemuck::cast_slice(self.bytes.bytes())
    }

    /// All elements for writing. Drops the derived form.
    ///
    /// # Panics
    /// If the bytes are no whole number of elements.
    pub fn slice_mut<T: Element>(&mut self) -> &mut [T] {
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

/// Memory that a kernel writes, before it becomes an [`Array`](crate::Array). Its content is arbitrary
/// until written.
pub struct Output<T> {
    buffer: Buffer,
    element: PhantomData<T>,
}

impl<T: Element> Output<T> {
    /// Memory for `shape`, whose elements are counted here.
    ///
    /// # Errors
    /// Of `op`, if there is not enough memory.
    pub fn new(op: &'static str, shape: &[usize]) -> Result<Self> {
        let bytes = sizes::bytes(op, shape, size_of::<T>())?;
        Ok(Output { buffer: Buffer::scratch(op, bytes)?, element: PhantomData })
    }

    /// As [`Output::new`], every element `value`.
    ///
    /// # Errors
    /// Of `op`, if there is not enough memory.
    pub fn filled(op: &'static str, shape: &[usize], value: T) -> Result<Self> {
        let mut output = Self::new(op, shape)?;
        output.slice_mut().fill(value);
        Ok(output)
    }

    /// The elements.
    pub(crate) fn slice(&self) -> &[T] {
        bytemuck::cast_slice(self.buffer.bytes())
    }

    /// The elements for writing.
    pub fn slice_mut(&mut self) -> &mut [T] {
        bytemuck::cast_slice_mut(self.buffer.bytes_mut())
    }

    /// The storage that holds what was written.
    pub(crate) fn into_storage(self) -> CpuStorage {
        CpuStorage::new(self.buffer)
    }
}
