//! Shape operations. All but `reshape` (sometimes) copy nothing.

use gradus_base::layout::{INFER, Layout, checked_numel, resolve_dim};
use gradus_base::sizes;

use crate::{Result, Tensor, bail};

impl Tensor {
    /// The same elements in row-major order under another shape. One size may be [`INFER`]: it is
    /// what the others leave. Copies only where the strides do not allow a view.
    ///
    /// ```
    /// use gradus_tensor::{DType, INFER, Tensor};
    ///
    /// let x = Tensor::zeros(&[2, 3, 4], DType::F32)?;
    /// assert_eq!(x.reshape(&[2, INFER])?.shape(), [2, 12]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the number of elements differs, or a size cannot be inferred.
    pub fn reshape(&self, shape: &[usize]) -> Result<Tensor> {
        let mut shape = shape.to_vec();
        let numel = self.numel();
        let mut inferred = shape.iter().enumerate().filter(|(_, s)| **s == INFER);
        if let Some((d, _)) = inferred.next() {
            let known: Vec<usize> = shape.iter().copied().filter(|&s| s != INFER).collect();
            let known = checked_numel(&known).unwrap_or(0);
            if inferred.next().is_some() || known == 0 || !numel.is_multiple_of(known) {
                bail!("reshape", "cannot infer a size of {shape:?} from {:?}", self.shape());
            }
            shape[d] = numel / known;
        }
        if checked_numel(&shape) != Some(numel) {
            bail!("reshape", "{:?} has {numel} elements, {shape:?} does not", self.shape());
        }
        match self.layout.reshape(&shape) {
            Some(layout) => Ok(self.view(layout)),
            None => Ok(self.copy()?.view(Layout::contiguous(&shape))),
        }
    }

    /// Two dimensions exchanged.
    ///
    /// ```
    /// # use gradus_tensor::{DType, Tensor};
    /// let x = Tensor::zeros(&[2, 3, 4], DType::F32)?;
    /// assert_eq!(x.transpose(0, -1)?.shape(), [4, 3, 2]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn transpose(&self, dim0: isize, dim1: isize) -> Result<Tensor> {
        let a = resolve_dim("transpose", dim0, self.rank())?;
        let b = resolve_dim("transpose", dim1, self.rank())?;
        let mut layout = self.layout.clone();
        layout.shape.swap(a, b);
        layout.strides.swap(a, b);
        Ok(self.view(layout))
    }

    /// The last two dimensions exchanged.
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// let x = Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0], &[2, 2])?;
    /// assert_eq!(x.to_string(), "[[1. 2.]\n [3. 4.]]");
    /// assert_eq!(x.t()?.to_string(), "[[1. 3.]\n [2. 4.]]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn t(&self) -> Result<Tensor> {
        if self.rank() < 2 {
            bail!("t", "needs at least 2 dimensions, the shape is {:?}", self.shape());
        }
        self.transpose(-2, -1)
    }

    /// Dimensions in another order: dimension `i` of the result is `dims[i]` of this.
    ///
    /// ```
    /// # use gradus_tensor::{DType, Tensor};
    /// let x = Tensor::arange(0.0, 24.0, 1.0, DType::F32)?.reshape(&[2, 3, 4])?;
    /// let y = x.permute(&[2, 0, 1])?; // y[k, i, j] = x[i, j, k]
    /// assert_eq!(y.shape(), [4, 2, 3]);
    /// assert_eq!(y.i((3, 1, 2))?.item()?, x.i((1, 2, 3))?.item()?);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn permute(&self, dims: &[isize]) -> Result<Tensor> {
        let rank = self.rank();
        let mut order = Vec::with_capacity(rank);
        for &d in dims {
            order.push(resolve_dim("permute", d, rank)?);
        }
        let mut seen = order.clone();
        seen.sort_unstable();
        if seen != (0..rank).collect::<Vec<_>>() {
            bail!("permute", "{dims:?} is no order of the {rank} dimensions of {:?}", self.shape());
        }
        Ok(self.view(Layout {
            shape: order.iter().map(|&d| self.layout.shape[d]).collect(),
            strides: order.iter().map(|&d| self.layout.strides[d]).collect(),
            offset: self.layout.offset,
        }))
    }

    /// `length` entries along `dim` from `start` on.
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// let x = Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0], &[4])?;
    /// assert_eq!(x.narrow(0, 1, 2)?.to_vec::<f32>()?, [2.0, 3.0]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn narrow(&self, dim: isize, start: usize, length: usize) -> Result<Tensor> {
        let d = resolve_dim("narrow", dim, self.rank())?;
        let size = self.shape()[d];
        if start > size || length > size - start {
            bail!(
                "narrow",
                "entries {start}..{} of dimension {d}, which has {size} (shape {:?})",
                start.saturating_add(length),
                self.shape()
            );
        }
        let mut layout = self.layout.clone();
        layout.shape[d] = length;
        // A view without elements stays within its storage, which may have none either.
        if layout.numel() > 0 {
            layout.offset += start * layout.strides[d];
        }
        Ok(self.view(layout))
    }

    /// Entry `index` along `dim`, without that dimension.
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// let x = Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0], &[2, 2])?;
    /// assert_eq!(x.select(0, 1)?.to_vec::<f32>()?, [3.0, 4.0]); // row 1
    /// assert_eq!(x.select(1, 1)?.to_vec::<f32>()?, [2.0, 4.0]); // column 1
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn select(&self, dim: isize, index: usize) -> Result<Tensor> {
        let d = resolve_dim("select", dim, self.rank())?;
        if index >= self.shape()[d] {
            bail!("select", "entry {index} of dimension {d}, which has {}", self.shape()[d]);
        }
        self.narrow(dim, index, 1)?.squeeze(d as isize)
    }

    /// A new dimension of size 1 at `dim` (negative counts from the end of the result).
    ///
    /// ```
    /// # use gradus_tensor::{DType, Tensor};
    /// let x = Tensor::zeros(&[2, 3], DType::F32)?;
    /// assert_eq!(x.unsqueeze(1)?.shape(), [2, 1, 3]);
    /// assert_eq!(x.unsqueeze(-1)?.shape(), [2, 3, 1]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn unsqueeze(&self, dim: isize) -> Result<Tensor> {
        let d = resolve_dim("unsqueeze", dim, self.rank() + 1)?;
        let mut layout = self.layout.clone();
        layout.shape.insert(d, 1);
        layout.strides.insert(d, 0);
        Ok(self.view(layout))
    }

    /// Without dimension `dim`, which must have size 1.
    ///
    /// ```
    /// # use gradus_tensor::{DType, Tensor};
    /// let x = Tensor::zeros(&[2, 1, 3], DType::F32)?;
    /// assert_eq!(x.squeeze(1)?.shape(), [2, 3]);
    /// assert!(x.squeeze(0).is_err()); // its size is 2
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn squeeze(&self, dim: isize) -> Result<Tensor> {
        let d = resolve_dim("squeeze", dim, self.rank())?;
        if self.shape()[d] != 1 {
            bail!("squeeze", "dimension {d} of {:?} has not size 1", self.shape());
        }
        let mut layout = self.layout.clone();
        layout.shape.remove(d);
        layout.strides.remove(d);
        Ok(self.view(layout))
    }

    /// Dimensions `start..=end` merged into one.
    ///
    /// ```
    /// # use gradus_tensor::{DType, Tensor};
    /// let x = Tensor::zeros(&[2, 3, 4], DType::F32)?;
    /// assert_eq!(x.flatten(0, 1)?.shape(), [6, 4]);
    /// assert_eq!(x.flatten(0, -1)?.shape(), [24]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn flatten(&self, start: isize, end: isize) -> Result<Tensor> {
        if self.rank() == 0 {
            return self.reshape(&[1]);
        }
        let a = resolve_dim("flatten", start, self.rank())?;
        let b = resolve_dim("flatten", end, self.rank())?;
        if a > b {
            bail!("flatten", "dimension {start} comes after {end}");
        }
        let mut shape = self.shape()[..a].to_vec();
        shape.push(self.shape()[a..=b].iter().product());
        shape.extend(&self.shape()[b + 1..]);
        self.reshape(&shape)
    }

    /// This tensor repeated (without copying) to `shape`, by NumPy's rules of broadcasting.
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// let column = Tensor::from_slice(&[1f32, 2.0], &[2, 1])?;
    /// let y = column.broadcast_to(&[2, 3])?;
    /// assert_eq!(y.to_string(), "[[1. 1. 1.]\n [2. 2. 2.]]");
    /// assert!(y.shares_storage(&column));
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn broadcast_to(&self, shape: &[usize]) -> Result<Tensor> {
        sizes::numel("broadcast_to", shape)?;
        Ok(self.view(self.layout.broadcast_to("broadcast_to", shape)?))
    }
}
