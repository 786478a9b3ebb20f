//! Operations composed of others, without kernels and rules of their own: their gradients are those
//! of their parts. Where the obvious composition would give NaN or lose digits, a comment says what
//! is done instead.

use gradus_tensor::layout::{broadcast_shapes, resolve_dim};
use gradus_tensor::ops::slice::{Step, steps};
use gradus_tensor::{DType, Index, Result, Tensor, bail};

use crate::var::Var;

/// Functions of one element.
impl Var {
    /// eˣ − 1, exact for small x; as `torch.expm1`.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let x = Var::constant(Tensor::from_slice(&[1e-8f32], &[1])?);
    /// assert_eq!(x.expm1()?.item()?, 1e-8f32 as f64);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn expm1(&self) -> Result<Var> {
        // 2t/(1 − t) with t = tanh(x/2) near 0. Each form gets only values at which it and its
        // slope are finite: an infinity in the form that is not chosen would reach the gradient as
        // NaN.
        let x = &self.raised()?;
        let near = x.gt(-0.5)?.logical_and(&x.lt(0.5)?)?;
        let t = x.clamp(-0.5, 0.5)?.mul_scalar(0.5)?.tanh()?;
        let small = t.mul_scalar(2.0)?.div(&t.affine(-1.0, 1.0)?)?;
        small.where_(&near, &x.exp()?.add_scalar(-1.0)?)
    }

    /// 2ˣ; as `torch.exp2`.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let x = Var::constant(Tensor::from_slice(&[3f64, -1.0], &[2])?);
    /// assert_eq!(x.exp2()?.to_string(), "[8.  0.5]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn exp2(&self) -> Result<Var> {
        let x = self.raised()?;
        Var::constant(x.tensor().scalar_like(2.0)?).pow(&x)
    }

    /// The logarithm to base 2; as `torch.log2`.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let x = Var::constant(Tensor::from_slice(&[8f64, 0.5], &[2])?);
    /// assert_eq!(x.log2()?.to_string(), "[ 3. -1.]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn log2(&self) -> Result<Var> {
        let log = self.log()?;
        let log_of_2 = log.tensor().scalar_like(std::f64::consts::LN_2)?;
        log.div(&Var::constant(log_of_2))
    }

    /// x where x > 0, else `slope`·x; as `F.leaky_relu`. The slope at 0 is `slope`.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let x = Var::leaf(Tensor::from_slice(&[2f32, -2.0], &[2])?);
    /// let y = x.leaky_relu(0.5)?;
    /// assert_eq!(y.to_string(), "[ 2. -1.]");
    /// assert_eq!(y.sum_all()?.backward()?.get(&x).unwrap().to_vec::<f32>()?, [1.0, 0.5]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn leaky_relu(&self, slope: f64) -> Result<Var> {
        self.where_(&self.gt(0.0)?, &self.mul_scalar(slope)?)
    }

    /// x where x > 0, else `alpha`·(eˣ − 1); as `F.elu`. The slope at 0 is `alpha`.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let x = Var::constant(Tensor::from_slice(&[2f32, -1.0], &[2])?);
    /// assert_eq!(x.elu(1.0)?.to_string(), "[ 2.     -0.6321]"); // 1/e − 1
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn elu(&self, alpha: f64) -> Result<Var> {
        let positive = self.gt(0.0)?;
        let low = self.masked_fill(&positive, 0.0)?.expm1()?.mul_scalar(alpha)?;
        self.in_dtype(low.dtype())?.where_(&positive, &low)
    }

    /// x/(1 + |x|); as `F.softsign`.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let x = Var::constant(Tensor::from_slice(&[1f32, -3.0], &[2])?);
    /// assert_eq!(x.softsign()?.to_string(), "[ 0.5  -0.75]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn softsign(&self) -> Result<Var> {
        self.div(&self.abs()?.add_scalar(1.0)?)
    }

    /// x·sigmoid(1.702·x), OpenAI's approximation of [`gelu`](Var::gelu); `quick_gelu` in Hugging
    /// Face's configurations.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let x = Var::constant(Tensor::from_slice(&[0f32, 1.0], &[2])?);
    /// assert_eq!(x.quick_gelu()?.to_string(), "[0.     0.8458]"); // gelu(1) is 0.8413
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn quick_gelu(&self) -> Result<Var> {
        self.mul(&self.mul_scalar(1.702)?.sigmoid()?)
    }
}

/// Reductions and scans.
impl Var {
    /// The standard deviation, √[`var`](Var::var); as `torch.std`. Where it is 0, the gradient is
    /// 0, as in PyTorch.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let x = Var::constant(Tensor::from_slice(&[1f32, 3.0], &[2])?);
    /// assert_eq!(x.std(&[0], false, 0)?.item()?, 1.0);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn std(&self, dims: &[isize], keepdim: bool, correction: usize) -> Result<Var> {
        sqrt_flat_at_0(&self.var(dims, keepdim, correction)?)
    }

    /// The norm (Σ|x|ᵖ)^(1/p) of vectors that lie along `dims` (all for an empty list), for p ≥ 1,
    /// and the largest |x| for p = ∞; as `torch.linalg.vector_norm`. It does not overflow where its
    /// value is finite. Where it is 0, the gradient is 0; for p = ∞, equal largest elements share
    /// it.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let x = Var::leaf(Tensor::from_slice(&[3f32, -4.0], &[2])?);
    /// let norm = x.norm(2.0, &[], false)?;
    /// assert_eq!(norm.item()?, 5.0);
    /// assert_eq!(norm.backward()?.get(&x).unwrap().to_vec::<f32>()?, [0.6, -0.8]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// If p is less than 1 or NaN, or for p = ∞ if a vector has no elements.
    pub fn norm(&self, p: f64, dims: &[isize], keepdim: bool) -> Result<Var> {
        if p.is_nan() || p < 1.0 {
            bail!("norm", "p is {p}; it must be at least 1");
        }
        let magnitude = self.raised()?.abs()?;
        if p == f64::INFINITY {
            return magnitude.max(dims, keepdim);
        }
        if p == 1.0 || magnitude.numel() == 0 {
            return magnitude.sum(dims, keepdim);
        }
        // ‖x‖ = s·‖x/s‖ for any s, which is therefore a constant: the largest |x|, where it is
        // finite.
        let largest = magnitude.tensor().max(dims, true)?;
        let usable = largest.gt(0.0)?.logical_and(&largest.lt(f64::INFINITY)?)?;
        let scale = largest.where_(&usable, &largest.ones_like()?)?;
        let scaled = magnitude.div(&Var::constant(scale.clone()))?;
        let root = if p == 2.0 {
            sqrt_flat_at_0(&scaled.square()?.sum(dims, true)?)?
        } else {
            root_flat_at_0(&scaled.powf(p)?.sum(dims, true)?, p)?
        };
        let norm = root.mul(&Var::constant(scale))?;
        if keepdim { Ok(norm) } else { norm.sum(dims, false) }
    }

    /// Sums of the entries up to each, along `dim`; as `torch.cumsum`. The additions form a tree,
    /// so the rounding grows with the logarithm of the length.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let x = Var::constant(Tensor::from_slice(&[1f32, 2.0, 3.0], &[3])?);
    /// assert_eq!(x.cumsum(0)?.tensor().to_vec::<f32>()?, [1.0, 3.0, 6.0]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn cumsum(&self, dim: isize) -> Result<Var> {
        let mut sums = self.raised()?;
        if self.rank() == 0 {
            return Ok(sums);
        }
        let n = self.size(dim)?;
        let mut reach = 1;
        // Each entry holds the sum of up to `reach` entries, itself the last.
        while reach < n {
            let earlier = sums.narrow(dim, 0, n - reach)?.pad_zeros(dim, reach, 0)?;
            (sums, reach) = (sums.add(&earlier)?, reach * 2);
        }
        Ok(sums)
    }
}

/// Masks and indices.
impl Var {
    /// `value` where `mask` (u8, broadcast) is not 0; as `torch.masked_fill`. No gradient flows
    /// there.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let x = Var::leaf(Tensor::from_slice(&[1f32, 2.0, 3.0], &[3])?);
    /// let y = x.masked_fill(&x.ge(2.0)?, 9.0)?;
    /// assert_eq!(y.to_string(), "[1. 9. 9.]");
    /// assert_eq!(y.sum_all()?.backward()?.get(&x).unwrap().to_vec::<f32>()?, [1.0, 0.0, 0.0]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn masked_fill(&self, mask: &Tensor, value: f64) -> Result<Var> {
        let filled = Var::constant(self.tensor().scalar_like(value)?);
        if broadcast_shapes("masked_fill", self.shape(), mask.shape())? != self.shape() {
            bail!(
                "masked_fill",
                Shape,
                "the mask {:?} is larger than {:?}",
                mask.shape(),
                self.shape()
            );
        }
        filled.where_(mask, self)
    }

    /// The last two dimensions' lower triangle, the rest 0: column ≤ row + `diagonal`; as
    /// `torch.tril`.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let x = Var::constant(Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0], &[2, 2])?);
    /// assert_eq!(x.tril(0)?.to_string(), "[[1. 0.]\n [3. 4.]]");
    /// assert_eq!(x.tril(-1)?.to_string(), "[[0. 0.]\n [3. 0.]]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn tril(&self, diagonal: isize) -> Result<Var> {
        self.masked_fill(&beyond_diagonal("tril", self.tensor(), diagonal as f64)?, 0.0)
    }

    /// The last two dimensions' upper triangle, the rest 0: column ≥ row + `diagonal`; as
    /// `torch.triu`.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::{DType, Tensor};
    /// let x = Var::constant(Tensor::ones(&[2, 3], DType::F32)?);
    /// assert_eq!(x.triu(1)?.tensor().to_vec::<f32>()?, [0.0, 1.0, 1.0, 0.0, 0.0, 1.0]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn triu(&self, diagonal: isize) -> Result<Var> {
        let below = beyond_diagonal("triu", self.tensor(), diagonal as f64 - 1.0)?.logical_not()?;
        self.masked_fill(&below, 0.0)
    }

    /// A copy with the elements of `source` written at `index` (u32, of `source`'s shape) along
    /// `dim`; as `torch.scatter`. Elements that are overwritten get no gradient.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let x = Var::constant(Tensor::from_slice(&[1f32, 2.0, 3.0], &[3])?);
    /// let index = Tensor::from_slice(&[2u32, 0], &[2])?;
    /// let source = Var::constant(Tensor::from_slice(&[10f32, 20.0], &[2])?);
    /// assert_eq!(x.scatter(0, &index, &source)?.to_string(), "[20.  2. 10.]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`scatter_add`](Var::scatter_add); and if two elements go to one place: which of them
    /// stays is not defined.
    pub fn scatter(&self, dim: isize, index: &Tensor, source: &Var) -> Result<Var> {
        let (x, source) = &super::binary::wider(self, source)?;
        let nothing = Var::constant(x.tensor().zeros_like()?);
        let ones = Var::constant(source.tensor().ones_like()?);
        let written = nothing.scatter_add(dim, index, &ones)?.into_tensor();
        if written.numel() > 0 && written.gt(1.0)?.any(&[], false)?.item()? != 0.0 {
            bail!("scatter", "two elements go to one place along dimension {dim}");
        }
        nothing.scatter_add(dim, index, source)?.where_(&written.gt(0.0)?, x)
    }

    /// The largest entry along `dim` and its index (u32), the first of equal ones; as
    /// `torch.max(dim)`. The gradient goes to that entry alone, unlike that of [`max`](Var::max).
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let x = Var::constant(Tensor::from_slice(&[1f32, 7.0, 3.0, 2.0], &[2, 2])?);
    /// let (values, indices) = x.max_with_index(1, false)?;
    /// assert_eq!(values.tensor().to_vec::<f32>()?, [7.0, 3.0]);
    /// assert_eq!(indices.to_vec::<u32>()?, [1, 0]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn max_with_index(&self, dim: isize, keepdim: bool) -> Result<(Var, Tensor)> {
        self.extremum_at(self.tensor().argmax(dim, true)?, dim, keepdim)
    }

    /// The smallest entry along `dim` and its index; see [`max_with_index`](Var::max_with_index).
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let x = Var::leaf(Tensor::from_slice(&[1f32, 7.0, 3.0, 2.0], &[2, 2])?);
    /// let (values, indices) = x.min_with_index(1, false)?;
    /// assert_eq!(values.to_string(), "[1. 2.]");
    /// assert_eq!(indices.to_vec::<u32>()?, [0, 1]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn min_with_index(&self, dim: isize, keepdim: bool) -> Result<(Var, Tensor)> {
        self.extremum_at(self.tensor().argmin(dim, true)?, dim, keepdim)
    }

    fn extremum_at(&self, index: Tensor, dim: isize, keepdim: bool) -> Result<(Var, Tensor)> {
        let values = self.gather(dim, &index)?;
        if keepdim { Ok((values, index)) } else { Ok((values.squeeze(dim)?, index.squeeze(dim)?)) }
    }

    /// A view of some entries; see [`Tensor::i`].
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::{DType, Tensor};
    /// let x = Var::leaf(Tensor::ones(&[3, 4], DType::F32)?);
    /// let y = x.i((.., 1..3))?.sum_all()?;
    /// assert_eq!(y.backward()?.get(&x).unwrap().i(0)?.to_vec::<f32>()?, [0.0, 1.0, 1.0, 0.0]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn i(&self, index: impl Index) -> Result<Var> {
        steps(index, self.shape())?.into_iter().try_fold(self.clone(), |x, step| match step {
            Step::Narrow(dim, start, length) => x.narrow(dim, start, length),
            Step::Select(dim, at) => x.select(dim, at),
        })
    }
}

/// √x, with slope 0 where x is 0.
fn sqrt_flat_at_0(x: &Var) -> Result<Var> {
    flat_at_0(x, Var::sqrt)
}

/// x^(1/p), with slope 0 where x is 0.
fn root_flat_at_0(x: &Var, p: f64) -> Result<Var> {
    flat_at_0(x, |x| x.powf(1.0 / p))
}

/// f(x), and 0 without a gradient where x is 0. There, f sees 1, at which its slope is finite.
fn flat_at_0(x: &Var, f: impl Fn(&Var) -> Result<Var>) -> Result<Var> {
    let zero = x.eq(0.0)?;
    f(&x.masked_fill(&zero, 1.0)?)?.masked_fill(&zero, 0.0)
}

/// 1 where column > row + `diagonal` in the last two dimensions of `x`.
fn beyond_diagonal(op: &'static str, x: &Tensor, diagonal: f64) -> Result<Tensor> {
    if x.rank() < 2 {
        bail!(op, Shape, "needs at least 2 dimensions, the shape is {:?}", x.shape());
    }
    let [rows, columns] = [-2, -1].map(|d| resolve_dim(op, d, x.rank()).map(|d| x.shape()[d]));
    let count = |n: usize| Tensor::arange(0.0, n as f64, 1.0, DType::F32)?.to_device(x.device());
    let rows = count(rows?)?.add_scalar(diagonal)?.unsqueeze(1)?;
    count(columns?)?.gt(&rows)
}
