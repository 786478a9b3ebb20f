//! The tensor: a view into a shared storage.

use std::sync::Arc;

use crate::cpu::mat::Mat;
use crate::cpu::strided::{self, View};
use crate::dtype::Element;
use crate::layout::{self, Layout};
use crate::storage::{CpuStorage, Output, Storage};
use crate::{DType, Device, Result, bail};

/// An n-dimensional array: a reference-counted storage, a layout, a dtype and a device.
///
/// Cloning and viewing (`transpose`, `narrow`, `reshape` where it can, `broadcast_to`) copy
/// nothing. A tensor's values change only through the `*_` methods (`add_`, `copy_`, the
/// optimiser steps), which take `&mut self` and copy the storage first if another tensor shares it:
/// no tensor changes another one.
#[derive(Clone)]
pub struct Tensor {
    pub(crate) storage: Arc<Storage>,
    pub(crate) layout: Layout,
    pub(crate) dtype: DType,
}

impl Tensor {
    /// The whole of a storage as a tensor of `shape`.
    pub(crate) fn from_storage(storage: Storage, dtype: DType, shape: &[usize]) -> Self {
        let numel = layout::checked_numel(shape).expect("memory was found for the shape");
        if let Storage::Cpu(storage) = &storage {
            assert_eq!(storage.len(), numel * dtype.size(), "a storage of {shape:?} {dtype}");
        }
        Tensor { storage: Arc::new(storage), layout: Layout::contiguous(shape), dtype }
    }

    /// This storage seen through another layout.
    pub(crate) fn view(&self, layout: Layout) -> Self {
        Tensor { storage: self.storage.clone(), layout, dtype: self.dtype }
    }

    // ---- what it is ----

    /// Sizes of the dimensions; empty for a scalar.
    pub fn shape(&self) -> &[usize] {
        &self.layout.shape
    }

    /// Size of one dimension, which may count from the end.
    ///
    /// ```
    /// # use gradus_tensor::{DType, Tensor};
    /// let x = Tensor::zeros(&[2, 3], DType::F32)?;
    /// assert_eq!(x.size(0)?, 2);
    /// assert_eq!(x.size(-1)?, 3);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn size(&self, dim: isize) -> Result<usize> {
        Ok(self.shape()[layout::resolve_dim("size", dim, self.rank())?])
    }

    /// Number of dimensions.
    pub fn rank(&self) -> usize {
        self.layout.shape.len()
    }

    /// Number of elements.
    pub fn numel(&self) -> usize {
        self.layout.numel()
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Device of the storage.
    pub fn device(&self) -> Device {
        match *self.storage {
            Storage::Cpu(_) => Device::Cpu,
            Storage::Gpu(ref storage) => storage.device(),
        }
    }

    /// Shape, strides and offset.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Whether the elements lie in row-major order without gaps.
    ///
    /// ```
    /// # use gradus_tensor::{DType, Tensor};
    /// let x = Tensor::zeros(&[2, 3], DType::F32)?;
    /// assert!(x.is_contiguous());
    /// assert!(!x.t()?.is_contiguous());
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn is_contiguous(&self) -> bool {
        self.layout.is_contiguous()
    }

    /// Whether both tensors are views of one storage.
    ///
    /// ```
    /// # use gradus_tensor::{DType, Tensor};
    /// let x = Tensor::zeros(&[2, 3], DType::F32)?;
    /// assert!(x.t()?.shares_storage(&x)); // a view
    /// assert!(!x.copy()?.shares_storage(&x));
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn shares_storage(&self, other: &Tensor) -> bool {
        Arc::ptr_eq(&self.storage, &other.storage)
    }

    // ---- making one ----

    /// A tensor of `shape` from values in row-major order.
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// let x = Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0, 5.0, 6.0], &[2, 3])?;
    /// assert_eq!(x.to_string(), "[[1. 2. 3.]\n [4. 5. 6.]]");
    /// assert!(Tensor::from_slice(&[1f32, 2.0], &[3]).is_err());
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn from_slice<T: Element>(values: &[T], shape: &[usize]) -> Result<Self> {
        if layout::checked_numel(shape) != Some(values.len()) {
            bail!("from_slice", "{} values do not fill the shape {shape:?}", values.len());
        }
        let mut out = Output::<T>::new("from_slice", shape)?;
        out.slice_mut().copy_from_slice(values);
        Ok(out.into_tensor(shape))
    }

    /// A scalar (no dimensions) of the value's type.
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// let x = Tensor::scalar(2.5f32);
    /// assert!(x.shape().is_empty());
    /// assert_eq!(x.item()?, 2.5);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn scalar<T: Element>(value: T) -> Self {
        let mut out = Output::<T>::new("scalar", &[]).expect("four bytes can be had");
        out.slice_mut()[0] = value;
        out.into_tensor(&[])
    }

    // ---- for kernels ----

    pub(crate) fn cpu_storage(&self) -> &CpuStorage {
        self.storage.expect_cpu()
    }

    pub(crate) fn cpu_view<T: Element>(&self) -> View<'_, T> {
        View { data: self.cpu_storage().slice(), layout: &self.layout }
    }

    /// The matrix that a tensor of two dimensions is.
    pub(crate) fn cpu_mat<T: Element>(&self) -> Mat<'_, T> {
        let (data, layout) = (self.cpu_view::<T>().data, &self.layout);
        let data = &data[layout.offset.min(data.len())..];
        Mat { data, row: layout.strides[0], col: layout.strides[1] }
    }

    /// A matrix whose columns lie next to each other: itself, or a copy where they do not.
    pub(crate) fn unit_columns(&self) -> Result<Tensor> {
        if self.layout.strides[1] == 1 { Ok(self.clone()) } else { self.copy() }
    }

    /// The elements of a contiguous tensor.
    pub(crate) fn cpu_slice<T: Element>(&self) -> &[T] {
        assert!(self.is_contiguous());
        &self.cpu_storage().slice()[self.layout.offset..self.layout.offset + self.numel()]
    }

    /// The elements for writing, row-major. Copies first if the storage is shared or only partly
    /// this tensor's.
    pub(crate) fn cpu_slice_mut<T: Element>(&mut self, op: &'static str) -> Result<&mut [T]> {
        let numel = self.numel();
        let mine = Arc::get_mut(&mut self.storage);
        if !matches!(mine, Some(Storage::Cpu(_))) || !self.is_contiguous() {
            let mut out = Output::<T>::new(op, self.shape())?;
            strided::copy(out.slice_mut(), self.cpu_view::<T>());
            *self = out.into_tensor(&self.layout.shape);
        }
        let offset = self.layout.offset;
        match Arc::get_mut(&mut self.storage) {
            Some(Storage::Cpu(storage)) => {
                Ok(&mut storage.slice_mut::<T>()[offset..offset + numel])
            }
            _ => unreachable!("the storage was just made unique"),
        }
    }
}

impl<T: Element> Output<T> {
    /// The tensor of `shape` (whose number of elements is the output's).
    pub(crate) fn into_tensor(self, shape: &[usize]) -> Tensor {
        Tensor::from_storage(self.into_storage(), T::DTYPE, shape)
    }
}
