//! Looking entries up by id, and adding to entries by id.
//!
//! Ids are u32 tensors. An id outside the dimension is an error that names its position.

use gradus_base::layout::resolve_dim;
use gradus_base::sizes;
use gradus_cpu as cpu;

use super::on_device;
use crate::{DType, Device, Result, Tensor, bail};

/// The ids, contiguous, each below `size`, and few enough to count in 32 bits.
pub(super) fn checked_ids(op: &'static str, ids: &Tensor, size: usize, of: &str) -> Result<Tensor> {
    let ids = check_ids(op, ids, size, of)?;
    if ids.numel() > u32::MAX as usize {
        bail!(op, "{} ids are too many at once; give at most 2³² − 1", ids.numel());
    }
    Ok(ids)
}

/// The same tensor, contiguous, if it is u32 and every id is below `size`.
fn check_ids(op: &'static str, ids: &Tensor, size: usize, of: &str) -> Result<Tensor> {
    if ids.dtype() != DType::U32 {
        bail!(op, DType, "ids are u32, got {}; convert with to_dtype", ids.dtype());
    }
    let ids = ids.contiguous()?;
    if let Some((at, id)) = first_outside(&ids, size)? {
        bail!(
            op,
            "id {id} at position {at} (row-major, ids {:?}) is outside {of}, which has {size}; ids \
             must be below that",
            ids.shape()
        );
    }
    Ok(ids)
}

/// The position of the first of contiguous ids (u32) that is not below `size`, and that id.
pub(super) fn first_outside(ids: &Tensor, size: usize) -> Result<Option<(usize, u32)>> {
    // The original of uploaded ids is at hand; other ids are read from the GPU.
    Ok(cpu::index::outside(ids.to_device(Device::Cpu)?.cpu(), size))
}

fn check_same_dtype(op: &'static str, x: &Tensor, source: &Tensor) -> Result<()> {
    if x.dtype() != source.dtype() {
        bail!(
            op,
            DType,
            "dtypes differ: {:?} {} and source {:?} {}; convert one with to_dtype",
            x.shape(),
            x.dtype(),
            source.shape(),
            source.dtype()
        );
    }
    Ok(())
}

impl Tensor {
    /// The entries `ids` (u32, one dimension) along `dim`, in their order; an id may repeat. The
    /// size along `dim` becomes the number of ids.
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// let x = Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0, 5.0, 6.0], &[2, 3])?;
    /// let ids = Tensor::from_slice(&[2u32, 0], &[2])?;
    /// assert_eq!(x.index_select(1, &ids)?.to_string(), "[[3. 1.]\n [6. 4.]]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn index_select(&self, dim: isize, ids: &Tensor) -> Result<Tensor> {
        let d = resolve_dim("index_select", dim, self.rank())?;
        if ids.rank() != 1 {
            bail!("index_select", Shape, "ids need one dimension, the shape is {:?}", ids.shape());
        }
        let of = format!("dimension {d} of {:?}", self.shape());
        let ids = checked_ids("index_select", ids, self.shape()[d], &of)?;
        let mut shape = self.shape().to_vec();
        shape[d] = ids.numel();
        sizes::result("index_select", &shape, &[self.shape(), ids.shape()])?;
        let op = "index_select";
        on_device!(op, [self, &ids], index::index_select(op, self, d, &ids, &shape))
    }

    /// This tensor with entry `j` of `source` along `dim` added to entry `ids[j]`, for all `j` in
    /// order. `ids` is u32 with one dimension; `source` has this shape, but along `dim` one entry
    /// for each id. f32 or f64. The backward rule of `index_select`.
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// let x = Tensor::from_slice(&[10f32, 20.0, 30.0], &[3])?;
    /// let ids = Tensor::from_slice(&[2u32, 0, 2], &[3])?;
    /// let source = Tensor::from_slice(&[1f32, 2.0, 3.0], &[3])?;
    /// assert_eq!(x.index_add(0, &ids, &source)?.to_string(), "[12. 20. 34.]"); // 30 + 1 + 3
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn index_add(&self, dim: isize, ids: &Tensor, source: &Tensor) -> Result<Tensor> {
        let d = resolve_dim("index_add", dim, self.rank())?;
        check_same_dtype("index_add", self, source)?;
        let mut expected = self.shape().to_vec();
        expected[d] = ids.numel();
        if ids.rank() != 1 || source.shape() != expected {
            bail!(
                "index_add",
                Shape,
                "source {:?} and ids {:?} do not fit {:?}: ids need one dimension, and the source \
                 this shape with one entry an id along dimension {d}",
                source.shape(),
                ids.shape(),
                self.shape()
            );
        }
        let of = format!("dimension {d} of {:?}", self.shape());
        let ids = checked_ids("index_add", ids, self.shape()[d], &of)?;
        let op = "index_add";
        on_device!(
            op,
            [self, source, &ids],
            index::index_add(op, Some(self), source, d, &ids, self.shape())
        )
    }

    /// For every element of `index` (u32, as many dimensions as this), the element of this tensor
    /// at the same place, except that its entry along `dim` is `index[…]`. The result has the
    /// index's shape, which along the other dimensions may be smaller than this one's.
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// let x = Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0, 5.0, 6.0], &[2, 3])?;
    /// let index = Tensor::from_slice(&[2u32, 0, 1, 1], &[2, 2])?;
    /// let y = x.gather(1, &index)?; // y[i, j] = x[i, index[i, j]]
    /// assert_eq!(y.to_string(), "[[3. 1.]\n [5. 5.]]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn gather(&self, dim: isize, index: &Tensor) -> Result<Tensor> {
        let d = resolve_dim("gather", dim, self.rank())?;
        let fits = index.rank() == self.rank()
            && (0..self.rank()).all(|e| e == d || index.shape()[e] <= self.shape()[e]);
        if !fits {
            bail!(
                "gather",
                Shape,
                "index {:?} does not fit {:?}: it needs as many dimensions, none but dimension {d} \
                 larger",
                index.shape(),
                self.shape()
            );
        }
        let of = format!("dimension {d} of {:?}", self.shape());
        let index = check_ids("gather", index, self.shape()[d], &of)?;
        on_device!("gather", [self, &index], index::gather(self, d, &index))
    }

    /// This tensor with every element of `source` added at the same place, except that its entry
    /// along `dim` is `index[…]` (u32); additions to one element happen in order along `dim`. The
    /// index may be smaller than `source`, whose other elements have no use then, and smaller than
    /// this tensor along the other dimensions. f32 or f64. The backward rule of `gather`.
    ///
    /// ```
    /// # use gradus_tensor::{DType, Tensor};
    /// let x = Tensor::zeros(&[2, 3], DType::F32)?;
    /// let index = Tensor::from_slice(&[2u32, 2, 0, 1], &[2, 2])?;
    /// let source = Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0], &[2, 2])?;
    /// let y = x.scatter_add(1, &index, &source)?; // y[i, index[i, j]] += source[i, j]
    /// assert_eq!(y.to_string(), "[[0. 0. 3.]\n [3. 4. 0.]]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn scatter_add(&self, dim: isize, index: &Tensor, source: &Tensor) -> Result<Tensor> {
        let d = resolve_dim("scatter_add", dim, self.rank())?;
        check_same_dtype("scatter_add", self, source)?;
        let (x, i, s) = (self.shape(), index.shape(), source.shape());
        let fits = i.len() == x.len()
            && s.len() == x.len()
            && (0..x.len()).all(|e| i[e] <= s[e] && (e == d || i[e] <= x[e]));
        if !fits {
            bail!(
                "scatter_add",
                Shape,
                "index {i:?} does not fit source {s:?} and {x:?}: all need as many dimensions, and \
                 the index may be larger than neither (but along dimension {d} than {x:?})"
            );
        }
        let index = check_ids("scatter_add", index, x[d], &format!("dimension {d} of {x:?}"))?;
        let operands = [self, &index, source];
        on_device!("scatter_add", &operands; index::scatter_add(self, d, &index, source))
    }

    /// The rows `ids` (u32, any shape) of this table `[rows, h]`: `ids […] → […, h]`.
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// let table = Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0], &[2, 2])?;
    /// let ids = Tensor::from_slice(&[1u32, 0, 1], &[3])?;
    /// assert_eq!(table.embedding(&ids)?.to_string(), "[[3. 4.]\n [1. 2.]\n [3. 4.]]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn embedding(&self, ids: &Tensor) -> Result<Tensor> {
        let &[rows, h] = self.shape() else {
            bail!(
                "embedding",
                Shape,
                "the table needs two dimensions, the shape is {:?}",
                self.shape()
            );
        };
        let of = format!("the table {:?}", self.shape());
        let flat = checked_ids("embedding", ids, rows, &of)?;
        let mut shape = ids.shape().to_vec();
        shape.push(h);
        sizes::result("embedding", &shape, &[self.shape(), ids.shape()])?;
        let op = "embedding";
        on_device!(op, [self, &flat], index::index_select(op, self, 0, &flat, &shape))
    }

    /// The gradient `[rows, h]` of the table of [`Tensor::embedding`], for the result's gradient
    /// `grad […, h]` and the same `ids […]`: row `r` is the sum of the gradients where the id is
    /// `r`, added in row-major order of the ids. f32 or f64.
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// let grad = Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0, 5.0, 6.0], &[3, 2])?;
    /// let ids = Tensor::from_slice(&[1u32, 0, 1], &[3])?; // row 1 was read twice
    /// let table = Tensor::embedding_backward(&grad, &ids, 2)?;
    /// assert_eq!(table.to_string(), "[[3. 4.]\n [6. 8.]]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn embedding_backward(grad: &Tensor, ids: &Tensor, rows: usize) -> Result<Tensor> {
        let Some((&h, lookups)) = grad.shape().split_last().filter(|(_, l)| *l == ids.shape())
        else {
            bail!(
                "embedding_backward",
                Shape,
                "gradient {:?} does not fit the ids {:?}; it needs their shape and one dimension \
                 more",
                grad.shape(),
                ids.shape()
            );
        };
        sizes::numel("embedding_backward", &[rows, h])?;
        let of = format!("the table [{rows}, {h}]");
        let flat = checked_ids("embedding_backward", ids, rows, &of)?;
        let grad = grad.reshape(&[lookups.iter().product(), h])?;
        let op = "embedding_backward";
        let shape = [rows, h];
        on_device!(
            op,
            [&grad, &flat],
            index::index_add(op, None::<&Tensor>, &grad, 0, &flat, &shape)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(values: &[u32], shape: &[usize]) -> Tensor {
        Tensor::from_slice(values, shape).unwrap()
    }

    fn iota(shape: &[usize]) -> Tensor {
        let n = shape.iter().product::<usize>();
        Tensor::arange(0.0, n as f64, 1.0, DType::F32).unwrap().reshape(shape).unwrap()
    }

    #[test]
    fn selects_and_adds_rows_of_views() {
        let x = iota(&[2, 3]);
        let two = ids(&[2, 0, 2], &[3]);
        assert_eq!(x.index_select(1, &two).unwrap().to_f64_vec(), [2., 0., 2., 5., 3., 5.]);
        let t = x.t().unwrap();
        assert_eq!(t.index_select(0, &two).unwrap().to_f64_vec(), [2., 5., 0., 3., 2., 5.]);
        let y = t.index_add(0, &two, &iota(&[3, 2])).unwrap();
        assert_eq!(y.shape(), &[3, 2]);
        assert_eq!(y.to_f64_vec(), [2., 6., 1., 4., 2. + 0. + 4., 5. + 1. + 5.]);
        let y = x.index_add(1, &two, &iota(&[1, 3]).broadcast_to(&[2, 3]).unwrap()).unwrap();
        assert_eq!(y.to_f64_vec(), [1., 1., 4., 4., 4., 7.]);
    }

    #[test]
    fn gathers_and_scatters_as_pytorch() {
        let x = iota(&[2, 3]);
        let index = ids(&[2, 1, 0, 0], &[2, 2]);
        assert_eq!(x.gather(1, &index).unwrap().to_f64_vec(), [2., 1., 3., 3.]);
        let index = ids(&[1, 0], &[1, 2]);
        assert_eq!(x.gather(0, &index).unwrap().to_f64_vec(), [3., 1.]);
        let zeros = Tensor::zeros(&[2, 3], DType::F32).unwrap();
        let index = ids(&[0, 0, 2, 1, 1, 1], &[2, 3]);
        let y = zeros.scatter_add(1, &index, &iota(&[2, 4])).unwrap();
        assert_eq!(y.to_f64_vec(), [1., 0., 2., 0., 15., 0.]);
    }

    #[test]
    fn looks_embeddings_up_and_back() {
        let table = iota(&[4, 2]);
        let tokens = ids(&[3, 0, 3, 1], &[2, 2]);
        let y = table.embedding(&tokens).unwrap();
        assert_eq!(y.shape(), &[2, 2, 2]);
        assert_eq!(y.to_f64_vec(), [6., 7., 0., 1., 6., 7., 2., 3.]);
        let back = Tensor::embedding_backward(&y, &tokens, 4).unwrap();
        assert_eq!(back.to_f64_vec(), [0., 1., 2., 3., 0., 0., 12., 14.]);
        let one = ids(&[2], &[]);
        assert_eq!(table.embedding(&one).unwrap().shape(), &[2]);
        let none = Tensor::zeros(&[0, 3], DType::U32).unwrap();
        assert_eq!(table.embedding(&none).unwrap().shape(), &[0, 3, 2]);
        let grad = Tensor::zeros(&[0, 3, 2], DType::F32).unwrap();
        assert_eq!(Tensor::embedding_backward(&grad, &none, 2).unwrap().to_f64_vec(), [0.; 4]);
        assert_eq!(Tensor::embedding_backward(&grad, &none, 0).unwrap().shape(), &[0, 2]);
    }

    #[test]
    fn an_id_outside_is_named() {
        let error =
            iota(&[4, 2]).embedding(&ids(&[0, 1, 2, 9], &[2, 2])).err().unwrap().to_string();
        assert!(error.starts_with("[embedding] id 9 at position 3"), "{error}");
        assert!(error.contains("has 4"), "{error}");
        let x = iota(&[2, 3]);
        for failure in [
            x.index_select(1, &ids(&[3], &[1])).err(),
            x.index_select(0, &ids(&[0], &[1, 1])).err(),
            x.index_select(0, &x.select(0, 0).unwrap()).err(),
            x.index_add(0, &ids(&[2], &[1]), &iota(&[1, 3])).err(),
            x.index_add(0, &ids(&[1], &[1]), &iota(&[1, 2])).err(),
            x.gather(1, &ids(&[3], &[1, 1])).err(),
            x.gather(1, &ids(&[0; 3], &[3, 1])).err(),
            x.gather(1, &ids(&[0], &[1])).err(),
            x.scatter_add(1, &ids(&[3], &[1, 1]), &x).err(),
            x.scatter_add(1, &ids(&[0; 3], &[3, 1]), &iota(&[3, 3])).err(),
            x.scatter_add(1, &ids(&[0; 2], &[1, 2]), &iota(&[1, 1])).err(),
            Tensor::scalar(1f32).index_select(0, &ids(&[0], &[1])).err(),
            iota(&[3]).embedding(&ids(&[0], &[1])).err(),
            Tensor::embedding_backward(&x, &ids(&[0], &[1]), 4).err(),
            Tensor::embedding_backward(&iota(&[1, 3]), &ids(&[0], &[1]), usize::MAX).err(),
            Tensor::embedding_backward(&iota(&[1, 3]), &ids(&[0], &[1]), 0).err(),
            Tensor::embedding_backward(&Tensor::scalar(1f32), &ids(&[0], &[]), 3).err(),
        ] {
            assert!(matches!(failure, Some(crate::Error::Op { .. })), "{failure:?}");
        }
    }
}
