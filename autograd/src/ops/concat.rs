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
        self.cut(dim, self.tensor().split(size, dim)?)
    }

    /// Pieces of the given sizes along `dim`. See [`Tensor::split_with_sizes`].
    pub fn split_with_sizes(&self, sizes: &[usize], dim: isize) -> Result<Vec<Var>> {
        self.cut(dim, self.tensor().split_with_sizes(sizes, dim)?)
    }

    /// At most `n` pieces of equal size along `dim`. See [`Tensor::chunk`].
    pub fn chunk(&self, n: usize, dim: isize) -> Result<Vec<Var>> {
        self.cut(dim, self.tensor().chunk(n, dim)?)
    }

    /// The pieces that the tensor was cut into, as variables.
    fn cut(&self, dim: isize, pieces: Vec<Tensor>) -> Result<Vec<Var>> {
        let mut start = 0;
        pieces
            .iter()
            .map(|piece| {
                let length = piece.size(dim)?;
                start += length;
                self.narrow(dim, start - length, length)
            })
            .collect()
    }

    /// Repeated `times[i]` times along dimension `i`. See [`Tensor::repeat`].
    pub fn repeat(&self, times: &[usize]) -> Result<Var> {
        let repeated = self.tensor().repeat(times)?;
        // Every dimension becomes two, the repetitions and the entries; then each pair is merged.
        let new = times.len() - self.rank();
        let sizes = |d: usize| if d < new { 1 } else { self.shape()[d - new] };
        let single: Vec<usize> = (0..times.len()).flat_map(|d| [1, sizes(d)]).collect();
        let wide: Vec<usize> = (0..times.len()).flat_map(|d| [times[d], sizes(d)]).collect();
        self.reshape(&single)?.broadcast_to(&wide)?.reshape(repeated.shape())
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
