//! Sorting and top-k: the values are gathered by the (constant) indices, and so is their gradient.

use gradus_tensor::{Result, Tensor};

use crate::var::Var;

impl Var {
    /// See [`Tensor::sort`]: values and their indices.
    pub fn sort(&self, dim: isize, descending: bool) -> Result<(Var, Tensor)> {
        let (_, indices) = self.tensor().sort(dim, descending)?;
        Ok((self.pick(dim, &indices)?, indices))
    }

    /// See [`Tensor::topk`]: values and their indices.
    pub fn topk(&self, k: usize, dim: isize, largest: bool) -> Result<(Var, Tensor)> {
        let (_, indices) = self.tensor().topk(k, dim, largest)?;
        Ok((self.pick(dim, &indices)?, indices))
    }

    fn pick(&self, dim: isize, indices: &Tensor) -> Result<Var> {
        if self.rank() > 0 {
            return self.gather(dim, indices);
        }
        // A scalar is a line of one element, or of none for k = 0.
        let line = self.unsqueeze(0)?.gather(0, &indices.reshape(&[indices.numel()])?)?;
        line.reshape(indices.shape())
    }
}
