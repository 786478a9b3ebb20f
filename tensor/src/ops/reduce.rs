//! Reductions over any dimensions: sum, mean, product, extrema, variance, log-sum-exp, arg-extrema.

use gradus_base::layout::{resolve_dim, resolve_dims};

use super::half::{in_f32, is_half};
use super::on_device;
use crate::{DType, Device, Result, Tensor, bail};
pub use gradus_base::op::reduce::ReduceOp;

/// `shape` after the reduction of `dims` (resolved).
fn reduced_shape(shape: &[usize], dims: &[usize], keepdim: bool) -> Vec<usize> {
    let sizes = shape.iter().enumerate();
    if keepdim {
        sizes.map(|(d, &s)| if dims.contains(&d) { 1 } else { s }).collect()
    } else {
        sizes.filter(|(d, _)| !dims.contains(d)).map(|(_, &s)| s).collect()
    }
}

impl Tensor {
    /// Reduces `dims` (negative count from the end; an empty list means all). With `keepdim` they
    /// stay with size 1, else the result lacks them.
    ///
    /// A GPU takes f16 too, and computes in f32.
    ///
    /// The order in which elements are combined depends on the shape alone, not on the strides or
    /// the number of threads.
    ///
    /// ```
    /// # use gradus_tensor::ops::reduce::ReduceOp;
    /// # use gradus_tensor::Tensor;
    /// let x = Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0], &[2, 2])?;
    /// assert_eq!(x.reduce(ReduceOp::Sum, &[0], false)?.to_string(), "[4. 6.]");
    /// assert_eq!(x.reduce(ReduceOp::Max, &[1], true)?.to_string(), "[[2.]\n [4.]]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn reduce(&self, op: ReduceOp, dims: &[isize], keepdim: bool) -> Result<Tensor> {
        let dtype = match (op, self.dtype()) {
            (ReduceOp::Sum | ReduceOp::Prod, DType::U8) => DType::U32,
            (_, dtype) => dtype,
        };
        self.reduced(op, dims, keepdim, dtype)
    }

    /// [`Tensor::reduce`] with a result in `dtype`.
    fn reduced(&self, op: ReduceOp, dims: &[isize], keepdim: bool, dtype: DType) -> Result<Tensor> {
        if is_half(self) {
            let sums = self.to_dtype(DType::F32)?.reduced(op, dims, keepdim, DType::F32)?;
            return sums.to_dtype(dtype);
        }
        let dims = resolve_dims(op.name(), dims, self.rank())?;
        let shape = reduced_shape(self.shape(), &dims, keepdim);
        let n: usize = dims.iter().map(|&d| self.shape()[d]).product();
        // GPUs reduce f16 too.
        if self.dtype() != DType::F16 || self.device() == Device::Cpu {
            op.check_dtype(self.dtype())?;
        }
        if n == 0 {
            return match op.of_nothing() {
                Some(value) => Tensor::full_on(&shape, value, dtype, self.device()),
                None => bail!(
                    op.name(),
                    Shape,
                    "dimensions {dims:?} of {:?} hold no elements, so there is none to choose",
                    self.shape()
                ),
            };
        }
        if self.numel() == 0 {
            return Tensor::zeros_on(&shape, dtype, self.device());
        }
        if n == 1 && !matches!(op, ReduceOp::Var { .. } | ReduceOp::LogSumExp) {
            return self.to_dtype(dtype)?.contiguous()?.reshape(&shape);
        }
        let flat = on_device!(op.name(), [self], reduce::forward(self, op, &dims, n))?;
        flat.to_dtype(dtype)?.reshape(&shape)
    }

    /// [`Tensor::sum`] with a result in `dtype` (`torch.sum(…, dtype=…)`): a GPU sums f16 in f32,
    /// and for `dtype` f32 the result is these sums, not rounded.
    ///
    /// ```
    /// # use gradus_tensor::{DType, Tensor};
    /// let x = Tensor::from_slice(&[1f32, 2.0], &[2])?;
    /// let sum = x.sum_in(&[], false, DType::F64)?;
    /// assert_eq!((sum.item()?, sum.dtype()), (3.0, DType::F64));
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn sum_in(&self, dims: &[isize], keepdim: bool, dtype: DType) -> Result<Tensor> {
        self.reduced(ReduceOp::Sum, dims, keepdim, dtype)
    }

    /// The sum over `dims` (empty: all). f32, f64, u32 (wraps around), u8 (into u32). Over no
    /// elements: 0.
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// let x = Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0], &[2, 2])?;
    /// assert_eq!(x.sum(&[0], false)?.to_string(), "[4. 6.]"); // down the columns
    /// assert_eq!(x.sum(&[1], false)?.to_string(), "[3. 7.]"); // along the rows
    /// assert_eq!(x.sum(&[1], true)?.to_string(), "[[3.]\n [7.]]");
    /// let mask = Tensor::from_slice(&[200u8, 100], &[2])?;
    /// assert_eq!(mask.sum(&[], false)?.to_vec::<u32>()?, [300]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn sum(&self, dims: &[isize], keepdim: bool) -> Result<Tensor> {
        self.reduce(ReduceOp::Sum, dims, keepdim)
    }

    /// The product over `dims` (empty: all). dtypes as for [`Tensor::sum`]. Over no elements: 1.
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// let x = Tensor::from_slice(&[2f32, 3.0, 4.0], &[3])?;
    /// assert_eq!(x.prod(&[0], false)?.item()?, 24.0);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn prod(&self, dims: &[isize], keepdim: bool) -> Result<Tensor> {
        self.reduce(ReduceOp::Prod, dims, keepdim)
    }

    /// The mean over `dims` (empty: all); f32 and f64. Over no elements: NaN.
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// let x = Tensor::from_slice(&[1f32, 2.0, 3.0, 6.0], &[2, 2])?;
    /// assert_eq!(x.mean(&[-1], false)?.to_string(), "[1.5 4.5]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn mean(&self, dims: &[isize], keepdim: bool) -> Result<Tensor> {
        self.reduce(ReduceOp::Mean, dims, keepdim)
    }

    /// The largest element over `dims` (empty: all); NaN if any is NaN. f32, f64, u32, u8. Over no
    /// elements: an error. (PyTorch's `amax`.)
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// let x = Tensor::from_slice(&[1f32, 7.0, 3.0, 2.0], &[2, 2])?;
    /// assert_eq!(x.max(&[1], false)?.to_string(), "[7. 3.]"); // of each row
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn max(&self, dims: &[isize], keepdim: bool) -> Result<Tensor> {
        self.reduce(ReduceOp::Max, dims, keepdim)
    }

    /// The smallest element over `dims` (empty: all); NaN if any is NaN. f32, f64, u32, u8. Over no
    /// elements: an error. (PyTorch's `amin`.)
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// let x = Tensor::from_slice(&[1f32, 7.0, 3.0, 2.0], &[2, 2])?;
    /// assert_eq!(x.min(&[0], false)?.to_string(), "[1. 2.]"); // of each column
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn min(&self, dims: &[isize], keepdim: bool) -> Result<Tensor> {
        self.reduce(ReduceOp::Min, dims, keepdim)
    }

    /// The variance over `dims` (empty: all), Σ(x − mean)² / (n − correction), in two passes; f32
    /// and f64. NaN (or ∞) where `correction ≥ n`, as PyTorch.
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// let x = Tensor::from_slice(&[1f32, 3.0], &[2])?;
    /// assert_eq!(x.var(&[0], false, 0)?.item()?, 1.0); // (1 + 1)/2
    /// assert_eq!(x.var(&[0], false, 1)?.item()?, 2.0); // (1 + 1)/(2 − 1)
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn var(&self, dims: &[isize], keepdim: bool, correction: usize) -> Result<Tensor> {
        self.reduce(ReduceOp::Var { correction }, dims, keepdim)
    }

    /// ln Σeˣ over `dims` (empty: all), without overflow; f32 and f64. All −∞, or no elements: −∞;
    /// any +∞: +∞ (unless there is a NaN).
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// let x = Tensor::from_slice(&[1000f32, 1000.0], &[2])?;
    /// let y = x.logsumexp(&[0], false)?.item()?;
    /// assert!((y - 1000.6931).abs() < 1e-3); // 1000 + ln 2, though e¹⁰⁰⁰ is infinite
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn logsumexp(&self, dims: &[isize], keepdim: bool) -> Result<Tensor> {
        self.reduce(ReduceOp::LogSumExp, dims, keepdim)
    }

    /// The sum of all elements, a scalar.
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// let x = Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0], &[2, 2])?;
    /// assert_eq!(x.sum_all()?.item()?, 10.0);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn sum_all(&self) -> Result<Tensor> {
        self.sum(&[], false)
    }

    /// The mean of all elements, a scalar.
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// let x = Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0], &[2, 2])?;
    /// assert_eq!(x.mean_all()?.item()?, 2.5);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn mean_all(&self) -> Result<Tensor> {
        self.mean(&[], false)
    }

    /// Undoes broadcasting: sums what [`Tensor::broadcast_to`] would repeat to get from `shape` to
    /// this shape. Itself (no copy) if the shapes are equal.
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// let x = Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0], &[2, 2])?;
    /// assert_eq!(x.sum_to(&[2])?.to_string(), "[4. 6.]");
    /// assert_eq!(x.sum_to(&[2, 1])?.to_string(), "[[3.]\n [7.]]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn sum_to(&self, shape: &[usize]) -> Result<Tensor> {
        let from = self.shape();
        if from == shape {
            return Ok(self.clone());
        }
        let Some(lead) = from.len().checked_sub(shape.len()) else {
            bail!("sum_to", Shape, "{from:?} has fewer dimensions than {shape:?}");
        };
        let mut dims: Vec<isize> = (0..lead as isize).collect();
        for (d, (&have, &want)) in from[lead..].iter().zip(shape).enumerate() {
            match (have, want) {
                (have, want) if have == want => {}
                (_, 1) => dims.push((lead + d) as isize),
                _ => {
                    bail!(
                        "sum_to",
                        Shape,
                        "{shape:?} does not broadcast to {from:?}, so nothing to undo"
                    )
                }
            }
        }
        self.sum(&dims, true)?.reshape(shape)
    }

    /// The index (u32) of the largest element along `dim`: the first of equals; a NaN counts as the
    /// largest. f32, f64, u32, u8.
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// let x = Tensor::from_slice(&[1f32, 7.0, 7.0, 9.0, 2.0, 3.0], &[2, 3])?;
    /// assert_eq!(x.argmax(1, false)?.to_vec::<u32>()?, [1, 0]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn argmax(&self, dim: isize, keepdim: bool) -> Result<Tensor> {
        self.arg_extremum("argmax", dim, keepdim, true)
    }

    /// The index (u32) of the smallest element along `dim`: the first of equals; a NaN counts as
    /// the smallest (as in PyTorch, and as [`Tensor::min`] propagates it). f32, f64, u32, u8.
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// let x = Tensor::from_slice(&[1f32, 7.0, 7.0, 9.0, 2.0, 3.0], &[2, 3])?;
    /// assert_eq!(x.argmin(1, false)?.to_vec::<u32>()?, [0, 1]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn argmin(&self, dim: isize, keepdim: bool) -> Result<Tensor> {
        self.arg_extremum("argmin", dim, keepdim, false)
    }

    fn arg_extremum(
        &self,
        op: &'static str,
        dim: isize,
        keepdim: bool,
        largest: bool,
    ) -> Result<Tensor> {
        let d = resolve_dim(op, dim, self.rank())?;
        let shape = reduced_shape(self.shape(), &[d], keepdim);
        let n = self.shape()[d];
        if n == 0 || n > u32::MAX as usize {
            bail!(
                op,
                Shape,
                "dimension {d} of {:?} needs 1 to {} elements",
                self.shape(),
                u32::MAX
            );
        }
        let last = (0..self.rank()).filter(|&i| i != d).chain([d]).map(|i| i as isize);
        let rows = self.permute(&last.collect::<Vec<_>>())?;
        let found =
            in_f32([&rows], |[x]| on_device!(op, [x], reduce::arg_extremum(op, x, largest)));
        found?.reshape(&shape)
    }
}
