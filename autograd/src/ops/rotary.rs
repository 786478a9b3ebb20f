//! Rotary position embedding: a rotation, so the gradient is rotated back.

use gradus_tensor::ops::rotary::Rotary;
use gradus_tensor::{Result, Tensor};

use crate::op::Op;
use crate::trace::{Told, numbers};
use crate::var::Var;

/// The composed reference of [`Var::rotary_embedding`].
///
/// ```
/// # use gradus_autograd::Var;
/// # use gradus_autograd::ops::rotary::rotary_embedding_composed;
/// # use gradus_tensor::ops::rotary::Rotary;
/// # use gradus_tensor::Tensor;
/// let x = Var::constant(Tensor::from_slice(&[1f32, 0.0], &[1, 2])?);
/// let table = Tensor::from_slice(&[0f32, 1.0], &[1, 2])?; // 90°
/// let positions = Tensor::from_slice(&[0u32], &[1])?;
/// let options = Rotary { heads: 1, head_size: 2, inverse: false };
/// let y = rotary_embedding_composed(&x, &table, &positions, options)?;
/// assert_eq!(y.to_string(), "[[0. 1.]]");
/// # Ok::<(), gradus_tensor::Error>(())
/// ```
pub fn rotary_embedding_composed(
    x: &Var,
    table: &Tensor,
    positions: &Tensor,
    options: Rotary,
) -> Result<Var> {
    let Rotary { heads, head_size, inverse } = options;
    let (tokens, width, half) = (x.size(0)?, x.size(1)?, table.shape()[1] / 2);
    let angles = table.to_dtype(x.dtype())?.index_select(0, positions)?;
    let factor = |start: usize| -> Result<Var> {
        let part = angles.narrow(1, start, half)?.reshape(&[tokens, 1, half])?;
        Ok(Var::constant(part))
    };
    let (cos, sin) = (factor(0)?, factor(half)?);
    let sin = if inverse { sin.neg()? } else { sin };
    let split = x.narrow(1, 0, heads * head_size)?.reshape(&[tokens, heads, head_size])?;
    let (a, b) = (split.narrow(2, 0, half)?, split.narrow(2, half, half)?);
    let rest = split.narrow(2, 2 * half, head_size - 2 * half)?;
    let first = a.mul(&cos)?.sub(&b.mul(&sin)?)?;
    let second = b.mul(&cos)?.add(&a.mul(&sin)?)?;
    let rotated = Var::cat(&[&first, &second, &rest], 2)?.reshape(&[tokens, heads * head_size])?;
    let after = x.narrow(1, heads * head_size, width - heads * head_size)?;
    Var::cat(&[&rotated, &after], 1)
}

impl Var {
    /// See [`Tensor::rotary_embedding`]. It keeps nothing of `self` for backward.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_tensor::ops::rotary::Rotary;
    /// # use gradus_tensor::Tensor;
    /// let x = Var::leaf(Tensor::from_slice(&[1f32, 0.0], &[1, 2])?);
    /// let table = Tensor::from_slice(&[0f32, 1.0], &[1, 2])?; // 90°
    /// let positions = Tensor::from_slice(&[0u32], &[1])?;
    /// let options = Rotary { heads: 1, head_size: 2, inverse: false };
    /// let y = x.rotary_embedding(&table, &positions, options)?;
    /// assert_eq!(y.to_string(), "[[0. 1.]]");
    /// let grads = y.narrow(1, 0, 1)?.sum_all()?.backward()?; // y₀ = −x₁
    /// assert_eq!(grads.get(&x).unwrap().to_string(), "[[ 0. -1.]]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn rotary_embedding(
        &self,
        table: &Tensor,
        positions: &Tensor,
        options: Rotary,
    ) -> Result<Var> {
        let y = self.tensor().rotary_embedding(table, positions, options)?;
        let (table, positions) = (table.clone(), positions.clone());
        let back = Rotary { inverse: !options.inverse, ..options };
        let told = Told::new().set("positions", || numbers(&positions));
        Var::record_told(Op::RotaryEmbedding, y, &[self], told, move |c| {
            Ok(vec![Some(c.grad().rotary_embedding(&table, &positions, back)?)])
        })
    }
}
