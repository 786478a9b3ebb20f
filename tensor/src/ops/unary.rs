//! Functions of one element at a time.

use gradus_base::unary_table;

use super::on_device;
use crate::{Result, Tensor, bail};
pub use gradus_base::op::unary::UnaryOp;

/// A method for each row of the table.
macro_rules! methods {
    ($($variant:ident, $name:ident, $doc:literal;)*) => {
        impl Tensor {$(
            #[doc = concat!("`", stringify!($name), "`: ", $doc, ".")]
            pub fn $name(&self) -> Result<Tensor> { self.unary(UnaryOp::$variant) }
        )*}
    };
}
unary_table!(methods);

impl Tensor {
    /// Applies `op` to every element; floats only. The result is row-major.
    pub fn unary(&self, op: UnaryOp) -> Result<Tensor> {
        on_device!(op.name(), [self], unary::forward(self, op))
    }

    /// `grad · op'(x)` in one pass, for the operations with a fused derivative; `self` is x.
    pub fn unary_backward(&self, op: UnaryOp, grad: &Tensor) -> Result<Tensor> {
        if self.shape() != grad.shape() || self.dtype() != grad.dtype() {
            bail!(
                op.name(),
                "the gradient is {:?} {}, the input {:?} {}; both must match",
                grad.shape(),
                grad.dtype(),
                self.shape(),
                self.dtype()
            );
        }
        on_device!(op.name(), [self, grad], unary::backward(self, op, grad))
    }

    /// x·mul + add.
    pub fn affine(&self, mul: f64, add: f64) -> Result<Tensor> {
        self.unary(UnaryOp::Affine { mul, add })
    }

    /// x + value.
    pub fn add_scalar(&self, value: f64) -> Result<Tensor> {
        self.affine(1.0, value)
    }

    /// x·value.
    pub fn mul_scalar(&self, value: f64) -> Result<Tensor> {
        // −0 is the number that changes none: 0 would take the sign of −0.
        self.affine(value, -0.0)
    }

    /// xᵉ for a constant e.
    pub fn powf(&self, e: f64) -> Result<Tensor> {
        self.unary(UnaryOp::Powf(e))
    }

    /// x limited to `[min, max]` (use infinities for one-sided limits).
    pub fn clamp(&self, min: f64, max: f64) -> Result<Tensor> {
        if min > max || min.is_nan() || max.is_nan() {
            bail!("clamp", "the limits {min} and {max} are no range");
        }
        self.unary(UnaryOp::Clamp { min, max })
    }

    /// 1 where the element is NaN or infinite, else 0 (u8).
    pub fn is_not_finite(&self) -> Result<Tensor> {
        on_device!("is_not_finite", [self], unary::is_not_finite(self))
    }
}
