//! Functions of two elements at a time, with NumPy's broadcasting; and `where`.

use super::on_device;
use crate::layout::broadcast_shapes;
pub use crate::op::binary::{BinaryOp, CompareOp};
use crate::{DType, Result, Tensor, bail};

macro_rules! methods {
    ($($(#[$doc:meta])* $name:ident => $call:ident($op:expr);)*) => {
        impl Tensor {$(
            $(#[$doc])*
            pub fn $name(&self, other: &Tensor) -> Result<Tensor> { self.$call($op, other) }
        )*}
    };
}
methods! {
    /// a + b.
    add => binary(BinaryOp::Add);
    /// a − b.
    sub => binary(BinaryOp::Sub);
    /// a·b, element by element.
    mul => binary(BinaryOp::Mul);
    /// a/b. Integers: division rounds down, and division by 0 gives 0.
    div => binary(BinaryOp::Div);
    /// aᵇ.
    pow => binary(BinaryOp::Pow);
    /// The larger of the two; NaN if either is NaN.
    maximum => binary(BinaryOp::Maximum);
    /// The smaller of the two; NaN if either is NaN.
    minimum => binary(BinaryOp::Minimum);
    /// 1 where a = b, else 0 (u8).
    eq => compare(CompareOp::Eq);
    /// 1 where a ≠ b, else 0 (u8).
    ne => compare(CompareOp::Ne);
    /// 1 where a < b, else 0 (u8).
    lt => compare(CompareOp::Lt);
    /// 1 where a ≤ b, else 0 (u8).
    le => compare(CompareOp::Le);
    /// 1 where a > b, else 0 (u8).
    gt => compare(CompareOp::Gt);
    /// 1 where a ≥ b, else 0 (u8).
    ge => compare(CompareOp::Ge);
}

fn check_dtypes(op: &'static str, a: &Tensor, b: &Tensor) -> Result<()> {
    if a.dtype() != b.dtype() {
        bail!(
            op,
            "dtypes differ: {:?} {} and {:?} {}; convert one with to_dtype",
            a.shape(),
            a.dtype(),
            b.shape(),
            b.dtype()
        );
    }
    Ok(())
}

impl Tensor {
    /// Applies `op` to two tensors of one dtype, broadcast to each other. Integers wrap around.
    pub fn binary(&self, op: BinaryOp, other: &Tensor) -> Result<Tensor> {
        check_dtypes(op.name(), self, other)?;
        let shape = broadcast_shapes(op.name(), self.shape(), other.shape())?;
        let (a, b) = (self.broadcast_to(&shape)?, other.broadcast_to(&shape)?);
        on_device!(op.name(), [self, other], binary::binary(op, &a, &b))
    }

    /// Compares two tensors of one dtype, broadcast to each other: 1 or 0 as u8. Comparisons with
    /// NaN are false, but for `ne`.
    pub fn compare(&self, op: CompareOp, other: &Tensor) -> Result<Tensor> {
        check_dtypes(op.name(), self, other)?;
        let shape = broadcast_shapes(op.name(), self.shape(), other.shape())?;
        let (a, b) = (self.broadcast_to(&shape)?, other.broadcast_to(&shape)?);
        on_device!(op.name(), [self, other], binary::compare(op, &a, &b))
    }

    /// `self[i]` where `condition[i]` (u8) is not 0, else `other[i]`; all three broadcast.
    pub fn where_(&self, condition: &Tensor, other: &Tensor) -> Result<Tensor> {
        check_dtypes("where", self, other)?;
        if condition.dtype() != DType::U8 {
            bail!("where", "the condition is a u8 mask, got {}", condition.dtype());
        }
        let shape = broadcast_shapes("where", self.shape(), other.shape())?;
        let shape = broadcast_shapes("where", &shape, condition.shape())?;
        let (a, b) = (self.broadcast_to(&shape)?, other.broadcast_to(&shape)?);
        let mask = condition.broadcast_to(&shape)?;
        on_device!("where", [self, condition, other], binary::where_(&mask, &a, &b))
    }

    /// `self += alpha · other`, in place; `other` broadcasts to this shape.
    pub fn add_(&mut self, other: &Tensor, alpha: f64) -> Result<()> {
        check_dtypes("add_", self, other)?;
        let other = other.view(other.layout.broadcast_to("add_", self.shape())?);
        on_device!("add_", [self, &other], binary::add_(self, &other, alpha))
    }

    /// `self *= factor`, in place.
    pub fn mul_scalar_(&mut self, factor: f64) -> Result<()> {
        on_device!("mul_scalar_", [self], binary::mul_scalar_(self, factor))
    }
}
