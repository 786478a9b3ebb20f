//! Functions of two elements at a time, with NumPy's broadcasting; and `where`.

use gradus_base::layout::broadcast_shapes;

use super::on_device;
use crate::{DType, Result, Tensor, bail};
pub use gradus_base::op::binary::{BinaryOp, CompareOp};

macro_rules! arithmetic {
    ($($(#[$doc:meta])* $name:ident => $op:ident;)*) => {
        impl Tensor {$(
            $(#[$doc])*
            pub fn $name(&self, other: &Tensor) -> Result<Tensor> {
                self.binary(BinaryOp::$op, other)
            }
        )*}
    };
}
arithmetic! {
    /// a + b.
    add => Add;
    /// a − b.
    sub => Sub;
    /// a·b, element by element.
    mul => Mul;
    /// a/b. Integers: division rounds down, and division by 0 gives 0.
    div => Div;
    /// aᵇ.
    pow => Pow;
    /// The larger of the two; NaN if either is NaN.
    maximum => Maximum;
    /// The smaller of the two; NaN if either is NaN.
    minimum => Minimum;
}

macro_rules! comparisons {
    ($($(#[$doc:meta])* $name:ident => $op:ident;)*) => {
        impl Tensor {$(
            $(#[$doc])*
            pub fn $name<'a>(&self, other: impl Into<Operand<'a>>) -> Result<Tensor> {
                self.compare(CompareOp::$op, other)
            }
        )*}
    };
}
comparisons! {
    /// 1 where a = b, else 0 (u8).
    eq => Eq;
    /// 1 where a ≠ b, else 0 (u8).
    ne => Ne;
    /// 1 where a < b, else 0 (u8).
    lt => Lt;
    /// 1 where a ≤ b, else 0 (u8).
    le => Le;
    /// 1 where a > b, else 0 (u8).
    gt => Gt;
    /// 1 where a ≥ b, else 0 (u8).
    ge => Ge;
}

/// The second operand of a comparison: a tensor or a number.
#[derive(Clone, Copy, Debug)]
pub enum Operand<'a> {
    /// A tensor of the first operand's dtype, on its device.
    Tensor(&'a Tensor),
    /// The same number for every element.
    Number(f64),
}

impl<'a> From<&'a Tensor> for Operand<'a> {
    fn from(tensor: &'a Tensor) -> Self {
        Operand::Tensor(tensor)
    }
}

impl From<f64> for Operand<'_> {
    fn from(number: f64) -> Self {
        Operand::Number(number)
    }
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

    /// Compares with a tensor of the same dtype, broadcast, or with a number: 1 or 0 as u8. Comparisons
    /// with NaN are false, but for `ne`.
    ///
    /// ```
    /// # fn main() -> gradus_tensor::Result<()> {
    /// use gradus_tensor::Tensor;
    ///
    /// let x = Tensor::from_slice(&[-1f32, 0.0, 2.0], &[3])?;
    /// assert_eq!(x.gt(0.0)?.to_vec::<u8>()?, [0, 0, 1]);
    /// assert_eq!(x.le(&x.square()?)?.to_vec::<u8>()?, [1, 1, 1]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If the dtypes or devices differ, the shapes do not broadcast, or the dtype is an integer that does not
    /// hold the number.
    pub fn compare<'a>(&self, op: CompareOp, other: impl Into<Operand<'a>>) -> Result<Tensor> {
        match other.into() {
            Operand::Tensor(other) => self.compared(op, other),
            Operand::Number(number) => self.compared(op, &self.scalar_like(number)?),
        }
    }

    fn compared(&self, op: CompareOp, other: &Tensor) -> Result<Tensor> {
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
