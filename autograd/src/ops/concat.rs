//! Joining, splitting, padding, flipping.

use gradus_tensor::layout::resolve_dim;
use gradus_tensor::{Result, Tensor, bail};

use crate::op::Op;
use crate::var::Var;

impl Var {
    /// See [`Tensor::cat`].
    pub fn cat(vars: &[&Var], dim: isize) -> Result<Var> {
        let tensors: Vec<&Tensor> = vars.iter().map(|v| v.tensor()).collect();
        Var::record(Op::Cat, Tensor::cat(&tensors, dim)?, vars, move |c| {
            let rank = c.grad().rank();
            let d = resolve_dim("cat", dim, rank)?;
            let mut start = 0;
            let mut grads = Vec::with_capacity(c.inputs());
            for i in 0..c.inputs() {
                let length = c.input_shape(i)[d];
                let piece = || c.grad().narrow(d as isize, start, length);
                grads.push(c.wants(i).then(piece).transpose()?);
                start += length;
            }
            Ok(grads)
        })
    }

    /// Joined along a new dimension `dim`.
    pub fn stack(vars: &[&Var], dim: isize) -> Result<Var> {
        let unsqueezed = vars.iter().map(|v| v.unsqueeze(dim)).collect::<Result<Vec<_>>>()?;
        if unsqueezed.is_empty() {
            bail!("stack", "needs at least one tensor");
        }
        let d = resolve_dim("stack", dim, unsqueezed[0].rank())? as isize;
        Var::cat(&unsqueezed.iter().collect::<Vec<_>>(), d)
    }

    /// Pieces of `size` entries along `dim` (the last may be shorter).
    pub fn split(&self, size: usize, dim: isize) -> Result<Vec<Var>> {
        if size == 0 {
            bail!("split", "pieces of size 0");
        }
        let total = self.size(dim)?;
        (0..total)
            .step_by(size)
            .map(|start| self.narrow(dim, start, size.min(total - start)))
            .collect()
    }

    /// Zeros before and after along `dim`. See [`Tensor::pad_zeros`].
    pub fn pad_zeros(&self, dim: isize, before: usize, after: usize) -> Result<Var> {
        let y = self.tensor().pad_zeros(dim, before, after)?;
        let length = self.size(dim)?;
        Var::record(Op::PadZeros, y, &[self], move |c| {
            Ok(vec![Some(c.grad().narrow(dim, before, length)?)])
        })
    }

    /// The order reversed along `dims`. See [`Tensor::flip`].
    pub fn flip(&self, dims: &[isize]) -> Result<Var> {
        let (y, dims) = (self.tensor().flip(dims)?, dims.to_vec());
        Var::record(Op::Flip, y, &[self], move |c| Ok(vec![Some(c.grad().flip(&dims)?)]))
    }
}
