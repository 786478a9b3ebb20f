//! Joining, splitting, padding, flipping.

use gradus_tensor::layout::resolve_dim;
use gradus_tensor::{Result, Tensor, bail};
use serde_json::json;

use crate::op::Op;
use crate::trace::Told;
use crate::var::Var;

impl Var {
    /// See [`Tensor::cat`].
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let a = Var::leaf(Tensor::from_slice(&[1f32, 2.0], &[1, 2])?);
    /// let b = Var::leaf(Tensor::from_slice(&[3f32, 4.0], &[1, 2])?);
    /// assert_eq!(Var::cat(&[&a, &b], 1)?.to_string(), "[[1. 2. 3. 4.]]");
    /// let y = Var::cat(&[&a, &b], 0)?;
    /// assert_eq!(y.to_string(), "[[1. 2.]\n [3. 4.]]");
    /// let grads = y.i(1)?.sum_all()?.backward()?; // row 1 is b
    /// assert_eq!(grads.get(&a).unwrap().to_string(), "[[0. 0.]]");
    /// assert_eq!(grads.get(&b).unwrap().to_string(), "[[1. 1.]]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn cat(vars: &[&Var], dim: isize) -> Result<Var> {
        let tensors: Vec<&Tensor> = vars.iter().map(|v| v.tensor()).collect();
        let told = Told::new().set("dim", || json!(dim));
        Var::record_told(Op::Cat, Tensor::cat(&tensors, dim)?, vars, told, move |c| {
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
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let a = Var::constant(Tensor::from_slice(&[1f32, 2.0], &[2])?);
    /// let b = Var::constant(Tensor::from_slice(&[3f32, 4.0], &[2])?);
    /// assert_eq!(Var::stack(&[&a, &b], 0)?.to_string(), "[[1. 2.]\n [3. 4.]]");
    /// assert_eq!(Var::stack(&[&a, &b], 1)?.to_string(), "[[1. 3.]\n [2. 4.]]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn stack(vars: &[&Var], dim: isize) -> Result<Var> {
        let unsqueezed = vars.iter().map(|v| v.unsqueeze(dim)).collect::<Result<Vec<_>>>()?;
        if unsqueezed.is_empty() {
            bail!("stack", "needs at least one tensor");
        }
        let d = resolve_dim("stack", dim, unsqueezed[0].rank())? as isize;
        Var::cat(&unsqueezed.iter().collect::<Vec<_>>(), d)
    }

    /// Pieces of `size` entries along `dim` (the last may be shorter).
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let x = Var::constant(Tensor::from_slice(&[1f32, 2.0, 3.0], &[3])?);
    /// let pieces = x.split(2, 0)?;
    /// assert_eq!(pieces[0].to_string(), "[1. 2.]");
    /// assert_eq!(pieces[1].to_string(), "[3.]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn split(&self, size: usize, dim: isize) -> Result<Vec<Var>> {
        self.cut(dim, self.tensor().split(size, dim)?)
    }

    /// Pieces of the given sizes along `dim`. See [`Tensor::split_with_sizes`].
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let x = Var::constant(Tensor::from_slice(&[1f32, 2.0, 3.0], &[3])?);
    /// let pieces = x.split_with_sizes(&[1, 2], 0)?;
    /// assert_eq!(pieces[0].to_string(), "[1.]");
    /// assert_eq!(pieces[1].to_string(), "[2. 3.]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn split_with_sizes(&self, sizes: &[usize], dim: isize) -> Result<Vec<Var>> {
        self.cut(dim, self.tensor().split_with_sizes(sizes, dim)?)
    }

    /// At most `n` pieces of equal size along `dim`. See [`Tensor::chunk`].
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let x = Var::constant(Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0], &[1, 4])?);
    /// let halves = x.chunk(2, -1)?;
    /// assert_eq!(halves[0].to_string(), "[[1. 2.]]");
    /// assert_eq!(halves[1].to_string(), "[[3. 4.]]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
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
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let x = Var::leaf(Tensor::from_slice(&[1f32, 2.0], &[2])?);
    /// let y = x.repeat(&[2, 2])?; // two rows, each x twice
    /// assert_eq!(y.to_string(), "[[1. 2. 1. 2.]\n [1. 2. 1. 2.]]");
    /// let grads = y.sum_all()?.backward()?;
    /// assert_eq!(grads.get(&x).unwrap().to_vec::<f32>()?, [4.0, 4.0]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
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
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let x = Var::constant(Tensor::from_slice(&[1f32, 2.0], &[2])?);
    /// assert_eq!(x.pad_zeros(0, 1, 2)?.to_string(), "[0. 1. 2. 0. 0.]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn pad_zeros(&self, dim: isize, before: usize, after: usize) -> Result<Var> {
        let y = self.tensor().pad_zeros(dim, before, after)?;
        let length = self.size(dim)?;
        let told = Told::new().set("dim", || json!(dim)).set("before", || json!(before));
        Var::record_told(Op::PadZeros, y, &[self], told, move |c| {
            Ok(vec![Some(c.grad().narrow(dim, before, length)?)])
        })
    }

    /// The entries in reverse order along `dims`. See [`Tensor::flip`].
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let x = Var::leaf(Tensor::from_slice(&[1f32, 2.0, 3.0], &[3])?);
    /// let y = x.flip(&[0])?;
    /// assert_eq!(y.to_string(), "[3. 2. 1.]");
    /// let grads = y.i(0)?.backward()?; // y[0] is x[2]
    /// assert_eq!(grads.get(&x).unwrap().to_vec::<f32>()?, [0.0, 0.0, 1.0]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn flip(&self, dims: &[isize]) -> Result<Var> {
        let (y, dims) = (self.tensor().flip(dims)?, dims.to_vec());
        let told = Told::new().set("dims", || json!(dims));
        Var::record_told(Op::Flip, y, &[self], told, move |c| Ok(vec![Some(c.grad().flip(&dims)?)]))
    }
}
