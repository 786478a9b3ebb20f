//! Masks: u8 tensors of zeros and ones.

use super::index::first_outside;
use super::reduce::ReduceOp;
use crate::{DType, Result, Tensor, bail};

impl Tensor {
    /// 1 where an element is NaN, else 0 (u8).
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// let x = Tensor::from_slice(&[1f32, f32::NAN, f32::INFINITY], &[3])?;
    /// assert_eq!(x.isnan()?.to_vec::<u8>()?, [0, 1, 0]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn isnan(&self) -> Result<Tensor> {
        self.ne(self)
    }

    /// 1 where an element is ∞ or −∞, else 0 (u8).
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// let x = Tensor::from_slice(&[1f32, f32::NAN, f32::NEG_INFINITY], &[3])?;
    /// assert_eq!(x.isinf()?.to_vec::<u8>()?, [0, 0, 1]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn isinf(&self) -> Result<Tensor> {
        if !self.dtype().is_float() {
            return Tensor::zeros_on(self.shape(), DType::U8, self.device());
        }
        self.eq(f64::INFINITY)?.logical_or(&self.eq(f64::NEG_INFINITY)?)
    }

    /// 1 where an element is 0, else 0 (u8).
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// let x = Tensor::from_slice(&[0f32, 0.5, -1.0], &[3])?;
    /// assert_eq!(x.logical_not()?.to_vec::<u8>()?, [1, 0, 0]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn logical_not(&self) -> Result<Tensor> {
        self.eq(0.0)
    }

    /// 1 where both elements differ from 0, else 0 (u8); broadcasts.
    ///
    /// ```
    /// use gradus_tensor::Tensor;
    ///
    /// let x = Tensor::from_slice(&[-1f32, 0.5, 2.0], &[3])?;
    /// let between = x.gt(0.0)?.logical_and(&x.lt(1.0)?)?;
    /// assert_eq!(between.to_vec::<u8>()?, [0, 1, 0]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn logical_and(&self, other: &Tensor) -> Result<Tensor> {
        self.ne(0.0)?.minimum(&other.ne(0.0)?)
    }

    /// 1 where an element of either differs from 0, else 0 (u8); broadcasts.
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// let x = Tensor::from_slice(&[-1f32, 0.5, 2.0], &[3])?;
    /// let outside = x.lt(0.0)?.logical_or(&x.gt(1.0)?)?;
    /// assert_eq!(outside.to_vec::<u8>()?, [1, 0, 1]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn logical_or(&self, other: &Tensor) -> Result<Tensor> {
        self.ne(0.0)?.maximum(&other.ne(0.0)?)
    }

    /// 1 where exactly one of the two elements differs from 0, else 0 (u8); broadcasts.
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// let a = Tensor::from_slice(&[0u8, 0, 1, 1], &[4])?;
    /// let b = Tensor::from_slice(&[0u8, 1, 0, 1], &[4])?;
    /// assert_eq!(a.logical_xor(&b)?.to_vec::<u8>()?, [0, 1, 1, 0]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn logical_xor(&self, other: &Tensor) -> Result<Tensor> {
        self.ne(0.0)?.ne(&other.ne(0.0)?)
    }

    /// 1 where any element along `dims` (all for an empty list) differs from 0, else 0 (u8). NaN
    /// differs from 0.
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// let x = Tensor::from_slice(&[0f32, 0.0, 0.0, 2.0], &[2, 2])?;
    /// assert_eq!(x.any(&[1], false)?.to_vec::<u8>()?, [0, 1]); // of each row
    /// assert_eq!(x.any(&[], false)?.item()?, 1.0);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn any(&self, dims: &[isize], keepdim: bool) -> Result<Tensor> {
        // The sum over no elements is 0: none differs.
        self.ne(0.0)?.reduce(ReduceOp::Sum, dims, keepdim)?.ne(0.0)
    }

    /// 1 where all elements along `dims` (all for an empty list) differ from 0, else 0 (u8); 1
    /// where there are none.
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// let x = Tensor::from_slice(&[0f32, 1.0, 2.0, 3.0], &[2, 2])?;
    /// assert_eq!(x.all(&[1], false)?.to_vec::<u8>()?, [0, 1]); // of each row
    /// assert_eq!(x.all(&[], false)?.item()?, 0.0);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn all(&self, dims: &[isize], keepdim: bool) -> Result<Tensor> {
        self.eq(0.0)?.any(dims, keepdim)?.logical_not()
    }

    /// For ids (u32) the rows of the identity matrix: a u8 tensor with one more dimension, of size
    /// `classes`, with 1 at the id and 0 elsewhere; as `F.one_hot`.
    ///
    /// ```
    /// use gradus_tensor::Tensor;
    ///
    /// let ids = Tensor::from_slice(&[2u32, 0], &[2])?;
    /// assert_eq!(ids.one_hot(3)?.to_vec::<u8>()?, [0, 0, 1, 1, 0, 0]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the ids are not u32, or one is not below `classes`.
    pub fn one_hot(&self, classes: usize) -> Result<Tensor> {
        if self.dtype() != DType::U32 {
            bail!("one_hot", "the ids are {}; they must be u32", self.dtype());
        }
        let ids = self.contiguous()?;
        if let Some((_, id)) = first_outside(&ids, classes)? {
            bail!("one_hot", "an id is {id}, there are {classes} classes");
        }
        let all = Tensor::arange(0.0, classes as f64, 1.0, DType::U32)?.to_device(self.device())?;
        ids.unsqueeze(-1)?.eq(&all)
    }
}
