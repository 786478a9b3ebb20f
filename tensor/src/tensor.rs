//! The tensor: a view into a shared storage.

use std::sync::Arc;

use crate::cpu::strided::{self, View};
use crate::device::common;
use crate::dtype::{Element, dispatch_any};
use crate::layout::{self, Layout};
use crate::profile::Span;
use crate::storage::{CpuStorage, Output, Storage};
use crate::{DType, Device, Result, bail, gpu, sizes};

/// An n-dimensional array: a reference-counted storage, a layout, a dtype and a device.
///
/// Cloning and viewing (`transpose`, `narrow`, `reshape` where it can, `broadcast_to`) copy
/// nothing. A tensor's values change only through the `*_` methods (`add_`, `copy_`, the
/// optimiser steps), which take `&mut self` and copy the storage first if anyone else still uses
/// it: nobody ever sees another's tensor change.
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
    pub fn is_contiguous(&self) -> bool {
        self.layout.is_contiguous()
    }

    /// Whether both tensors are views of one storage.
    pub fn shares_storage(&self, other: &Tensor) -> bool {
        Arc::ptr_eq(&self.storage, &other.storage)
    }

    // ---- making one ----

    /// A tensor of `shape` from values in row-major order.
    pub fn from_slice<T: Element>(values: &[T], shape: &[usize]) -> Result<Self> {
        if layout::checked_numel(shape) != Some(values.len()) {
            bail!("from_slice", "{} values do not fill the shape {shape:?}", values.len());
        }
        let mut out = Output::<T>::new("from_slice", shape)?;
        out.slice_mut().copy_from_slice(values);
        Ok(out.into_tensor(shape))
    }

    /// A tensor of `shape` from values in row-major order, on `device`.
    pub fn from_slice_on<T: Element>(
        values: &[T],
        shape: &[usize],
        device: Device,
    ) -> Result<Self> {
        Self::from_slice(values, shape)?.to_device(device)
    }

    /// A scalar (no dimensions) of the value's type.
    pub fn scalar<T: Element>(value: T) -> Self {
        let mut out = Output::<T>::new("scalar", &[]).expect("four bytes can be had");
        out.slice_mut()[0] = value;
        out.into_tensor(&[])
    }

    /// A tensor filled with one value, converted to `dtype`.
    pub fn full(shape: &[usize], value: f64, dtype: DType) -> Result<Self> {
        dispatch_any!(dtype, full_of::<T>(shape, value))
    }

    /// A tensor filled with one value, on `device`.
    pub fn full_on(shape: &[usize], value: f64, dtype: DType, device: Device) -> Result<Self> {
        match device {
            Device::Cpu => Self::full(shape, value, dtype),
            Device::Gpu(index) => {
                gpu::copy::full("full", gpu::gpu("full", index)?, shape, value, dtype)
            }
        }
    }

    /// A tensor of zeros, on `device`.
    pub fn zeros_on(shape: &[usize], dtype: DType, device: Device) -> Result<Self> {
        Self::full_on(shape, 0.0, dtype, device)
    }

    /// A tensor of zeros.
    pub fn zeros(shape: &[usize], dtype: DType) -> Result<Self> {
        Self::full(shape, 0.0, dtype)
    }

    /// A tensor of ones.
    pub fn ones(shape: &[usize], dtype: DType) -> Result<Self> {
        Self::full(shape, 1.0, dtype)
    }

    /// Zeros of this tensor's shape and dtype, on its device.
    pub fn zeros_like(&self) -> Result<Self> {
        Self::full_on(self.shape(), 0.0, self.dtype, self.device())
    }

    /// Ones of this tensor's shape and dtype, on its device.
    pub fn ones_like(&self) -> Result<Self> {
        Self::full_on(self.shape(), 1.0, self.dtype, self.device())
    }

    /// A scalar of this tensor's dtype, on its device.
    ///
    /// # Errors
    /// If the dtype is an integer that does not hold the value.
    pub fn scalar_like(&self, value: f64) -> Result<Self> {
        if !self.dtype.holds(value) {
            bail!("scalar_like", "{} does not hold {value}; convert with to_dtype", self.dtype);
        }
        Self::full_on(&[], value, self.dtype, self.device())
    }

    /// `start, start + step, …` below `end` (above it for a negative step).
    pub fn arange(start: f64, end: f64, step: f64, dtype: DType) -> Result<Self> {
        let count = ((end - start) / step).ceil();
        if step == 0.0 || !count.is_finite() || count > 1e15 {
            bail!("arange", "from {start} to {end} by {step} is no finite range");
        }
        let count = count.max(0.0) as usize;
        dispatch_any!(dtype, list_of::<T>("arange", count, |i| start + i as f64 * step))
    }

    /// `steps` values evenly spaced from `start` to `end`, both included.
    pub fn linspace(start: f64, end: f64, steps: usize, dtype: DType) -> Result<Self> {
        let last = steps.saturating_sub(1).max(1) as f64;
        let value = |i: usize| start + (end - start) * (i as f64 / last);
        dispatch_any!(dtype, list_of::<T>("linspace", steps, value))
    }

    /// The identity matrix of size `n`.
    pub fn eye(n: usize, dtype: DType) -> Result<Self> {
        dispatch_any!(dtype, eye_of::<T>(n))
    }

    // ---- reading it ----

    /// All values in row-major order. `T` must be the tensor's dtype. On a GPU it waits for everything
    /// asked so far (but for uploaded ids, whose original is kept).
    pub fn to_vec<T: Element>(&self) -> Result<Vec<T>> {
        if T::DTYPE != self.dtype {
            bail!(
                "to_vec",
                "the tensor is {}, not {}; convert with to_dtype",
                self.dtype,
                T::DTYPE
            );
        }
        if self.device() != Device::Cpu {
            return gpu::storage::download("to_vec", self)?.to_vec();
        }
        let view = self.cpu_view::<T>();
        let mut values = sizes::list("to_vec", self.numel())?;
        if self.is_contiguous() {
            let start = self.layout.offset;
            values.extend_from_slice(&view.data[start..start + self.numel()]);
        } else {
            values.extend(self.layout.positions().map(|p| view.data[p]));
        }
        Ok(values)
    }

    /// All values in row-major order, widened to f64.
    ///
    /// # Panics
    /// If the tensor is on a GPU that fails, or is a view of more elements than fit in memory; move it with
    /// `to_device` first, or use [`to_vec`](Tensor::to_vec), to get an error instead.
    pub fn to_f64_vec(&self) -> Vec<f64> {
        if self.device() != Device::Cpu {
            let here = self.to_device(Device::Cpu).unwrap_or_else(|error| panic!("{error}"));
            return here.to_f64_vec();
        }
        let values = dispatch_any!(self.dtype, widened::<T>(self));
        values.unwrap_or_else(|error| panic!("{error}"))
    }

    /// The value of a tensor of one element, widened to f64.
    pub fn item(&self) -> Result<f64> {
        if self.numel() != 1 {
            bail!(
                "item",
                "needs one element, the shape is {:?}; index or reduce first",
                self.shape()
            );
        }
        Ok(self.to_device(Device::Cpu)?.to_f64_vec()[0])
    }

    // ---- copies and conversions ----

    /// This tensor in row-major order; itself if it already is.
    pub fn contiguous(&self) -> Result<Self> {
        if self.is_contiguous() { Ok(self.clone()) } else { self.copy() }
    }

    /// A copy with a storage of its own, in row-major order.
    pub fn copy(&self) -> Result<Self> {
        let span = Span::begin("copy", self.device(), &[self]);
        let copied = self.copied();
        span.end(&copied);
        copied
    }

    fn copied(&self) -> Result<Self> {
        if self.device() != Device::Cpu {
            return gpu::copy::copy("copy", self);
        }
        dispatch_any!(self.dtype, copy_of::<T>(self))
    }

    /// The same values in another dtype. Floats are rounded to the nearest, ties to even; beyond the largest they become
    /// infinite. Integers are cut towards 0 and end at their range's ends: −1 and −∞ become 0, ∞ the largest; NaN becomes
    /// 0. (PyTorch leaves these conversions to the platform.) A GPU may make 0 of a subnormal number.
    pub fn to_dtype(&self, dtype: DType) -> Result<Self> {
        if dtype == self.dtype {
            return Ok(self.clone());
        }
        if self.device() != Device::Cpu {
            return gpu::copy::convert("to_dtype", self, dtype);
        }
        dispatch_any!(self.dtype, convert_from::<T>(self, dtype))
    }

    /// As [`to_dtype`](Tensor::to_dtype), of a tensor that is converted again and again: a GPU keeps the
    /// result beside the values until they change. So a weight is converted once a step, however often it
    /// is used.
    pub fn to_dtype_kept(&self, dtype: DType) -> Result<Self> {
        match self.device() {
            Device::Gpu(_) if dtype != self.dtype => {
                gpu::storage::convert_kept("to_dtype", self, dtype)
            }
            _ => self.to_dtype(dtype),
        }
    }

    /// This tensor on `device`; itself if it is there already. From a GPU it waits for everything asked
    /// so far (but for uploaded ids, whose original is kept). GPUs hold f32, f16, u32 and u8.
    pub fn to_device(&self, device: Device) -> Result<Self> {
        match (self.device(), device) {
            (from, to) if from == to => Ok(self.clone()),
            (Device::Cpu, Device::Gpu(index)) => {
                gpu::storage::upload("to_device", self, gpu::gpu("to_device", index)?)
            }
            (_, Device::Cpu) => gpu::storage::download("to_device", self),
            (Device::Gpu(_), Device::Gpu(_)) => self.to_device(Device::Cpu)?.to_device(device),
        }
    }

    /// Overwrites the values with those of `source`, which must have this shape and dtype.
    pub fn copy_(&mut self, source: &Tensor) -> Result<()> {
        if source.shape() != self.shape() || source.dtype != self.dtype {
            bail!(
                "copy_",
                "source is {:?} {}, destination {:?} {}; both must match",
                source.shape(),
                source.dtype,
                self.shape(),
                self.dtype
            );
        }
        if common("copy_", &[self, source])? != Device::Cpu {
            return gpu::copy::copy_(self, source);
        }
        dispatch_any!(self.dtype, overwrite::<T>(self, source))
    }

    // ---- for kernels ----

    pub(crate) fn cpu_storage(&self) -> &CpuStorage {
        gpu::storage::expect_cpu(&self.storage)
    }

    pub(crate) fn cpu_view<T: Element>(&self) -> View<'_, T> {
        View { data: self.cpu_storage().slice(), layout: &self.layout }
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

fn full_of<T: Element>(shape: &[usize], value: f64) -> Result<Tensor> {
    Ok(Output::<T>::filled("full", shape, T::from_f64(value))?.into_tensor(shape))
}

/// `[value(0), value(1), …]`
fn list_of<T: Element>(
    op: &'static str,
    count: usize,
    value: impl Fn(usize) -> f64,
) -> Result<Tensor> {
    let mut out = Output::<T>::new(op, &[count])?;
    for (i, x) in out.slice_mut().iter_mut().enumerate() {
        *x = T::from_f64(value(i));
    }
    Ok(out.into_tensor(&[count]))
}

fn eye_of<T: Element>(n: usize) -> Result<Tensor> {
    let mut out = Output::<T>::filled("full", &[n, n], T::from_f64(0.0))?;
    let diagonal = out.slice_mut().iter_mut().step_by(n + 1);
    diagonal.for_each(|x| *x = T::from_f64(1.0));
    Ok(out.into_tensor(&[n, n]))
}

fn widened<T: Element>(x: &Tensor) -> Result<Vec<f64>> {
    let data = x.cpu_view::<T>().data;
    let mut values = sizes::list("to_f64_vec", x.numel())?;
    values.extend(x.layout.positions().map(|p| data[p].to_f64()));
    Ok(values)
}

fn copy_of<T: Element>(x: &Tensor) -> Result<Tensor> {
    let mut out = Output::<T>::new("copy", x.shape())?;
    strided::copy(out.slice_mut(), x.cpu_view::<T>());
    Ok(out.into_tensor(x.shape()))
}

fn overwrite<T: Element>(x: &mut Tensor, source: &Tensor) -> Result<()> {
    strided::copy(x.cpu_slice_mut::<T>("copy_")?, source.cpu_view::<T>());
    Ok(())
}

fn convert_from<A: Element>(x: &Tensor, dtype: DType) -> Result<Tensor> {
    dispatch_any!(dtype, convert::<A, T>(x))
}

fn convert<A: Element, R: Element>(x: &Tensor) -> Result<Tensor> {
    let mut out = Output::<R>::new("to_dtype", x.shape())?;
    let view = x.cpu_view::<A>();
    strided::map1::<false, _, _>(out.slice_mut(), view, 1.0, |x| R::from_f64(x.to_f64()));
    Ok(out.into_tensor(x.shape()))
}
