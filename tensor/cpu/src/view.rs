//! What kernels read, write and return: views of storages, and arrays.

use std::ops::Range;

use gradus_base::{DType, Element, Layout, Result, dispatch_any, sizes};

use super::mat::Mat;
use super::storage::{CpuStorage, Output};
use super::strided::{self, TypedView};

/// Elements of a storage, placed by a layout. Their type is known at run time: [`View::typed`] gives
/// them a Rust type.
#[derive(Clone, Copy)]
pub struct View<'a> {
    storage: &'a CpuStorage,
    dtype: DType,
    layout: &'a Layout,
}

impl<'a> View<'a> {
    /// The elements of `storage` that `layout` names.
    ///
    /// # Panics
    /// If the layout reaches beyond the storage.
    pub fn new(storage: &'a CpuStorage, dtype: DType, layout: &'a Layout) -> Self {
        assert!(
            layout.end() <= storage.len() / dtype.size(),
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
    pub fn storage(self) -> &'a CpuStorage {
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

    /// Number of elements.
    pub fn numel(self) -> usize {
        self.layout.numel()
    }

    /// Whether the elements lie in row-major order without gaps.
    pub fn is_contiguous(self) -> bool {
        self.layout.is_contiguous()
    }

    /// The elements with their Rust type.
    ///
    /// # Panics
    /// If `T` is not the view's dtype.
    pub fn typed<T: Element>(self) -> TypedView<'a, T> {
        assert_eq!(T::DTYPE, self.dtype, "a view in another dtype");
        TypedView { data: self.storage.slice(), layout: self.layout }
    }

    /// The elements of a contiguous view.
    ///
    /// # Panics
    /// If the view is not contiguous, or `T` is not its dtype.
    pub fn slice<T: Element>(self) -> &'a [T] {
        assert!(self.is_contiguous(), "a view with gaps, or in another order");
        let TypedView { data, layout } = self.typed();
        &data[layout.offset..layout.offset + layout.numel()]
    }

    /// The matrix that a view of two dimensions is.
    pub(crate) fn mat<T: Element>(self) -> Mat<'a, T> {
        let TypedView { data, layout } = self.typed();
        let data = &data[layout.offset.min(data.len())..];
        Mat { data, row: layout.strides[0], col: layout.strides[1] }
    }

    /// The elements in row-major order: the view itself, or a copy.
    ///
    /// # Errors
    /// If there is not enough memory.
    pub fn contiguous(self) -> Result<ViewOrCopy<'a>> {
        self.or_copy(self.is_contiguous())
    }

    /// A matrix whose columns lie next to each other: the view itself, or a copy.
    ///
    /// # Errors
    /// If there is not enough memory.
    pub(crate) fn unit_columns(self) -> Result<ViewOrCopy<'a>> {
        self.or_copy(self.layout.strides[1] == 1)
    }

    fn or_copy(self, as_is: bool) -> Result<ViewOrCopy<'a>> {
        if as_is { Ok(ViewOrCopy::View(self)) } else { Ok(ViewOrCopy::Copy(self.copy("copy")?)) }
    }

    /// A copy in row-major order.
    ///
    /// # Errors
    /// Of `op`, if there is not enough memory.
    pub fn copy(self, op: &'static str) -> Result<Array> {
        dispatch_any!(self.dtype, copy_of::<T>(op, self))
    }

    /// All values in row-major order.
    ///
    /// # Errors
    /// Of `op`, if there is not enough memory.
    ///
    /// # Panics
    /// If `T` is not the view's dtype.
    pub fn to_vec<T: Element>(self, op: &'static str) -> Result<Vec<T>> {
        let TypedView { data, layout } = self.typed::<T>();
        let mut values = sizes::list(op, layout.numel())?;
        if layout.is_contiguous() {
            values.extend_from_slice(&data[layout.offset..layout.offset + layout.numel()]);
        } else {
            values.extend(layout.positions().map(|p| data[p]));
        }
        Ok(values)
    }

    /// All values in row-major order, widened to f64.
    ///
    /// # Errors
    /// Of `op`, if there is not enough memory.
    pub fn to_f64_vec(self, op: &'static str) -> Result<Vec<f64>> {
        dispatch_any!(self.dtype, widened::<T>(op, self))
    }
}

fn copy_of<T: Element>(op: &'static str, x: View) -> Result<Array> {
    let mut out = Output::<T>::new(op, x.shape())?;
    strided::copy(out.slice_mut(), x.typed::<T>());
    Ok(out.into_array(x.shape()))
}

fn widened<T: Element>(op: &'static str, x: View) -> Result<Vec<f64>> {
    let TypedView { data, layout } = x.typed::<T>();
    let mut values = sizes::list(op, layout.numel())?;
    values.extend(layout.positions().map(|p| data[p].to_f64()));
    Ok(values)
}

/// A view, or a copy of it in row-major order, where a kernel cannot read the view as it lies.
pub enum ViewOrCopy<'a> {
    /// The view itself.
    View(View<'a>),
    /// A copy.
    Copy(Array),
}

impl ViewOrCopy<'_> {
    /// The elements.
    pub fn view(&self) -> View<'_> {
        match self {
            ViewOrCopy::View(view) => *view,
            ViewOrCopy::Copy(array) => array.view(),
        }
    }
}

/// Contiguous elements of a storage, for writing.
pub struct ViewMut<'a> {
    storage: &'a mut CpuStorage,
    dtype: DType,
    elements: Range<usize>,
}

impl<'a> ViewMut<'a> {
    /// The elements of `storage` that `layout` names, which is contiguous.
    ///
    /// # Panics
    /// If it is not, or reaches beyond the storage.
    pub fn new(storage: &'a mut CpuStorage, dtype: DType, layout: &Layout) -> Self {
        assert!(layout.is_contiguous(), "only a contiguous view is written");
        let elements = layout.offset..layout.offset + layout.numel();
        assert!(elements.end * dtype.size() <= storage.len(), "a view reaches beyond its storage");
        ViewMut { storage, dtype, elements }
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The elements. Drops what was derived from them.
    ///
    /// # Panics
    /// If `T` is not the view's dtype.
    pub fn into_slice<T: Element>(self) -> &'a mut [T] {
        assert_eq!(T::DTYPE, self.dtype, "a view in another dtype");
        &mut self.storage.slice_mut()[self.elements]
    }
}

/// What a kernel returns: a storage of its own, whose elements lie in row-major order.
pub struct Array {
    storage: CpuStorage,
    dtype: DType,
    layout: Layout,
}

impl Array {
    /// An array of no dimensions.
    ///
    /// # Errors
    /// Of `op`, if there is not enough memory.
    pub fn scalar<T: Element>(op: &'static str, value: T) -> Result<Self> {
        Ok(Output::filled(op, &[], value)?.into_array(&[]))
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

    /// The same elements under another shape.
    ///
    /// # Panics
    /// If it has another number of elements.
    pub(crate) fn reshape(self, shape: &[usize]) -> Self {
        let layout = Layout::contiguous(shape);
        assert_eq!(layout.numel(), self.layout.numel(), "{:?} as {shape:?}", self.shape());
        Array { layout, ..self }
    }

    /// The storage, the element type, and the layout.
    pub fn into_parts(self) -> (CpuStorage, DType, Layout) {
        (self.storage, self.dtype, self.layout)
    }
}

impl<T: Element> Output<T> {
    /// The array of `shape` that holds what was written.
    ///
    /// # Panics
    /// If the memory was asked for another number of elements.
    pub fn into_array(self, shape: &[usize]) -> Array {
        let layout = Layout::contiguous(shape);
        let storage = self.into_storage();
        assert_eq!(storage.len(), layout.numel() * size_of::<T>(), "a storage of {shape:?}");
        Array { storage, dtype: T::DTYPE, layout }
    }
}
