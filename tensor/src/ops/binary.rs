//! Functions of two elements at a time, with NumPy's broadcasting; and `where`.

use gradus_base::layout::broadcast_shapes;

use super::half::{in_f32, is_half};
use super::on_device;
use crate::{DType, Result, Tensor, bail};
pub use gradus_base::op::binary::{BinaryOp, CompareOp};

/// A method for each row of a table: docs, name, variant of [`BinaryOp`], and for the example what
/// a column of 1 and 2 gives with a row of 4 and 2, as it is printed.
macro_rules! arithmetic {
    ($($(#[$doc:meta])* $name:ident => $op:ident, $value:literal;)*) => {
        impl Tensor {$(
            $(#[$doc])*
            ///
            /// ```
            /// # use gradus_tensor::Tensor;
            /// let a = Tensor::from_slice(&[1f32, 2.0], &[2, 1])?;
            /// let b = Tensor::from_slice(&[4f32, 2.0], &[2])?; // broadcast: two rows
            #[doc = concat!("let y = a.", stringify!($name), "(&b)?;")]
            #[doc = concat!("assert_eq!(y.to_string(), \"", $value, "\");")]
            /// # Ok::<(), gradus_tensor::Error>(())
            /// ```
            pub fn $name(&self, other: &Tensor) -> Result<Tensor> {
                self.binary(BinaryOp::$op, other)
            }
        )*}
    };
}
arithmetic! {
    /// a + b.
    add => Add, r"[[5. 3.]\n [6. 4.]]";
    /// a − b.
    sub => Sub, r"[[-3. -1.]\n [-2.  0.]]";
    /// a·b, element by element.
    mul => Mul, r"[[4. 2.]\n [8. 4.]]";
    /// a/b. Integers: division rounds down, and division by 0 gives 0.
    div => Div, r"[[0.25 0.5 ]\n [0.5  1.  ]]";
    /// aᵇ.
    pow => Pow, r"[[ 1.  1.]\n [16.  4.]]";
    /// The larger of the two; NaN if either is NaN.
    maximum => Maximum, r"[[4. 2.]\n [4. 2.]]";
    /// The smaller of the two; NaN if either is NaN.
    minimum => Minimum, r"[[1. 1.]\n [2. 2.]]";
}

/// A method for each row of a table: docs, name, variant of [`CompareOp`], and for the example what
/// 1, 2 and 3 give against 2.
macro_rules! comparisons {
    ($($(#[$doc:meta])* $name:ident => $op:ident, $mask:literal;)*) => {
        impl Tensor {$(
            $(#[$doc])*
            ///
            /// ```
            /// # use gradus_tensor::Tensor;
            /// let x = Tensor::from_slice(&[1f32, 2.0, 3.0], &[3])?;
            #[doc = concat!("assert_eq!(x.", stringify!($name), "(2.0)?.to_string(), \"", $mask, "\");")]
            /// # Ok::<(), gradus_tensor::Error>(())
            /// ```
            pub fn $name<'a>(&self, other: impl Into<Operand<'a>>) -> Result<Tensor> {
                self.compare(CompareOp::$op, other)
            }
        )*}
    };
}
comparisons! {
    /// 1 where a = b, else 0 (u8).
    eq => Eq, "[0 1 0]";
    /// 1 where a ≠ b, else 0 (u8).
    ne => Ne, "[1 0 1]";
    /// 1 where a < b, else 0 (u8).
    lt => Lt, "[1 0 0]";
    /// 1 where a ≤ b, else 0 (u8).
    le => Le, "[1 1 0]";
    /// 1 where a > b, else 0 (u8).
    gt => Gt, "[0 0 1]";
    /// 1 where a ≥ b, else 0 (u8).
    ge => Ge, "[0 1 1]";
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

/// x + other·alpha.
fn added(x: &Tensor, other: &Tensor, alpha: f64) -> Result<Tensor> {
    let mut sum = x.clone();
    sum.add_(other, alpha)?;
    Ok(sum)
}

fn check_dtypes(op: &'static str, a: &Tensor, b: &Tensor) -> Result<()> {
    if a.dtype() != b.dtype() {
        bail!(
            op,
            DType,
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
    ///
    /// ```
    /// # use gradus_tensor::ops::binary::BinaryOp;
    /// # use gradus_tensor::Tensor;
    /// let a = Tensor::from_slice(&[5u32, 7], &[2])?;
    /// let b = Tensor::from_slice(&[2u32], &[1])?;
    /// assert_eq!(a.binary(BinaryOp::Div, &b)?.to_vec::<u32>()?, [2, 3]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn binary(&self, op: BinaryOp, other: &Tensor) -> Result<Tensor> {
        check_dtypes(op.name(), self, other)?;
        let shape = broadcast_shapes(op.name(), self.shape(), other.shape())?;
        in_f32([self, other], |[x, y]| {
            let (a, b) = (x.broadcast_to(&shape)?, y.broadcast_to(&shape)?);
            on_device!(op.name(), [x, y], binary::binary(op, &a, &b))
        })
    }

    /// Compares with a tensor of the same dtype, broadcast, or with a number: 1 or 0 as u8.
    /// Comparisons with NaN are false, except `ne`.
    ///
    /// ```
    /// use gradus_tensor::Tensor;
    ///
    /// let x = Tensor::from_slice(&[-1f32, 0.0, 2.0], &[3])?;
    /// assert_eq!(x.gt(0.0)?.to_vec::<u8>()?, [0, 0, 1]);
    /// assert_eq!(x.le(&x.square()?)?.to_vec::<u8>()?, [1, 1, 1]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the dtypes or devices differ, the shapes do not broadcast, or the dtype is an integer
    /// that does not hold the number.
    pub fn compare<'a>(&self, op: CompareOp, other: impl Into<Operand<'a>>) -> Result<Tensor> {
        match other.into() {
            Operand::Tensor(other) => self.compared(op, other),
            Operand::Number(number) => self.compared(op, &self.scalar_like(number)?),
        }
    }

    fn compared(&self, op: CompareOp, other: &Tensor) -> Result<Tensor> {
        check_dtypes(op.name(), self, other)?;
        let shape = broadcast_shapes(op.name(), self.shape(), other.shape())?;
        in_f32([self, other], |[x, y]| {
            let (a, b) = (x.broadcast_to(&shape)?, y.broadcast_to(&shape)?);
            on_device!(op.name(), [x, y], binary::compare(op, &a, &b))
        })
    }

    /// `self[i]` where `condition[i]` (u8) is not 0, else `other[i]`; all three broadcast.
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// let x = Tensor::from_slice(&[-1f32, 4.0], &[2])?;
    /// let root = x.sqrt()?.where_(&x.ge(0.0)?, &Tensor::scalar(0f32))?; // 0 for negative numbers
    /// assert_eq!(root.to_vec::<f32>()?, [0.0, 2.0]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn where_(&self, condition: &Tensor, other: &Tensor) -> Result<Tensor> {
        check_dtypes("where", self, other)?;
        if condition.dtype() != DType::U8 {
            bail!("where", DType, "the condition is a u8 mask, got {}", condition.dtype());
        }
        let shape = broadcast_shapes("where", self.shape(), other.shape())?;
        let shape = broadcast_shapes("where", &shape, condition.shape())?;
        let (a, b) = (self.broadcast_to(&shape)?, other.broadcast_to(&shape)?);
        let mask = condition.broadcast_to(&shape)?;
        on_device!("where", [self, condition, other], binary::where_(&mask, &a, &b))
    }

    /// `self += alpha · other`, in place; `other` broadcasts to this shape.
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// let mut x = Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0], &[2, 2])?;
    /// x.add_(&Tensor::from_slice(&[1f32, 10.0], &[2])?, 0.5)?; // to each row
    /// assert_eq!(x.to_string(), "[[1.5 7. ]\n [3.5 9. ]]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn add_(&mut self, other: &Tensor, alpha: f64) -> Result<()> {
        check_dtypes("add_", self, other)?;
        let other = other.view(other.layout.broadcast_to("add_", self.shape())?);
        if is_half(self) {
            *self = in_f32([self, &other], |[x, other]| added(x, other, alpha))?;
            return Ok(());
        }
        on_device!("add_", [self, &other], binary::add_(self, &other, alpha))
    }

    /// `self *= factor`, in place.
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// let mut x = Tensor::from_slice(&[1f32, 2.0], &[2])?;
    /// x.mul_scalar_(3.0)?;
    /// assert_eq!(x.to_vec::<f32>()?, [3.0, 6.0]);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn mul_scalar_(&mut self, factor: f64) -> Result<()> {
        if is_half(self) {
            *self = self.mul_scalar(factor)?;
            return Ok(());
        }
        on_device!("mul_scalar_", [self], binary::mul_scalar_(self, factor))
    }
}
