//! Shape operations: the gradient takes the way back.

use gradus_tensor::layout::resolve_dim;
use gradus_tensor::{DType, Result, bail};

use crate::op::Op;
use crate::var::Var;

impl Var {
    /// The same value at another place in the graph.
    pub fn alias(&self) -> Result<Var> {
        Var::record(Op::Alias, self.tensor().clone(), &[self], |c| Ok(vec![Some(c.grad().clone())]))
    }

    /// The same value in another float dtype; the gradient is cast back.
    pub fn to_dtype(&self, dtype: DType) -> Result<Var> {
        let from = self.dtype();
        if !dtype.is_float() && self.requires_grad() {
            bail!("to_dtype", DType, "{dtype} has no gradient; detach first");
        }
        Var::record(Op::Cast, self.tensor().to_dtype(dtype)?, &[self], move |c| {
            Ok(vec![Some(c.grad().to_dtype(from)?)])
        })
    }

    /// See [`Tensor::reshape`](gradus_tensor::Tensor::reshape).
    pub fn reshape(&self, shape: &[usize]) -> Result<Var> {
        Var::record(Op::Reshape, self.tensor().reshape(shape)?, &[self], |c| {
            Ok(vec![Some(c.grad().reshape(c.input_shape(0))?)])
        })
    }

    /// See [`Tensor::permute`](gradus_tensor::Tensor::permute).
    pub fn permute(&self, dims: &[isize]) -> Result<Var> {
        let y = self.tensor().permute(dims)?;
        let rank = self.rank();
        let mut inverse = vec![0isize; rank];
        for (i, &d) in dims.iter().enumerate() {
            inverse[resolve_dim("permute", d, rank)?] = i as isize;
        }
        Var::record(Op::Permute, y, &[self], move |c| Ok(vec![Some(c.grad().permute(&inverse)?)]))
    }

    /// Two dimensions exchanged.
    pub fn transpose(&self, dim0: isize, dim1: isize) -> Result<Var> {
        let rank = self.rank();
        let mut dims: Vec<isize> = (0..rank as isize).collect();
        dims.swap(resolve_dim("transpose", dim0, rank)?, resolve_dim("transpose", dim1, rank)?);
        self.permute(&dims)
    }

    /// The last two dimensions exchanged.
    pub fn t(&self) -> Result<Var> {
        if self.rank() < 2 {
            bail!("t", Shape, "needs at least 2 dimensions, the shape is {:?}", self.shape());
        }
        self.transpose(-2, -1)
    }

    /// See [`Tensor::narrow`](gradus_tensor::Tensor::narrow).
    pub fn narrow(&self, dim: isize, start: usize, length: usize) -> Result<Var> {
        let y = self.tensor().narrow(dim, start, length)?;
        let after = self.size(dim)? - start - length;
        Var::record(Op::Narrow, y, &[self], move |c| {
            Ok(vec![Some(c.grad().pad_zeros(dim, start, after)?)])
        })
    }

    /// See [`Tensor::select`](gradus_tensor::Tensor::select).
    pub fn select(&self, dim: isize, index: usize) -> Result<Var> {
        let d = resolve_dim("select", dim, self.rank())? as isize;
        if index >= self.size(d)? {
            bail!("select", Shape, "entry {index} of dimension {d}, which has {}", self.size(d)?);
        }
        self.narrow(d, index, 1)?.squeeze(d)
    }

    /// A new dimension of size 1 at `dim`.
    pub fn unsqueeze(&self, dim: isize) -> Result<Var> {
        let shape = self.tensor().unsqueeze(dim)?;
        self.reshape(shape.shape())
    }

    /// Dimension `dim`, which must have size 1, taken away.
    pub fn squeeze(&self, dim: isize) -> Result<Var> {
        let shape = self.tensor().squeeze(dim)?;
        self.reshape(shape.shape())
    }

    /// Dimensions `start..=end` merged into one.
    pub fn flatten(&self, start: isize, end: isize) -> Result<Var> {
        let shape = self.tensor().flatten(start, end)?;
        self.reshape(shape.shape())
    }

    /// See [`Tensor::broadcast_to`](gradus_tensor::Tensor::broadcast_to).
    pub fn broadcast_to(&self, shape: &[usize]) -> Result<Var> {
        Var::record(Op::BroadcastTo, self.tensor().broadcast_to(shape)?, &[self], |c| {
            Ok(vec![Some(c.grad().sum_to(c.input_shape(0))?)])
        })
    }
}
