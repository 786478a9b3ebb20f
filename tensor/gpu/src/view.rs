//! What launches read, write and return: views of storages, and arrays.

use std::sync::Arc;

use gradus_base::{DType, Layout, Result, bail, sizes};

use super::context::Gpu;
use super::memory::Buffer;
use super::storage::{GpuStorage, scalar, stored_size};

/// Elements of a storage, placed by a layout.
#[derive(Clone, Copy)]
pub struct View<'a> {
    storage: &'a Arc<GpuStorage>,
    dtype: DType,
    layout: &'a Layout,
}

impl<'a> View<'a> {
    /// The elements of `storage` that `layout` names.
    ///
    /// # Panics
    /// If the layout reaches beyond the storage.
    pub fn new(storage: &'a Arc<GpuStorage>, dtype: DType, layout: &'a Layout) -> Self {
        assert!(
            layout.end() as u64 * stored_size(dtype) <= storage.bytes,
            "a view {:?} reaches beyond its storage",
            layout.shape
        );
        View { storage, dtype, layout }
    }

    /// The same storage seen through another layout.
    ///
    /// # Panics
    /// If that reaches beyond the storage.
    pub fn with<'b>(self, layout: &'b Layout) -> View<'b>
    where
        'a: 'b,
    {
        View::new(self.storage, self.dtype, layout)
    }

    /// The storage.
    pub fn storage(self) -> &'a GpuStorage {
        self.storage
    }

    /// Element type.
    pub fn dtype(self) -> DType {
        self.dtype
    }

    /// Shape, strides and offset.
    pub fn layout(self) -> &'a Layout {
        self.layout
    }

    /// Sizes of the dimensions.
    pub fn shape(self) -> &'a [usize] {
        &self.layout.shape
    }

    /// Distances in elements along the dimensions.
    pub(super) fn strides(self) -> &'a [usize] {
        &self.layout.strides
    }

    /// Number of elements.
    pub fn numel(self) -> usize {
        self.layout.numel()
    }

    /// Whether the elements lie in row-major order without gaps.
    pub fn is_contiguous(self) -> bool {
        self.layout.is_contiguous()
    }

    /// Whether the elements lie so from the storage's first on.
    pub(super) fn is_whole(self) -> bool {
        self.is_contiguous() && self.layout.offset == 0
    }

    /// The GPU where they lie.
    pub(super) fn gpu(self) -> &'static Gpu {
        self.storage.gpu()
    }

    /// The storage's buffer.
    pub(super) fn buffer(self) -> &'a Buffer {
        self.storage.buffer()
    }

    /// The place of the first element, in the type that kernels take.
    pub(super) fn start(self) -> u32 {
        self.layout.offset as u32
    }

    /// An array of these elements. Nothing is copied.
    pub(super) fn share(self) -> Array {
        Array { storage: self.storage.clone(), dtype: self.dtype, layout: self.layout.clone() }
    }
}

/// A view, or a copy of it in row-major order, where a kernel cannot read the view as it lies.
pub(super) enum ViewOrCopy<'a> {
    View(View<'a>),
    Copy(Array),
}

impl ViewOrCopy<'_> {
    /// The elements.
    pub(super) fn view(&self) -> View<'_> {
        match self {
            ViewOrCopy::View(view) => *view,
            ViewOrCopy::Copy(array) => array.view(),
        }
    }

    /// Their storage's buffer.
    pub(super) fn buffer(&self) -> &Buffer {
        self.view().buffer()
    }

    /// The place of the first element, in the type that kernels take.
    pub(super) fn start(&self) -> u32 {
        self.view().start()
    }
}

/// What a launch returns: a storage, which other arrays may share, and the place of the elements in
/// it.
#[derive(Clone)]
pub struct Array {
    storage: Arc<GpuStorage>,
    dtype: DType,
    layout: Layout,
}

impl Array {
    /// New memory for `shape` with arbitrary content, which a kernel writes from element 0 on.
    ///
    /// # Errors
    /// Of `op`, if GPUs do not take the dtype, or memory is short.
    pub(super) fn new(
        op: &'static str,
        gpu: &'static Gpu,
        shape: &[usize],
        dtype: DType,
    ) -> Result<Array> {
        scalar(op, dtype)?;
        let numel = sizes::numel(op, shape)?;
        if numel > u32::MAX as usize {
            bail!(
                op,
                Device,
                "{shape:?} has more elements than GPU kernels count (2³² − 1); cut the tensor"
            );
        }
        let storage = GpuStorage::new(op, gpu, numel as u64 * stored_size(dtype), false)?;
        Ok(Array::from_storage(Arc::new(storage), dtype, shape))
    }

    /// The first elements of a storage as `shape`.
    pub(super) fn from_storage(storage: Arc<GpuStorage>, dtype: DType, shape: &[usize]) -> Array {
        Array { storage, dtype, layout: Layout::contiguous(shape) }
    }

    /// The elements.
    pub fn view(&self) -> View<'_> {
        View { storage: &self.storage, dtype: self.dtype, layout: &self.layout }
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Sizes of the dimensions.
    pub fn shape(&self) -> &[usize] {
        &self.layout.shape
    }

    /// Number of elements.
    pub fn numel(&self) -> usize {
        self.layout.numel()
    }

    /// The storage.
    pub(super) fn storage(&self) -> &Arc<GpuStorage> {
        &self.storage
    }

    /// The storage's buffer.
    pub(super) fn buffer(&self) -> &Buffer {
        self.storage.buffer()
    }

    /// The same elements, which are contiguous, under another shape.
    ///
    /// # Panics
    /// If they are not contiguous, or the shape has another number of elements.
    pub(super) fn reshape(self, shape: &[usize]) -> Array {
        let reshaped = self.part(0, shape);
        assert_eq!(reshaped.numel(), self.numel(), "{:?} as {shape:?}", self.shape());
        reshaped
    }

    /// `shape` elements from number `first` on, of elements that are contiguous.
    ///
    /// # Panics
    /// If they are not contiguous, or fewer.
    pub(super) fn part(&self, first: usize, shape: &[usize]) -> Array {
        let mut layout = Layout::contiguous(shape);
        let numel = layout.numel();
        assert!(self.layout.is_contiguous() && first + numel <= self.numel());
        // A view without elements stays within its storage, which may have none either.
        layout.offset = self.layout.offset + if numel > 0 { first } else { 0 };
        Array { storage: self.storage.clone(), dtype: self.dtype, layout }
    }

    /// The storage, the element type, and the layout.
    pub fn into_parts(self) -> (Arc<GpuStorage>, DType, Layout) {
        (self.storage, self.dtype, self.layout)
    }
}

/// Contiguous elements, from the first of a storage on, for writing.
pub struct ViewMut<'a> {
    storage: &'a mut GpuStorage,
    dtype: DType,
    numel: usize,
}

impl<'a> ViewMut<'a> {
    /// The elements of `storage` that `layout` names, which is contiguous and begins at element 0.
    /// Drops what was derived from their values.
    ///
    /// # Panics
    /// If it is not, or reaches beyond the storage.
    pub fn new(storage: &'a mut GpuStorage, dtype: DType, layout: &Layout) -> Self {
        let begins = layout.is_contiguous() && layout.offset == 0;
        assert!(begins, "only a contiguous view from element 0 on is written");
        let numel = layout.numel();
        let within = numel as u64 * stored_size(dtype) <= storage.bytes;
        assert!(within, "a view reaches beyond its storage");
        storage.forget();
        ViewMut { storage, dtype, numel }
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Number of elements.
    pub fn numel(&self) -> usize {
        self.numel
    }

    /// The storage.
    pub(super) fn storage(&self) -> &GpuStorage {
        self.storage
    }

    /// The GPU where they lie.
    pub(super) fn gpu(&self) -> &'static Gpu {
        self.storage.gpu()
    }

    /// The storage's buffer.
    pub(super) fn buffer(&self) -> &Buffer {
        self.storage.buffer()
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;
    use crate::{gpu, gpus, transfer};

    /// Kernels check no bounds, so a view must.
    #[test]
    fn a_view_stays_within_its_storage() {
        let Some(info) = gpus().into_iter().next() else { return };
        let gpu = gpu("test", info.index).unwrap();
        let x = transfer::upload("test", gpu, &[1f32; 6], &[2, 3]).unwrap();
        let turned = x.view().layout().permute([1, 0]);
        assert_eq!(x.view().with(&turned).shape(), [3, 2]);
        let further = Layout { offset: 1, ..turned.clone() };
        let wider = Layout { strides: vec![1, 4], ..turned };
        for beyond in [further, wider] {
            let seen = catch_unwind(AssertUnwindSafe(|| x.view().with(&beyond).numel()));
            assert!(seen.is_err(), "{beyond:?}");
        }
    }
}
