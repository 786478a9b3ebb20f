//! Softmax and its logarithm along one dimension, with their fused derivatives.

use gradus_base::layout::resolve_dim;

use super::half::in_f32;
use super::{must_match, on_device};
use crate::{Result, Tensor};

/// `op` along `dim`, by bringing that dimension last and back. The result is row-major.
fn along(
    name: &'static str,
    dim: isize,
    inputs: &[&Tensor],
    op: impl Fn(&[Tensor]) -> Result<Tensor>,
) -> Result<Tensor> {
    let d = resolve_dim(name, dim, inputs[0].rank())? as isize;
    let moved: Result<Vec<Tensor>> =
        inputs.iter().map(|x| x.transpose(d, -1)?.contiguous()).collect();
    op(&moved?)?.transpose(d, -1)?.contiguous()
}

impl Tensor {
    /// y = eˣ / Σeˣ along `dim`, computed as e^(x − max); f32 and f64, the same shape.
    ///
    /// A slice whose elements are all −∞ (everything masked), or that holds +∞ or NaN, gives NaN,
    /// as in PyTorch. Composed reference: `x.sub(&x.logsumexp(&[dim], true)?)?.exp()`.
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// let x = Tensor::from_slice(&[0f32, 0.0, 1.0], &[3])?;
    /// assert_eq!(x.softmax(0)?.to_string(), "[0.2119 0.2119 0.5761]"); // 1, 1, e over 2 + e
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn softmax(&self, dim: isize) -> Result<Tensor> {
        in_f32([self], |[x]| {
            along("softmax", dim, &[x], |x| on_device!("softmax", [&x[0]], softmax::softmax(&x[0])))
        })
    }

    /// y = x − ln Σeˣ along `dim`; f32 and f64, the same shape. NaN where [`Tensor::softmax`] is.
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// let x = Tensor::from_slice(&[5f32, 5.0], &[2])?;
    /// assert_eq!(x.log_softmax(0)?.to_string(), "[-0.6931 -0.6931]"); // −ln 2
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn log_softmax(&self, dim: isize) -> Result<Tensor> {
        in_f32([self], |[x]| {
            along("log_softmax", dim, &[x], |x| {
                on_device!("log_softmax", [&x[0]], softmax::log_softmax(&x[0]))
            })
        })
    }

    /// The gradient of the input of a softmax: `y·(g − Σ g·y)` along `dim`. `self` is the output y;
    /// `grad` has its shape and dtype.
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// let y = Tensor::from_slice(&[0.5f32, 0.5], &[2])?;
    /// let grad = Tensor::from_slice(&[1f32, 0.0], &[2])?;
    /// let dx = y.softmax_backward(&grad, 0)?; // ½·(1 − ½) and ½·(0 − ½)
    /// assert_eq!(dx.to_string(), "[ 0.25 -0.25]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn softmax_backward(&self, grad: &Tensor, dim: isize) -> Result<Tensor> {
        must_match("softmax_backward", ("the gradient", grad), ("the output", self))?;
        in_f32([self, grad], |operands| {
            along("softmax_backward", dim, &operands, |x| {
                let op = "softmax_backward";
                on_device!(op, [&x[0], &x[1]], softmax::softmax_backward(&x[0], &x[1]))
            })
        })
    }

    /// The gradient of the input of a log-softmax: `g − eʸ·Σg` along `dim`. `self` is the output y;
    /// `grad` has its shape and dtype.
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// let y = Tensor::from_slice(&[0f32, 0.0], &[2])?.log_softmax(0)?;
    /// let grad = Tensor::from_slice(&[1f32, 0.0], &[2])?;
    /// assert_eq!(y.log_softmax_backward(&grad, 0)?.to_string(), "[ 0.5 -0.5]"); // 1 − ½, 0 − ½
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn log_softmax_backward(&self, grad: &Tensor, dim: isize) -> Result<Tensor> {
        must_match("log_softmax_backward", ("the gradient", grad), ("the output", self))?;
        in_f32([self, grad], |operands| {
            along("log_softmax_backward", dim, &operands, |x| {
                let op = "log_softmax_backward";
                on_device!(op, [&x[0], &x[1]], softmax::log_softmax_backward(&x[0], &x[1]))
            })
        })
    }
}
