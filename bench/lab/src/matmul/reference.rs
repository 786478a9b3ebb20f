//! The product in f64, and how far each step may be from it.

use gradus_tensor::{DType, Result, Tensor};

use crate::check::{Expected, gamma};

/// What a step rounds its operands to.
#[derive(Clone, Copy)]
pub enum Rounding {
    /// 8 significant bits.
    Bf16,
    /// 11 significant bits.
    F16,
    /// Rows of A to 1/255 of their range at least, columns of B to 1/254 of their largest number.
    Int8,
}

/// The values that are compared with, `[m, n]`.
pub struct Reference {
    a: Tensor,
    b: Tensor,
    product: Tensor,
    /// |A|·|B|, on which the errors of all orders of summation depend.
    size: Tensor,
    terms: usize,
}

impl Reference {
    pub fn new(a: &Tensor, b: &Tensor) -> Result<Reference> {
        let (a, b) = (a.to_dtype(DType::F64)?, b.to_dtype(DType::F64)?);
        let product = a.matmul(&b)?;
        let size = a.abs()?.matmul(&b.abs()?)?;
        Ok(Reference { terms: a.shape()[1], a, b, product, size })
    }

    /// C, within the bound of f32.
    pub fn product(&self) -> Result<Expected> {
        expected(&self.product, &self.size, |_, size| gamma(self.terms) * size)
    }

    /// GELU(C + bias). Its slope is below 1.13; 1e-6 is more than the error of the engine's GELU.
    pub fn gelu(&self, bias: &Tensor) -> Result<Expected> {
        let bias = bias.to_dtype(DType::F64)?;
        let (sum, size) = ((&self.product + &bias)?, (&self.size + bias.abs()?)?);
        let bound =
            |y: f64, size: f64| 1.13 * gamma(self.terms + 1) * size + 1e-6 * (1.0 + y.abs());
        expected(&sum.gelu()?, &size, bound)
    }

    /// C of operands that are rounded.
    pub fn rounded(&self, rounding: Rounding) -> Result<Expected> {
        let relative = |u: f64| {
            let bound = move |_: f64, size: f64| (2.0 * u + u * u + gamma(self.terms)) * size;
            expected(&self.product, &self.size, bound)
        };
        match rounding {
            Rounding::Bf16 => relative(1.0 / 512.0),
            Rounding::F16 => relative(1.0 / 4096.0),
            Rounding::Int8 => self.integers(),
        }
    }

    /// With errors ≤ e of the numbers of a row of A and ≤ f of those of a column of B, that of a
    /// sum is at most e·Σ|b| + f·Σ|a| + k·e·f.
    fn integers(&self) -> Result<Expected> {
        let (a, b) = (self.a.abs()?, self.b.abs()?);
        let e = (a.max(&[1], true)? * (1.001 / 255.0))?;
        let f = (b.max(&[0], true)? * (1.001 / 254.0))?;
        let of_a = (&e * b.sum(&[0], true)?)?;
        let of_b = (&f * a.sum(&[1], true)?)?;
        let both = ((&e * &f)? * self.terms as f64)?;
        let bound = (((of_a + of_b)? + both)? + (&self.size * gamma(self.terms))?)?;
        expected(&self.product, &bound, |_, bound| bound)
    }
}

/// The values, each with the bound that `bound` makes of it and its partner in `size`.
fn expected(values: &Tensor, size: &Tensor, bound: impl Fn(f64, f64) -> f64) -> Result<Expected> {
    let shape = values.shape().to_vec();
    let (values, size) = (values.to_vec::<f64>()?, size.to_vec::<f64>()?);
    let bounds = values.iter().zip(&size).map(|(&value, &size)| bound(value, size)).collect();
    Ok(Expected { name: "C", shape, values, bounds })
}
