//! Sorting and top-k: the values are gathered by the (constant) indices, and so is their gradient.

use gradus_tensor::{Result, Tensor};

use crate::var::Var;

impl Var {
    /// See [`Tensor::sort`]: values and their indices.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let x = Var::leaf(Tensor::from_slice(&[3f32, 1.0, 2.0], &[3])?);
    /// let (values, indices) = x.sort(0, false)?;
    /// assert_eq!(values.to_string(), "[1. 2. 3.]");
    /// assert_eq!(indices.to_vec::<u32>()?, [1, 2, 0]);
    /// let grads = values.i(0)?.backward()?; // the smallest is x[1]
    /// assert_eq!(grads.get(&x).unwrap().to_vec::<f32>()?, [0.0, 1.0, 0.0]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn sort(&self, dim: isize, descending: bool) -> Result<(Var, Tensor)> {
        let (_, indices) = self.tensor().sort(dim, descending)?;
        Ok((self.pick(dim, &indices)?, indices))
    }

    /// See [`Tensor::topk`]: values and their indices.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let x = Var::constant(Tensor::from_slice(&[3f32, 1.0, 2.0], &[3])?);
    /// let (values, indices) = x.topk(2, 0, true)?;
    /// assert_eq!(values.to_string(), "[3. 2.]");
    /// assert_eq!(indices.to_vec::<u32>()?, [0, 2]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
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
