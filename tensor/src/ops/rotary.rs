//! Rotary position embedding (Su et al., arXiv:2104.09864).

use super::half::in_f32;
use super::index::checked_ids;
use super::on_device;
use crate::{DType, Result, Tensor, bail};
pub use gradus_base::op::rotary::Rotary;

const OP: &str = "rotary_embedding";

impl Tensor {
    /// Rotates pairs of elements of heads by angles that grow with the token's position, so that
    /// the product of a query and a key depends on their distance. `self` is `[tokens, width]`;
    /// [`Rotary`] says how many heads of which size lie side by side in it from the first column
    /// on. Other columns stay: the values, where `self` is query, key and value of
    /// [`attention_qkvpacked`](Tensor::attention_qkvpacked).
    ///
    /// `table` `[positions, dim]` has the cosines of the dim/2 angles of a position, then their
    /// sines ([`rotary_table`](Tensor::rotary_table)); `positions` (u32, `[tokens]`) has the
    /// table's row for each token. The pairs are the elements j and j + dim/2 of a head, as in
    /// `rotate_half` of `transformers` (and GPT-NeoX); where dim is less than the size of a head,
    /// its last elements stay. Computes in f32 for 16-bit floats.
    ///
    /// ```
    /// # use gradus_tensor::ops::rotary::Rotary;
    /// # use gradus_tensor::Tensor;
    /// let x = Tensor::from_slice(&[1f32, 0.0, 5.0, 1.0, 0.0, 5.0], &[2, 3])?; // a head and more
    /// let table = Tensor::from_slice(&[1f32, 0.0, 0.0, 1.0], &[2, 2])?; // 0° and 90°
    /// let positions = Tensor::from_slice(&[0u32, 1], &[2])?;
    /// let options = Rotary { heads: 1, head_size: 2, inverse: false };
    /// let y = x.rotary_embedding(&table, &positions, options)?;
    /// assert_eq!(y.to_string(), "[[1. 0. 5.]\n [0. 1. 5.]]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn rotary_embedding(
        &self,
        table: &Tensor,
        positions: &Tensor,
        options: Rotary,
    ) -> Result<Tensor> {
        let positions = self.check_rotary(table, positions, options)?;
        let wide = if self.dtype() == DType::F64 { DType::F64 } else { DType::F32 };
        let table = table.to_dtype(wide)?.contiguous()?;
        in_f32([self], |[x]| {
            on_device!(
                OP,
                [x, &table, &positions],
                rotary::rotary_embedding(x, &table, &positions, options)
            )
        })
    }

    /// Checks the operands; returns the positions, contiguous.
    fn check_rotary(&self, table: &Tensor, positions: &Tensor, options: Rotary) -> Result<Tensor> {
        let Rotary { heads, head_size, .. } = options;
        let (&[tokens, width], &[rows, dim]) = (self.shape(), table.shape()) else {
            let (x, table) = (self.shape(), table.shape());
            bail!(
                OP,
                Shape,
                "takes [tokens, width] and a table [positions, dim], got {x:?} and {table:?}"
            );
        };
        let columns = heads.checked_mul(head_size);
        if head_size == 0 || columns.is_none_or(|columns| columns > width) {
            bail!(OP, Shape, "{heads} heads of {head_size} elements do not lie in {width} columns");
        }
        if dim % 2 != 0 || dim > head_size {
            bail!(
                OP,
                Shape,
                "the table is {rows} × {dim}; its rows need a cosine and a sine for each pair of at \
                 most {head_size} elements of a head"
            );
        }
        if positions.shape() != [tokens] {
            bail!(OP, Shape, "{tokens} tokens have as many positions, got {:?}", positions.shape());
        }
        if !table.dtype().is_float() {
            bail!(OP, DType, "the table is {}; it must be of floats", table.dtype());
        }
        checked_ids(OP, positions, rows, &format!("the table {:?}", table.shape()))
    }

    /// The cosines and sines for [`rotary_embedding`](Tensor::rotary_embedding) of `positions`
    /// positions from 0 on: `[positions, dim]`, f32. Angle j of position p is p·θ^(−2j/dim). It is
    /// computed in f32, as models that were trained with `transformers` have it: far positions
    /// differ from the exact ones in the fourth digit.
    ///
    /// ```
    /// # use gradus_tensor::Tensor;
    /// let table = Tensor::rotary_table(2, 2, 10_000.0)?;
    /// assert_eq!(table.to_string(), "[[1.     0.    ]\n [0.5403 0.8415]]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// If `dim` is odd or θ is no positive number.
    pub fn rotary_table(positions: usize, dim: usize, theta: f64) -> Result<Tensor> {
        let op = "rotary_table";
        if !dim.is_multiple_of(2) {
            bail!(op, "the dimension {dim} is odd; each angle turns two elements");
        }
        if !(theta.is_finite() && theta > 0.0) {
            bail!(op, "theta is {theta}; it must be a positive number");
        }
        let power = |j: usize| theta.powf(((2 * j) as f32 / dim as f32) as f64) as f32;
        let frequencies: Vec<f32> = (0..dim / 2).map(|j| 1.0 / power(j)).collect();
        let table = Tensor::zeros(&[positions, dim], DType::F32)?;
        let mut values = table.to_vec::<f32>()?;
        for (position, row) in values.chunks_exact_mut(dim.max(1)).enumerate() {
            let (cos, sin) = row.split_at_mut(dim / 2);
            for (j, &frequency) in frequencies.iter().enumerate() {
                let angle = (position as f32 * frequency) as f64;
                (cos[j], sin[j]) = (angle.cos() as f32, angle.sin() as f32);
            }
        }
        Tensor::from_slice(&values, &[positions, dim])
    }
}
