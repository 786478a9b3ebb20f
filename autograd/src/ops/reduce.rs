//! Reductions.

use gradus_tensor::layout::resolve_dims;
use gradus_tensor::{Result, Tensor};

use super::unary::kept;
use crate::context::Context;
use crate::op::Op;
use crate::var::Var;

/// The shape of a reduction's result with the reduced dimensions kept as 1: the shape that
/// broadcasts against the input again.
fn kept_shape(shape: &[usize], dims: &[isize]) -> Result<Vec<usize>> {
    let reduced = resolve_dims("reduce", dims, shape.len())?;
    Ok((0..shape.len()).map(|d| if reduced.contains(&d) { 1 } else { shape[d] }).collect())
}

/// The gradient of a reduction's result, repeated to the input's shape.
fn spread(c: &Context, dims: &[isize]) -> Result<Var> {
    let shape = c.input_shape(0);
    c.grad().reshape(&kept_shape(shape, dims)?)?.broadcast_to(shape)
}

fn reduced_count(shape: &[usize], dims: &[isize]) -> Result<usize> {
    Ok(resolve_dims("reduce", dims, shape.len())?.into_iter().map(|d| shape[d]).product())
}

impl Var {
    /// See [`Tensor::sum`].
    pub fn sum(&self, dims: &[isize], keepdim: bool) -> Result<Var> {
        let d = dims.to_vec();
        let x = &self.raised()?;
        Var::record(Op::Sum, x.tensor().sum(dims, keepdim)?, &[x], move |c| {
            Ok(vec![Some(spread(c, &d)?)])
        })
    }

    /// The sum of all elements, a scalar.
    pub fn sum_all(&self) -> Result<Var> {
        self.sum(&[], false)
    }

    /// See [`Tensor::mean`].
    pub fn mean(&self, dims: &[isize], keepdim: bool) -> Result<Var> {
        let d = dims.to_vec();
        let x = &self.raised()?;
        Var::record(Op::Mean, x.tensor().mean(dims, keepdim)?, &[x], move |c| {
            let n = reduced_count(c.input_shape(0), &d)? as f64;
            Ok(vec![Some(spread(c, &d)?.mul_scalar(1.0 / n)?)])
        })
    }

    /// See [`Tensor::prod`]. Computed as a tree of products of halves, so that its gradient is
    /// exact where elements are 0; the value may differ from the tensor's in the last place.
    pub fn prod(&self, dims: &[isize], keepdim: bool) -> Result<Var> {
        let from = &self.raised()?;
        let y = from.tensor().prod(dims, keepdim)?;
        let reduced = resolve_dims("prod", dims, self.rank())?;
        let order = (0..self.rank()).filter(|d| !reduced.contains(d)).chain(reduced.clone());
        let kept: Vec<usize> =
            (0..self.rank()).filter(|d| !reduced.contains(d)).map(|d| self.shape()[d]).collect();
        let n: usize = reduced.iter().map(|&d| self.shape()[d]).product();
        if n == 0 {
            return Ok(Var::constant(y)); // depends on no element
        }
        let line: Vec<usize> = kept.into_iter().chain([n]).collect();
        let mut x = from.permute(&order.map(|d| d as isize).collect::<Vec<_>>())?.reshape(&line)?;
        let mut n = n;
        while n > 1 {
            let half = n / 2;
            let mut next = x.narrow(-1, 0, half)?.mul(&x.narrow(-1, half, half)?)?;
            if n % 2 == 1 {
                next = Var::cat(&[&next, &x.narrow(-1, n - 1, 1)?], -1)?;
            }
            (x, n) = (next, n.div_ceil(2));
        }
        x.reshape(y.shape())
    }

    /// The mean of all elements, a scalar.
    pub fn mean_all(&self) -> Result<Var> {
        self.mean(&[], false)
    }

    /// See [`Tensor::max`]. Equal largest elements share the gradient equally.
    pub fn max(&self, dims: &[isize], keepdim: bool) -> Result<Var> {
        self.extremum(Op::Max, self.tensor().max(dims, keepdim)?, dims)
    }

    /// See [`Tensor::min`]. Equal smallest elements share the gradient equally.
    pub fn min(&self, dims: &[isize], keepdim: bool) -> Result<Var> {
        self.extremum(Op::Min, self.tensor().min(dims, keepdim)?, dims)
    }

    fn extremum(&self, op: Op, y: Tensor, dims: &[isize]) -> Result<Var> {
        let (d, value) = (dims.to_vec(), y.clone());
        Var::record(op, y, &[self], move |c| {
            // Elements that are the extremum; where that is NaN, those that are NaN.
            let x = c.input(0).tensor();
            let hit = x.eq(&value.reshape(&kept_shape(x.shape(), &d)?)?)?.add(&x.ne(x)?)?;
            let count = Var::constant(hit.to_dtype(x.dtype())?.sum(&d, true)?);
            Ok(vec![Some(kept(&spread(c, &d)?.div(&count)?, &hit)?)])
        })
    }

    /// See [`Tensor::var`].
    pub fn var(&self, dims: &[isize], keepdim: bool, correction: usize) -> Result<Var> {
        let d = dims.to_vec();
        let x = &self.raised()?;
        let y = x.tensor().var(dims, keepdim, correction)?;
        Var::record(Op::Var, y, &[x], move |c| {
            let x = c.input(0);
            // Of too few elements the variance is infinite or NaN, and so is its gradient.
            let n = reduced_count(x.shape(), &d)?.saturating_sub(correction) as f64;
            let centred = x.sub(&x.mean(&d, true)?)?;
            Ok(vec![Some(spread(c, &d)?.mul(&centred)?.mul_scalar(2.0 / n)?)])
        })
    }

    /// See [`Tensor::logsumexp`].
    pub fn logsumexp(&self, dims: &[isize], keepdim: bool) -> Result<Var> {
        let d = dims.to_vec();
        let x = &self.raised()?;
        Var::record(Op::LogSumExp, x.tensor().logsumexp(dims, keepdim)?, &[x], move |c| {
            let x = c.input(0);
            let share = x.sub(&x.logsumexp(&d, true)?)?.exp()?;
            Ok(vec![Some(spread(c, &d)?.mul(&share)?)])
        })
    }

    /// Summed to `shape`, which must broadcast to this shape: the transpose of broadcasting.
    pub fn sum_to(&self, shape: &[usize]) -> Result<Var> {
        if self.shape() == shape {
            return Ok(self.clone());
        }
        let x = &self.computable()?;
        let y = Var::record(Op::SumTo, x.tensor().sum_to(shape)?, &[x], |c| {
            Ok(vec![Some(c.grad().broadcast_to(c.input_shape(0))?)])
        })?;
        y.in_dtype(self.dtype())
    }
}
