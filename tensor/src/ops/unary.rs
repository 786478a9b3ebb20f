//! Functions of one element at a time.

use gradus_base::unary_table;

use super::half::in_f32;
use super::{must_match, on_device};
use crate::{Result, Tensor, bail};
pub use gradus_base::op::unary::UnaryOp;

/// A method for each row of the table.
macro_rules! methods {
    ($($variant:ident, $name:ident, $doc:literal, $x:expr, $y:literal;)*) => {
        impl Tensor {$(
            #[doc = concat!("`", stringify!($name), "`: ", $doc, ".")]
            ///
            /// ```
            /// # use gradus_tensor::Tensor;
            #[doc = concat!("let x = Tensor::from_slice::<f32>(&", stringify!($x), ", &[2])?;")]
            #[doc = concat!("assert_eq!(x.", stringify!($name), "()?.to_string(), \"", $y, "\");")]
            /// # Ok::<(), gradus_tensor::Error>(())
            /// ```
            pub fn $name(&self) -> Result<Tensor> { self.unary(UnaryOp::$variant) }
        )*}
    };
}
unary_table!(methods);

impl Tensor {
    /// Applies `op` to every element; floats only. The result is row-major.
    ///
    /// ```
    /// # use gradus_tensor::ops::unary::UnaryOp;
    /// # use gradus_tensor::Tensor;
    /// let x = Tensor::from_slice(&[1f32, -2.0], &[2])?;
    /// assert_eq!(x.unary(UnaryOp::Abs)?.to_vec::<f32>()?, [1.0, 2.0]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn unary(&self, op: UnaryOp) -> Result<Tensor> {
        in_f32([self], |[x]| on_device!(op.name(), [x], unary::forward(x, op)))
    }

    /// `grad · op'(x)` in one pass, for the operations with a fused derivative; `self` is x.
    ///
    /// ```
    /// # use gradus_tensor::ops::unary::UnaryOp;
    /// # use gradus_tensor::Tensor;
    /// let x = Tensor::scalar(0f32);
    /// let grad = Tensor::scalar(2f32);
    /// let dx = x.unary_backward(UnaryOp::Sigmoid, &grad)?; // 2·¼
    /// assert_eq!(dx.item()?, 0.5);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn unary_backward(&self, op: UnaryOp, grad: &Tensor) -> Result<Tensor> {
        must_match(op.name(), ("the gradient", grad), ("the input", self))?;
        in_f32([self, grad], |[x, grad]| {
            on_device!(op.name(), [x, grad], unary::backward(x, op, grad))
        })
    }

    /// x·mul + add.
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// let x = Tensor::from_slice(&[1f32, 2.0], &[2])?;
    /// assert_eq!(x.affine(10.0, 0.5)?.to_vec::<f32>()?, [10.5, 20.5]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn affine(&self, mul: f64, add: f64) -> Result<Tensor> {
        self.unary(UnaryOp::Affine { mul, add })
    }

    /// x + value.
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// let x = Tensor::from_slice(&[1f32, 2.0], &[2])?;
    /// assert_eq!(x.add_scalar(0.5)?.to_vec::<f32>()?, [1.5, 2.5]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn add_scalar(&self, value: f64) -> Result<Tensor> {
        self.affine(1.0, value)
    }

    /// x·value.
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// let x = Tensor::from_slice(&[1f32, 2.0], &[2])?;
    /// assert_eq!(x.mul_scalar(3.0)?.to_vec::<f32>()?, [3.0, 6.0]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn mul_scalar(&self, value: f64) -> Result<Tensor> {
        // The sum with −0 is x for every x; with 0, −0 would lose its sign.
        self.affine(value, -0.0)
    }

    /// xᵉ for a constant e.
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// let x = Tensor::from_slice(&[2f32, 3.0], &[2])?;
    /// assert_eq!(x.powf(3.0)?.to_string(), "[ 8. 27.]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn powf(&self, e: f64) -> Result<Tensor> {
        self.unary(UnaryOp::Powf(e))
    }

    /// x limited to `[min, max]`; an infinite limit is none.
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// let x = Tensor::from_slice(&[-2f32, 0.5, 2.0], &[3])?;
    /// assert_eq!(x.clamp(-1.0, 1.0)?.to_vec::<f32>()?, [-1.0, 0.5, 1.0]);
    /// assert_eq!(x.clamp(0.0, f64::INFINITY)?.to_vec::<f32>()?, [0.0, 0.5, 2.0]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn clamp(&self, min: f64, max: f64) -> Result<Tensor> {
        if min > max || min.is_nan() || max.is_nan() {
            bail!("clamp", "the limits {min} and {max} are no range");
        }
        self.unary(UnaryOp::Clamp { min, max })
    }

    /// 1 where the element is NaN or infinite, else 0 (u8).
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// let x = Tensor::from_slice(&[1f32, f32::NAN, f32::INFINITY], &[3])?;
    /// assert_eq!(x.is_not_finite()?.to_vec::<u8>()?, [0, 1, 1]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn is_not_finite(&self) -> Result<Tensor> {
        in_f32([self], |[x]| on_device!("is_not_finite", [x], unary::is_not_finite(x)))
    }
}
