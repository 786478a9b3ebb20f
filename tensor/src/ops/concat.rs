//! Joining tensors, cutting them, padding, repeating, reversing.

use gradus_base::layout::{Layout, resolve_dim, resolve_dims};
use gradus_base::sizes;

use super::on_device;
use crate::{Result, Tensor, bail};

impl Tensor {
    /// Joins tensors end to end along `dim`. All must have one dtype and equal sizes in the other
    /// dimensions; the size along `dim` is the sum of theirs (0 is allowed).
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// let a = Tensor::from_slice(&[1f32, 2.0], &[1, 2])?;
    /// let b = Tensor::from_slice(&[3f32, 4.0], &[1, 2])?;
    /// assert_eq!(Tensor::cat(&[&a, &b], 0)?.to_string(), "[[1. 2.]\n [3. 4.]]");
    /// assert_eq!(Tensor::cat(&[&a, &b], 1)?.to_string(), "[[1. 2. 3. 4.]]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn cat(tensors: &[&Tensor], dim: isize) -> Result<Tensor> {
        let Some(first) = tensors.first() else {
            bail!("cat", "no tensors to join; give one or more");
        };
        let d = resolve_dim("cat", dim, first.rank())?;
        let mut shape = first.shape().to_vec();
        for (i, tensor) in tensors.iter().enumerate().skip(1) {
            if tensor.dtype() != first.dtype() {
                bail!(
                    "cat",
                    "dtypes differ: tensor 0 is {}, tensor {i} {}; convert one with to_dtype",
                    first.dtype(),
                    tensor.dtype()
                );
            }
            let fits = tensor.rank() == first.rank()
                && (0..shape.len()).all(|e| e == d || tensor.shape()[e] == shape[e]);
            if !fits {
                bail!(
                    "cat",
                    "shapes differ: tensor 0 is {:?}, tensor {i} {:?}; all sizes but that of \
                     dimension {d} must be equal",
                    first.shape(),
                    tensor.shape()
                );
            }
            shape[d] = shape[d].saturating_add(tensor.shape()[d]);
        }
        let operands: Vec<&[usize]> = tensors.iter().map(|t| t.shape()).collect();
        sizes::result("cat", &shape, &operands)?;
        on_device!("cat", tensors; concat::cat("cat", tensors, d, &shape))
    }

    /// Joins tensors of one shape along a new dimension at `dim` (negative counts from the end of
    /// the result).
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// let a = Tensor::from_slice(&[1f32, 2.0], &[2])?;
    /// let b = Tensor::from_slice(&[3f32, 4.0], &[2])?;
    /// assert_eq!(Tensor::stack(&[&a, &b], 0)?.to_string(), "[[1. 2.]\n [3. 4.]]");
    /// assert_eq!(Tensor::stack(&[&a, &b], 1)?.to_string(), "[[1. 3.]\n [2. 4.]]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn stack(tensors: &[&Tensor], dim: isize) -> Result<Tensor> {
        let Some(first) = tensors.first() else {
            bail!("stack", "no tensors to join; give one or more");
        };
        for (i, tensor) in tensors.iter().enumerate() {
            if tensor.shape() != first.shape() || tensor.dtype() != first.dtype() {
                bail!(
                    "stack",
                    "tensor 0 is {:?} {}, tensor {i} {:?} {}; all must be equal",
                    first.shape(),
                    first.dtype(),
                    tensor.shape(),
                    tensor.dtype()
                );
            }
        }
        let d = resolve_dim("stack", dim, first.rank() + 1)?;
        let views: Vec<Tensor> =
            tensors.iter().map(|t| t.unsqueeze(d as isize)).collect::<Result<_>>()?;
        Tensor::cat(&views.iter().collect::<Vec<_>>(), d as isize)
    }

    /// Views of `size` entries each along `dim`; the last may have fewer. A dimension of size 0
    /// gives one empty view.
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// let pieces = Tensor::from_slice(&[1f32, 2.0, 3.0], &[3])?.split(2, 0)?;
    /// assert_eq!(pieces[0].to_string(), "[1. 2.]");
    /// assert_eq!(pieces[1].to_string(), "[3.]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn split(&self, size: usize, dim: isize) -> Result<Vec<Tensor>> {
        let d = resolve_dim("split", dim, self.rank())?;
        let total = self.shape()[d];
        if size == 0 && total > 0 {
            bail!("split", "pieces of size 0 never fill dimension {d} of {:?}", self.shape());
        }
        let size = size.max(1);
        let mut pieces = sizes::list("split", total.div_ceil(size).max(1))?;
        for start in (0..total.max(1)).step_by(size) {
            pieces.push(self.narrow(d as isize, start, size.min(total - start))?);
        }
        Ok(pieces)
    }

    /// Views of the given sizes along `dim`, which must add up to its size.
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// let pieces = Tensor::from_slice(&[1f32, 2.0, 3.0], &[3])?.split_with_sizes(&[1, 2], 0)?;
    /// assert_eq!(pieces[0].to_string(), "[1.]");
    /// assert_eq!(pieces[1].to_string(), "[2. 3.]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn split_with_sizes(&self, sizes: &[usize], dim: isize) -> Result<Vec<Tensor>> {
        let d = resolve_dim("split_with_sizes", dim, self.rank())?;
        let total = sizes.iter().try_fold(0usize, |sum, &s| sum.checked_add(s));
        if total != Some(self.shape()[d]) {
            bail!(
                "split_with_sizes",
                "the sizes {sizes:?} do not add up to {}, the size of dimension {d} of {:?}",
                self.shape()[d],
                self.shape()
            );
        }
        let mut start = 0;
        let piece = |&size: &usize| {
            let piece = self.narrow(d as isize, start, size);
            start += size;
            piece
        };
        sizes.iter().map(piece).collect()
    }

    /// Views of `⌈size / n⌉` entries each along `dim`, the last with fewer; as in PyTorch, these
    /// can be fewer than `n`. A dimension of size 0 gives `n` empty views.
    ///
    /// ```
    /// # use gradus_tensor::{DType, Tensor};
    /// let x = Tensor::zeros(&[5], DType::F32)?;
    /// let sizes: Vec<usize> = x.chunk(2, 0)?.iter().map(|piece| piece.numel()).collect();
    /// assert_eq!(sizes, [3, 2]);
    /// assert_eq!(x.chunk(4, 0)?.len(), 3); // 2, 2 and 1
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn chunk(&self, n: usize, dim: isize) -> Result<Vec<Tensor>> {
        let d = resolve_dim("chunk", dim, self.rank())?;
        if n == 0 {
            bail!("chunk", "0 pieces of {:?}; ask for one or more", self.shape());
        }
        match self.shape()[d] {
            0 => {
                let mut pieces = sizes::list("chunk", n)?;
                pieces.resize(n, self.clone());
                Ok(pieces)
            }
            total => self.split(total.div_ceil(n), d as isize),
        }
    }

    /// `before` zeros in front of and `after` zeros behind the entries along `dim`: the backward
    /// rule of `narrow`.
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// let x = Tensor::from_slice(&[1f32, 2.0], &[1, 2])?;
    /// assert_eq!(x.pad_zeros(1, 1, 2)?.to_string(), "[[0. 1. 2. 0. 0.]]");
    /// assert_eq!(x.pad_zeros(0, 1, 0)?.to_string(), "[[0. 0.]\n [1. 2.]]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn pad_zeros(&self, dim: isize, before: usize, after: usize) -> Result<Tensor> {
        let d = resolve_dim("pad_zeros", dim, self.rank())?;
        let mut shape = self.shape().to_vec();
        shape[d] = shape[d].saturating_add(before).saturating_add(after);
        sizes::result("pad_zeros", &shape, &[self.shape()])?;
        let zero = Tensor::zeros_on(&[], self.dtype(), self.device())?;
        let margin = |size: usize| {
            let mut shape = shape.clone();
            shape[d] = size;
            zero.broadcast_to(&shape)
        };
        let (op, before, after) = ("pad_zeros", margin(before)?, margin(after)?);
        on_device!(op, [self], concat::cat(op, &[&before, self, &after], d, &shape))
    }

    /// The tensor repeated `times[i]` times along dimension `i`. More counts than dimensions add
    /// dimensions in front, as in PyTorch.
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// let x = Tensor::from_slice(&[1f32, 2.0], &[2])?;
    /// assert_eq!(x.repeat(&[2])?.to_string(), "[1. 2. 1. 2.]");
    /// assert_eq!(x.repeat(&[2, 1])?.to_string(), "[[1. 2.]\n [1. 2.]]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn repeat(&self, times: &[usize]) -> Result<Tensor> {
        let Some(new) = times.len().checked_sub(self.rank()) else {
            bail!(
                "repeat",
                "{} counts for the {} dimensions of {:?}; give one for each",
                times.len(),
                self.rank(),
                self.shape()
            );
        };
        // Each dimension becomes two: the repetitions, which step nowhere, and the entries.
        let (mut shape, mut strides, mut result) = (Vec::new(), Vec::new(), Vec::new());
        for (i, &count) in times.iter().enumerate() {
            let (size, stride) = match i.checked_sub(new) {
                Some(d) => (self.layout.shape[d], self.layout.strides[d]),
                None => (1, 0),
            };
            shape.extend([count, size]);
            strides.extend([0, stride]);
            result.push(count.saturating_mul(size));
        }
        sizes::result("repeat", &result, &[self.shape()])?;
        sizes::result("repeat", &shape, &[self.shape()])?;
        self.view(Layout { shape, strides, offset: self.layout.offset }).copy()?.reshape(&result)
    }

    /// The entries in reverse order along the dimensions `dims`; an empty list reverses nothing.
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// let x = Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0], &[2, 2])?;
    /// assert_eq!(x.flip(&[0])?.to_string(), "[[3. 4.]\n [1. 2.]]"); // the rows
    /// assert_eq!(x.flip(&[1])?.to_string(), "[[2. 1.]\n [4. 3.]]"); // the columns
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn flip(&self, dims: &[isize]) -> Result<Tensor> {
        let mut reversed = vec![false; self.rank()];
        if !dims.is_empty() {
            for d in resolve_dims("flip", dims, self.rank())? {
                reversed[d] = true;
            }
        }
        on_device!("flip", [self], concat::flip(self, &reversed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DType;

    fn iota(shape: &[usize]) -> Tensor {
        let n = shape.iter().product::<usize>();
        Tensor::arange(0.0, n as f64, 1.0, DType::F32).unwrap().reshape(shape).unwrap()
    }

    #[test]
    fn joins_cuts_and_pads() {
        let (a, b) = (iota(&[2, 2]), iota(&[1, 2]).broadcast_to(&[3, 2]).unwrap());
        let joined = Tensor::cat(&[&a, &b.narrow(0, 0, 0).unwrap(), &b], 0).unwrap();
        assert_eq!(joined.shape(), &[5, 2]);
        assert_eq!(joined.to_f64_vec(), [0., 1., 2., 3., 0., 1., 0., 1., 0., 1.]);
        let side = Tensor::cat(&[&a.t().unwrap(), &a], -1).unwrap();
        assert_eq!(side.to_f64_vec(), [0., 2., 0., 1., 1., 3., 2., 3.]);
        let stacked = Tensor::stack(&[&a, &a], -1).unwrap();
        assert_eq!(stacked.to_f64_vec(), [0., 0., 1., 1., 2., 2., 3., 3.]);
        assert_eq!(
            a.pad_zeros(1, 1, 2).unwrap().to_f64_vec(),
            [0., 0., 1., 0., 0., 0., 2., 3., 0., 0.]
        );
        assert_eq!(a.pad_zeros(0, 0, 0).unwrap().to_f64_vec(), a.to_f64_vec());
        let sizes = |pieces: Vec<Tensor>| pieces.iter().map(|p| p.shape()[0]).collect::<Vec<_>>();
        assert_eq!(sizes(iota(&[5]).split(2, 0).unwrap()), [2, 2, 1]);
        assert_eq!(sizes(iota(&[0]).split(2, 0).unwrap()), [0]);
        assert_eq!(sizes(iota(&[0]).split(0, 0).unwrap()), [0]);
        assert_eq!(sizes(iota(&[5]).split(9, 0).unwrap()), [5]);
        assert_eq!(sizes(iota(&[5]).chunk(4, 0).unwrap()), [2, 2, 1]);
        assert_eq!(sizes(iota(&[0]).chunk(3, 0).unwrap()), [0, 0, 0]);
        assert_eq!(sizes(iota(&[5]).split_with_sizes(&[0, 4, 1], 0).unwrap()), [0, 4, 1]);
    }

    #[test]
    fn pieces_are_views() {
        let x = iota(&[6, 2]);
        assert!(x.split(4, 0).unwrap().iter().all(|p| p.shares_storage(&x)));
        assert!(x.chunk(2, 1).unwrap().iter().all(|p| p.shares_storage(&x)));
    }

    #[test]
    fn repeats_and_reverses() {
        let x = iota(&[2, 2]).t().unwrap();
        let y = x.repeat(&[2, 1, 2]).unwrap();
        assert_eq!(y.shape(), &[2, 2, 4]);
        assert_eq!(y.to_f64_vec()[..8], [0., 2., 0., 2., 1., 3., 1., 3.]);
        assert_eq!(x.repeat(&[0, 1]).unwrap().shape(), &[0, 2]);
        assert_eq!(x.flip(&[0]).unwrap().to_f64_vec(), [1., 3., 0., 2.]);
        assert_eq!(x.flip(&[-1, 0]).unwrap().to_f64_vec(), [3., 1., 2., 0.]);
        assert_eq!(x.flip(&[]).unwrap().to_f64_vec(), x.to_f64_vec());
        assert_eq!(Tensor::scalar(3f32).flip(&[]).unwrap().to_f64_vec(), [3.]);
        assert_eq!(iota(&[3, 0]).flip(&[0]).unwrap().shape(), &[3, 0]);
    }

    #[test]
    fn refusals_name_the_shapes() {
        let (a, b) = (iota(&[2, 2]), iota(&[3, 3]));
        let error = Tensor::cat(&[&a, &b], 0).err().unwrap().to_string();
        assert!(error.contains("[2, 2]") && error.contains("[3, 3]"), "{error}");
        let ids = Tensor::zeros(&[2, 2], DType::U32).unwrap();
        for failure in [
            Tensor::cat(&[], 0).err(),
            Tensor::stack(&[], 0).err(),
            Tensor::cat(&[&a, &ids], 0).err(),
            Tensor::cat(&[&a], 2).err(),
            Tensor::cat(&[&Tensor::scalar(1f32)], 0).err(),
            Tensor::stack(&[&a, &b], 0).err(),
            a.split(0, 0).err(),
            a.chunk(0, 0).err(),
            a.split_with_sizes(&[usize::MAX, 3], 0).err(),
            a.pad_zeros(0, usize::MAX, 1).err(),
            a.repeat(&[2]).err(),
            a.repeat(&[usize::MAX, 2]).err(),
            a.repeat(&[usize::MAX, 0]).err(),
            a.flip(&[0, -2]).err(),
        ] {
            assert!(matches!(failure, Some(crate::Error::Op { .. })), "{failure:?}");
        }
    }
}
