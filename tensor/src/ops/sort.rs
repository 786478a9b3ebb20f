//! Sorting, and the largest or smallest entries.

use gradus_base::layout::resolve_dim;

use super::on_device;
use crate::{Result, Tensor, bail};

impl Tensor {
    /// The values sorted along `dim`, and the indices (u32) they had. Stable: equal values keep
    /// their order. NaN counts as larger than everything, as in PyTorch, and −0 equals 0. The
    /// results are views with `dim` moved, not always row-major. A scalar is sorted already.
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// let x = Tensor::from_slice(&[3f32, 1.0, 2.0], &[3])?;
    /// let (values, indices) = x.sort(0, false)?;
    /// assert_eq!(values.to_string(), "[1. 2. 3.]");
    /// assert_eq!(indices.to_vec::<u32>()?, [1, 2, 0]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn sort(&self, dim: isize, descending: bool) -> Result<(Tensor, Tensor)> {
        self.sorted("sort", dim, None, descending)
    }

    /// The indices (u32) that sort the values along `dim`; see [`Tensor::sort`].
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// let x = Tensor::from_slice(&[3f32, 1.0, 2.0], &[3])?;
    /// assert_eq!(x.argsort(0, true)?.to_vec::<u32>()?, [0, 2, 1]); // descending
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn argsort(&self, dim: isize, descending: bool) -> Result<Tensor> {
        Ok(self.sorted("argsort", dim, None, descending)?.1)
    }

    /// The `k` largest (or smallest) values along `dim`, best first, and their indices (u32). Among
    /// equal values the lower index comes first. NaN counts as larger than everything.
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// let x = Tensor::from_slice(&[3f32, 1.0, 2.0], &[3])?;
    /// let (values, indices) = x.topk(2, 0, true)?;
    /// assert_eq!(values.to_string(), "[3. 2.]");
    /// assert_eq!(indices.to_vec::<u32>()?, [0, 2]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn topk(&self, k: usize, dim: isize, largest: bool) -> Result<(Tensor, Tensor)> {
        self.sorted("topk", dim, Some(k), largest)
    }

    fn sorted(
        &self,
        op: &'static str,
        dim: isize,
        k: Option<usize>,
        descending: bool,
    ) -> Result<(Tensor, Tensor)> {
        let line = if self.rank() == 0 { self.unsqueeze(0)? } else { self.clone() };
        let d = resolve_dim(op, dim, line.rank())?;
        let n = line.shape()[d];
        let k = k.unwrap_or(n);
        if k > n {
            bail!(
                op,
                "{k} of the {n} entries of dimension {d} of {:?}; ask for fewer",
                self.shape()
            );
        }
        if n > u32::MAX as usize {
            bail!(op, "{n} entries are too many for u32 indices");
        }
        let last = line.rank() as isize - 1;
        let moved = line.transpose(d as isize, last)?;
        let (values, indices) = on_device!(op, [self], sort::sorted(op, &moved, k, descending))?;
        if self.rank() == 0 && k == 1 {
            return Ok((values.squeeze(0)?, indices.squeeze(0)?));
        }
        Ok((values.transpose(d as isize, last)?, indices.transpose(d as isize, last)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DType, RngKey};

    #[test]
    fn nan_is_largest_and_ties_keep_their_order() {
        let x = [f32::NAN, -0.0, 0.0, f32::INFINITY, f32::NEG_INFINITY, -1.0, -f32::NAN, 0.0];
        let t = Tensor::from_slice(&x, &[8]).unwrap();
        let order = |t: Tensor| t.to_vec::<u32>().unwrap();
        assert_eq!(order(t.argsort(0, false).unwrap()), [4, 5, 1, 2, 7, 3, 0, 6]);
        assert_eq!(order(t.argsort(0, true).unwrap()), [0, 6, 3, 1, 2, 7, 5, 4]);
        let (values, indices) = t.topk(4, 0, true).unwrap();
        assert_eq!(order(indices), [0, 6, 3, 1]);
        let values = values.to_vec::<f32>().unwrap();
        assert!(values[0].is_nan() && values[3] == 0.0 && values[3].is_sign_negative());
        assert_eq!(order(t.topk(2, 0, false).unwrap().1), [4, 5]);
        for dtype in [DType::F16, DType::BF16, DType::F64] {
            let order = order(t.to_dtype(dtype).unwrap().argsort(0, false).unwrap());
            assert_eq!(order, [4, 5, 1, 2, 7, 3, 0, 6], "{dtype}");
        }
    }

    #[test]
    fn many_and_few_agree_with_a_full_sort() {
        let x = Tensor::randint(0, 50, &[1000], RngKey::new(1)).unwrap();
        let all = x.argsort(0, true).unwrap().to_vec::<u32>().unwrap();
        for k in [0, 1, 31, 32, 33, 500, 1000] {
            let (values, indices) = x.topk(k, 0, true).unwrap();
            assert_eq!(indices.to_vec::<u32>().unwrap(), all[..k], "k = {k}");
            assert_eq!(values.to_f64_vec(), x.index_select(0, &indices).unwrap().to_f64_vec());
        }
    }

    #[test]
    fn sorts_any_dimension_and_refuses_too_many() {
        let x = Tensor::from_slice(&[3u8, 1, 2, 2, 9, 0], &[3, 2]).unwrap();
        let (values, indices) = x.sort(0, false).unwrap();
        assert_eq!(values.to_f64_vec(), [2., 0., 3., 1., 9., 2.]);
        assert_eq!(indices.to_f64_vec(), [1., 2., 0., 0., 2., 1.]);
        assert_eq!(x.topk(1, 0, true).unwrap().0.shape(), &[1, 2]);
        assert_eq!(x.narrow(0, 0, 0).unwrap().sort(0, true).unwrap().0.shape(), &[0, 2]);
        assert_eq!(Tensor::scalar(5f32).sort(0, true).unwrap().1.shape(), &[] as &[usize]);
        assert!(x.topk(4, 0, true).is_err() && x.sort(2, true).is_err());
    }
}
