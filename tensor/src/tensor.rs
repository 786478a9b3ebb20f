//! The tensor: a view into a shared storage.

use std::sync::Arc;

use gradus_base::Element;
use gradus_base::layout::{self, Layout};
use gradus_cpu as cpu;
use gradus_cpu::Output;
use gradus_gpu as gpu;

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
    pub(crate) storage: Storage,
    pub(crate) layout: Layout,
    pub(crate) dtype: DType,
}

impl Tensor {
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
        self.storage.device()
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
        self.storage.is(&other.storage)
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
    pub(crate) fn from_array(array: cpu::Array) -> Self {
        let (storage, dtype, layout) = array.into_parts();
        Tensor { storage: Storage::Cpu(Arc::new(storage)), layout, dtype }
    }

    /// What a GPU's launch returned.
    pub(crate) fn from_gpu(array: gpu::Array) -> Self {
        let (storage, dtype, layout) = array.into_parts();
        Tensor { storage: Storage::Gpu(storage), layout, dtype }
    }

    /// What a CPU kernel reads.
    pub(crate) fn cpu(&self) -> cpu::View<'_> {
        match &self.storage {
            Storage::Cpu(storage) => cpu::View::new(storage, self.dtype, &self.layout),
            Storage::Gpu(_) => unreachable!("a CPU kernel got a tensor of a GPU"),
        }
    }

    /// What a GPU's launch reads.
    pub(crate) fn gpu(&self) -> gpu::View<'_> {
        match &self.storage {
            Storage::Gpu(storage) => gpu::View::new(storage, self.dtype, &self.layout),
            Storage::Cpu(_) => unreachable!("a launch on a GPU got a tensor of the CPU"),
        }
    }

    /// What a CPU kernel writes: all elements, row-major. Copies them first if the storage is
    /// shared, or the elements do not lie so.
    pub(crate) fn cpu_mut(&mut self, op: &'static str) -> Result<cpu::ViewMut<'_>> {
        if !self.is_sole_user() || !self.is_contiguous() {
            *self = Tensor::from_array(self.cpu().copy(op)?);
        }
        match &mut self.storage {
            Storage::Cpu(storage) => Ok(cpu::ViewMut::new(sole(storage), self.dtype, &self.layout)),
            Storage::Gpu(_) => unreachable!("a CPU kernel got a tensor of a GPU"),
        }
    }

    /// What a GPU's launch writes: all elements, row-major from the storage's first on. Copies them
    /// first if the storage is shared, or the elements do not lie so.
    pub(crate) fn gpu_mut(&mut self, op: &'static str) -> Result<gpu::ViewMut<'_>> {
        if !self.is_sole_user() || !self.is_contiguous() || self.layout.offset != 0 {
            *self = Tensor::from_gpu(self.gpu().copy(op)?);
        }
        match &mut self.storage {
            Storage::Gpu(storage) => Ok(gpu::ViewMut::new(sole(storage), self.dtype, &self.layout)),
            Storage::Cpu(_) => unreachable!("a launch on a GPU got a tensor of the CPU"),
        }
    }

    fn is_sole_user(&mut self) -> bool {
        match &mut self.storage {
            Storage::Cpu(storage) => Arc::get_mut(storage).is_some(),
            Storage::Gpu(storage) => Arc::get_mut(storage).is_some(),
        }
    }
}

/// The storage, which has one user.
fn sole<T>(storage: &mut Arc<T>) -> &mut T {
    Arc::get_mut(storage).expect("the storage was just copied if it was shared")
}
