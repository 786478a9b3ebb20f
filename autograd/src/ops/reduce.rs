//! Reductions.

use gradus_tensor::layout::resolve_dims;
use gradus_tensor::{Result, Tensor};
use serde_json::json;

use super::unary::kept;
use crate::context::Context;
use crate::op::Op;
use crate::trace::Told;
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
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let x = Var::constant(Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0], &[2, 2])?);
    /// assert_eq!(x.sum(&[0], false)?.to_string(), "[4. 6.]"); // down the columns
    /// assert_eq!(x.sum(&[1], false)?.to_string(), "[3. 7.]"); // along the rows
    /// assert_eq!(x.sum(&[1], true)?.to_string(), "[[3.]\n [7.]]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn sum(&self, dims: &[isize], keepdim: bool) -> Result<Var> {
        let d = dims.to_vec();
        let x = &self.raised()?;
        let told = Told::new().set("dims", || json!(dims));
        Var::record_told(Op::Sum, x.tensor().sum(dims, keepdim)?, &[x], told, move |c| {
            Ok(vec![Some(spread(c, &d)?)])
        })
    }

    /// The sum of all elements, a scalar.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let x = Var::leaf(Tensor::from_slice(&[1f32, 2.0, 3.0], &[3])?);
    /// let y = x.sum_all()?;
    /// assert_eq!(y.item()?, 6.0);
    /// assert_eq!(y.backward()?.get(&x).unwrap().to_vec::<f32>()?, [1.0, 1.0, 1.0]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn sum_all(&self) -> Result<Var> {
        self.sum(&[], false)
    }

    /// See [`Tensor::mean`].
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let x = Var::constant(Tensor::from_slice(&[1f32, 2.0, 3.0, 6.0], &[2, 2])?);
    /// assert_eq!(x.mean(&[-1], false)?.to_string(), "[1.5 4.5]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn mean(&self, dims: &[isize], keepdim: bool) -> Result<Var> {
        let d = dims.to_vec();
        let x = &self.raised()?;
        let told = Told::new().set("dims", || json!(dims));
        Var::record_told(Op::Mean, x.tensor().mean(dims, keepdim)?, &[x], told, move |c| {
            let n = reduced_count(c.input_shape(0), &d)? as f64;
            Ok(vec![Some(spread(c, &d)?.mul_scalar(1.0 / n)?)])
        })
    }

    /// See [`Tensor::prod`]. Computed as a tree of products of halves, so that its gradient is
    /// exact where elements are 0; the value may differ from the tensor's in the last place.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let x = Var::leaf(Tensor::from_slice(&[2f32, 0.0, 5.0], &[3])?);
    /// let y = x.prod(&[0], false)?;
    /// assert_eq!(y.item()?, 0.0);
    /// // The product of the others, also where an element is 0.
    /// assert_eq!(y.backward()?.get(&x).unwrap().to_vec::<f32>()?, [0.0, 10.0, 0.0]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn prod(&self, dims: &[isize], keepdim: bool) -> Result<Var> {
        let from = &self.raised()?;
        let y = from.tensor().prod(dims, keepdim)?;
        let reduced = resolve_dims("prod", dims, self.rank())?;
        let order = (0..self.rank()).filter(|d| !reduced.contains(d)).chain(reduced.clone());
        let kept: Vec<usize> =
            (0..self.rank()).filter(|d| !reduced.contains(d)).map(|d| self.shape()[d]).collect();
        let n: usize = reduced.iter().map(|&d| self.shape()[d]).product();
        if n == 0 {
            return Ok(Var::constant(y)); // it depends on no element
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
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let x = Var::leaf(Tensor::from_slice(&[1f32, 2.0, 3.0, 6.0], &[2, 2])?);
    /// let y = x.mean_all()?;
    /// assert_eq!(y.item()?, 3.0);
    /// assert_eq!(y.backward()?.get(&x).unwrap().to_string(), "[[0.25 0.25]\n [0.25 0.25]]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn mean_all(&self) -> Result<Var> {
        self.mean(&[], false)
    }

    /// See [`Tensor::max`]. Equal largest elements share the gradient equally.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let x = Var::leaf(Tensor::from_slice(&[7f32, 1.0, 7.0], &[3])?);
    /// let y = x.max(&[0], false)?;
    /// assert_eq!(y.item()?, 7.0);
    /// assert_eq!(y.backward()?.get(&x).unwrap().to_vec::<f32>()?, [0.5, 0.0, 0.5]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn max(&self, dims: &[isize], keepdim: bool) -> Result<Var> {
        self.extremum(Op::Max, self.tensor().max(dims, keepdim)?, dims)
    }

    /// See [`Tensor::min`]. Equal smallest elements share the gradient equally.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let x = Var::leaf(Tensor::from_slice(&[3f32, 1.0, 4.0, 0.5], &[2, 2])?);
    /// let y = x.min(&[1], false)?; // of each row
    /// assert_eq!(y.to_string(), "[1.  0.5]");
    /// let grads = y.sum_all()?.backward()?;
    /// assert_eq!(grads.get(&x).unwrap().to_string(), "[[0. 1.]\n [0. 1.]]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn min(&self, dims: &[isize], keepdim: bool) -> Result<Var> {
        self.extremum(Op::Min, self.tensor().min(dims, keepdim)?, dims)
    }

    fn extremum(&self, op: Op, y: Tensor, dims: &[isize]) -> Result<Var> {
        let (d, value) = (dims.to_vec(), y.clone());
        let told = Told::new().set("dims", || json!(dims));
        Var::record_told(op, y, &[self], told, move |c| {
            // Elements that are the extremum; where that is NaN, those that are NaN.
            let x = c.input(0).tensor();
            let hit = x.eq(&value.reshape(&kept_shape(x.shape(), &d)?)?)?.add(&x.ne(x)?)?;
            let count = Var::constant(hit.to_dtype(x.dtype())?.sum(&d, true)?);
            Ok(vec![Some(kept(&spread(c, &d)?.div(&count)?, &hit)?)])
        })
    }

    /// See [`Tensor::var`].
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let x = Var::leaf(Tensor::from_slice(&[1f32, 3.0], &[2])?);
    /// assert_eq!(x.var(&[0], false, 0)?.item()?, 1.0); // (1 + 1)/2
    /// let y = x.var(&[0], false, 1)?;
    /// assert_eq!(y.item()?, 2.0); // (1 + 1)/(2 − 1)
    /// assert_eq!(y.backward()?.get(&x).unwrap().to_vec::<f32>()?, [-2.0, 2.0]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn var(&self, dims: &[isize], keepdim: bool, correction: usize) -> Result<Var> {
        let d = dims.to_vec();
        let x = &self.raised()?;
        let y = x.tensor().var(dims, keepdim, correction)?;
        let told = Told::new().set("dims", || json!(dims)).set("correction", || json!(correction));
        Var::record_told(Op::Var, y, &[x], told, move |c| {
            let x = c.input(0);
            // The variance of too few elements is infinite or NaN, and so is its gradient.
            let n = reduced_count(x.shape(), &d)?.saturating_sub(correction) as f64;
            let centred = x.sub(&x.mean(&d, true)?)?;
            Ok(vec![Some(spread(c, &d)?.mul(&centred)?.mul_scalar(2.0 / n)?)])
        })
    }

    /// See [`Tensor::logsumexp`].
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let x = Var::leaf(Tensor::from_slice(&[1000f32, 1000.0], &[2])?);
    /// let y = x.logsumexp(&[0], false)?;
    /// assert!((y.item()? - 1000.6931).abs() < 1e-3); // 1000 + ln 2, though e¹⁰⁰⁰ is infinite
    /// assert_eq!(y.backward()?.get(&x).unwrap().to_string(), "[0.5 0.5]"); // the softmax
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn logsumexp(&self, dims: &[isize], keepdim: bool) -> Result<Var> {
        let d = dims.to_vec();
        let x = &self.raised()?;
        let told = Told::new().set("dims", || json!(dims));
        Var::record_told(
            Op::LogSumExp,
            x.tensor().logsumexp(dims, keepdim)?,
            &[x],
            told,
            move |c| {
                let x = c.input(0);
                let share = x.sub(&x.logsumexp(&d, true)?)?.exp()?;
                Ok(vec![Some(spread(c, &d)?.mul(&share)?)])
            },
        )
    }

    /// Summed to `shape`, which must broadcast to this shape: the transpose of broadcasting.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::Tensor;
    /// let x = Var::constant(Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0], &[2, 2])?);
    /// assert_eq!(x.sum_to(&[2])?.to_string(), "[4. 6.]");
    /// assert_eq!(x.sum_to(&[2, 1])?.to_string(), "[[3.]\n [7.]]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
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
