//! `+`, `-`, `*` and `/`.
//!
//! An operation can fail, so its result is a [`Result`](crate::Result), and `?` ends an expression.
//! A result may be one side of an operator, so that `(&x * &w + &b)?` needs one `?`. The language
//! allows no operator on two results and none on a result and a number: there, `?` comes first, as
//! in `((&x * &w)? + 1.0)?`.

/// Implements the operators for a type that has `add`, `sub`, `mul`, `div` and `neg`, and
/// `with_number` and `number_with` for numbers on either side.
#[macro_export]
#[doc(hidden)]
macro_rules! impl_operators {
    ($type:ty) => {
        $crate::impl_operators! { $type, Add, add }
        $crate::impl_operators! { $type, Sub, sub }
        $crate::impl_operators! { $type, Mul, mul }
        $crate::impl_operators! { $type, Div, div }

        impl std::ops::Neg for &$type {
            type Output = $crate::Result<$type>;
            fn neg(self) -> Self::Output {
                <$type>::neg(self)
            }
        }

        impl std::ops::Neg for $type {
            type Output = $crate::Result<$type>;
            fn neg(self) -> Self::Output {
                <$type>::neg(&self)
            }
        }
    };
    ($type:ty, $trait:ident, $method:ident) => {
        $crate::impl_operators! { $type, $trait, $method,
            &$type, &$type: |a, b| <$type>::$method(a, b);
            &$type, $type: |a, b| <$type>::$method(a, &b);
            $type, &$type: |a, b| <$type>::$method(&a, b);
            $type, $type: |a, b| <$type>::$method(&a, &b);
            &$type, $crate::Result<$type>: |a, b| <$type>::$method(a, &b?);
            $type, $crate::Result<$type>: |a, b| <$type>::$method(&a, &b?);
            $crate::Result<$type>, &$type: |a, b| <$type>::$method(&a?, b);
            $crate::Result<$type>, $type: |a, b| <$type>::$method(&a?, &b);
            &$type, f64: |a, b| a.with_number(BinaryOp::$trait, b);
            $type, f64: |a, b| a.with_number(BinaryOp::$trait, b);
            f64, &$type: |a, b| b.number_with(a, BinaryOp::$trait);
            f64, $type: |a, b| b.number_with(a, BinaryOp::$trait);
        }
    };
    ($type:ty, $trait:ident, $method:ident,
        $($left:ty, $right:ty: |$a:ident, $b:ident| $body:expr;)*) => {$(
        impl std::ops::$trait<$right> for $left {
            type Output = $crate::Result<$type>;
            fn $method(self, $b: $right) -> Self::Output {
                let $a = self;
                $body
            }
        }
    )*};
}

use crate::ops::binary::BinaryOp;
use crate::{Result, Tensor};

impl_operators!(Tensor);

impl Tensor {
    /// `self op number`; integers take whole numbers that their dtype holds.
    fn with_number(&self, op: BinaryOp, number: f64) -> Result<Tensor> {
        match op {
            BinaryOp::Add if self.dtype().is_float() => self.add_scalar(number),
            BinaryOp::Sub if self.dtype().is_float() => self.add_scalar(-number),
            BinaryOp::Mul if self.dtype().is_float() => self.mul_scalar(number),
            _ => self.binary(op, &self.scalar_like(number)?),
        }
    }

    /// `number op self`.
    fn number_with(&self, number: f64, op: BinaryOp) -> Result<Tensor> {
        self.scalar_like(number)?.binary(op, self)
    }
}

#[cfg(test)]
mod tests {
    use crate::{DType, Tensor};

    #[test]
    fn every_pair_of_operands() {
        let a = Tensor::from_slice(&[1f64, 2.0, 3.0], &[3]).unwrap();
        let b = Tensor::from_slice(&[4f64, 5.0, 6.0], &[3]).unwrap();
        let is = |t: crate::Result<Tensor>, values: [f64; 3]| {
            assert_eq!(t.unwrap().to_f64_vec(), values)
        };
        is(&a + &b, [5.0, 7.0, 9.0]);
        is(&a - b.clone(), [-3.0, -3.0, -3.0]);
        is(a.clone() * &b, [4.0, 10.0, 18.0]);
        is(b.clone() / a.clone(), [4.0, 2.5, 2.0]);
        is(&a * &b + &a, [5.0, 12.0, 21.0]);
        is(&a - &a * &b, [-3.0, -8.0, -15.0]);
        is(&a * &b - b.clone(), [0.0, 5.0, 12.0]);
        is(a.clone() / (&a + &b), [1.0 / 5.0, 2.0 / 7.0, 3.0 / 9.0]);
        is(&a + 1.0, [2.0, 3.0, 4.0]);
        is(a.clone() - 1.0, [0.0, 1.0, 2.0]);
        is(2.0 * &a, [2.0, 4.0, 6.0]);
        is(1.0 - a.clone(), [0.0, -1.0, -2.0]);
        is(&a / 3.0, [1.0 / 3.0, 2.0 / 3.0, 1.0]);
        is(6.0 / &a, [6.0, 3.0, 2.0]);
        is(-&a, [-1.0, -2.0, -3.0]);
        is(-(a.clone()), [-1.0, -2.0, -3.0]);
    }

    #[test]
    fn integers_take_whole_numbers() {
        let a = Tensor::from_slice(&[1u32, 2, 3], &[3]).unwrap();
        assert_eq!((&a * 2.0).unwrap().to_vec::<u32>().unwrap(), [2, 4, 6]);
        assert_eq!((7.0 - &a).unwrap().to_vec::<u32>().unwrap(), [6, 5, 4]);
        for number in [0.5, -1.0, f64::NAN, 5e9] {
            let error = (&a + number).err().unwrap().to_string();
            assert!(error.contains("u32 does not hold"), "{error}");
        }
        assert!((&a + &a.to_dtype(DType::F32).unwrap()).is_err());
    }
}
