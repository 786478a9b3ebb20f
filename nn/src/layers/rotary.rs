//! Rotary position embedding.

use gradus_autograd::Var;
use gradus_tensor::ops::rotary::Rotary;
use gradus_tensor::{Device, Result, Tensor};

/// Rotates queries and keys by their tokens' positions (Su et al., arXiv:2104.09864). It has no
/// parameters; the cosines and sines are those of `transformers`.
pub struct RotaryEmbedding {
    /// `[positions, dim]`: cosines, then sines.
    table: Tensor,
}

impl RotaryEmbedding {
    /// For `positions` positions on `device`. The first `dim` elements of each head are rotated,
    /// in pairs j and j + dim/2; `theta` is the base of their frequencies (`rope_theta`).
    ///
    /// ```
    /// # use gradus_nn::RotaryEmbedding;
    /// # use gradus_tensor::Device;
    /// let local = RotaryEmbedding::new(8192, 64, 10_000.0, Device::Cpu)?;
    /// assert_eq!(local.positions(), 8192);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// If `dim` is odd, or θ is no positive number.
    pub fn new(positions: usize, dim: usize, theta: f64, device: Device) -> Result<Self> {
        Ok(RotaryEmbedding {
            table: Tensor::rotary_table(positions, dim, theta)?.to_device(device)?,
        })
    }

    /// How many positions there are.
    ///
    /// ```
    /// # use gradus_nn::RotaryEmbedding;
    /// # use gradus_tensor::Device;
    /// assert_eq!(RotaryEmbedding::new(512, 64, 10_000.0, Device::Cpu)?.positions(), 512);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn positions(&self) -> usize {
        self.table.shape()[0]
    }

    /// Query, key and value side by side, `qkv` `[tokens, 3·hidden]` → the same shape: query and
    /// key rotated, the value as it is. `positions` (u32, `[tokens]`) are those of the tokens in
    /// their sequences.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_nn::RotaryEmbedding;
    /// # use gradus_tensor::{DType, Device, Tensor};
    /// let rotary = RotaryEmbedding::new(8, 2, 10_000.0, Device::Cpu)?;
    /// let qkv = Var::constant(Tensor::ones(&[2, 6], DType::F32)?);
    /// let positions = Tensor::from_slice(&[0u32, 1], &[2])?;
    /// let y = rotary.forward(&qkv, &positions, 1)?;
    /// assert_eq!(y.i(0)?.to_string(), "[1. 1. 1. 1. 1. 1.]");
    /// assert_eq!(y.i(1)?.to_string(), "[-0.3012  1.3818 -0.3012  1.3818  1.      1.    ]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the width is not that of three times `heads` heads, each at least as wide as `dim`, or a
    /// position is beyond the last one.
    pub fn forward(&self, qkv: &Var, positions: &Tensor, heads: usize) -> Result<Var> {
        let head_size = qkv.size(-1)? / 3 / heads.max(1);
        let options = Rotary { heads: 2 * heads, head_size, inverse: false };
        qkv.rotary_embedding(&self.table, positions, options)
    }
}
