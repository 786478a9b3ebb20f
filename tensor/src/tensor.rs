//! The tensor: a view into a shared storage.

use std::sync::Arc;

use gradus_base::Element;
use gradus_base::layout::{self, Layout};
use gradus_cpu::{Array, Output, View, ViewMut};

use crate::storage::Storage;
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
            bail!("from_slice", Shape, "{} values do not fill the shape {shape:?}", values.len());
        }
        let mut out = Output::<T>::new("from_slice", shape)?;
        out.slice_mut().copy_from_slice(values);
        Ok(Tensor::from_array(out.into_array(shape)))
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
        Tensor::from_array(out.into_array(&[]))
    }

    // ---- for kernels ----

    /// What a CPU kernel returned.
    pub(crate) fn from_array(array: Array) -> Self {
        let (storage, dtype, layout) = array.into_parts();
        Tensor { storage: Arc::new(Storage::Cpu(storage)), layout, dtype }
    }

    /// What a CPU kernel reads.
    pub(crate) fn cpu(&self) -> View<'_> {
        View::new(self.storage.expect_cpu(), self.dtype, &self.layout)
    }

    /// What a CPU kernel writes: all elements, row-major. Copies them first if the storage is
    /// shared, or the elements do not lie so.
    pub(crate) fn cpu_mut(&mut self, op: &'static str) -> Result<ViewMut<'_>> {
        if Arc::get_mut(&mut self.storage).is_none() || !self.is_contiguous() {
            *self = Tensor::from_array(self.cpu().copy(op)?);
        }
        match Arc::get_mut(&mut self.storage) {
            Some(Storage::Cpu(storage)) => Ok(ViewMut::new(storage, self.dtype, &self.layout)),
            _ => unreachable!("the storage was just made unique"),
        }
    }
}
