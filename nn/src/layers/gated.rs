//! The gated first half of a feed-forward block.

use gradus_autograd::Var;
use gradus_tensor::ops::glu::{Gate, Glu};
use gradus_tensor::{Result, bail};

use crate::{Activation, Forward, Linear};

/// Two linear functions of the input, one of them after an activation, multiplied: GEGLU, SwiGLU
/// and their like (Shazeer, arXiv:2002.05202).
pub struct GatedLinear {
    parts: Vec<Linear>,
    glu: Glu,
}

impl GatedLinear {
    /// `parts` are the linear layers of one input whose outputs, side by side, are the two halves:
    /// one layer of twice the width (ModernBERT's `Wi`), or two (`gate_proj`, `up_proj`). The
    /// activation is applied to the first half if `gate_first`.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_nn::{Activation, Forward, GatedLinear, Init, Linear, Store};
    /// # use gradus_tensor::Tensor;
    /// let root = Store::new(0).root();
    /// let part = |name: &str| Linear::no_bias(&root.join(name), 1, 1, Init::Ones);
    /// let parts = vec![part("gate_proj")?, part("up_proj")?];
    /// let gated = GatedLinear::new(parts, Activation::Relu, true)?;
    /// let x = Var::constant(Tensor::from_slice(&[3f32, 2.0], &[2, 1])?);
    /// assert_eq!(gated.forward(&x, &Forward::inference())?.to_string(), "[[9.]\n [4.]]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// If there is no gated unit with this activation.
    pub fn new(parts: Vec<Linear>, activation: Activation, gate_first: bool) -> Result<Self> {
        Ok(GatedLinear { parts, glu: Glu { gate: gate_of(activation)?, gate_first } })
    }

    /// `x` `[…, in]` → `[…, m]`, where the parts have 2·m outputs together.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_nn::{Activation, Forward, GatedLinear, Init, Linear, Store};
    /// # use gradus_tensor::Tensor;
    /// let both = Linear::no_bias(&Store::new(0).root().join("Wi"), 1, 4, Init::Ones)?;
    /// let gated = GatedLinear::new(vec![both], Activation::Relu, true)?;
    /// let x = Var::constant(Tensor::from_slice(&[3f32], &[1, 1])?);
    /// assert_eq!(gated.forward(&x, &Forward::inference())?.to_string(), "[[9. 9.]]");
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn forward(&self, x: &Var, forward: &Forward) -> Result<Var> {
        let halves = match &self.parts[..] {
            [both] => both.forward_in(x, forward)?,
            parts => Linear::forward_cat(&parts.iter().collect::<Vec<_>>(), x, forward)?,
        };
        halves.glu(self.glu)
    }
}

fn gate_of(activation: Activation) -> Result<Gate> {
    Ok(match activation {
        Activation::Gelu => Gate::Gelu,
        Activation::GeluTanh => Gate::GeluTanh,
        Activation::Relu => Gate::Relu,
        Activation::Silu => Gate::Silu,
        other => bail!("glu", "no gated unit has the activation {other:?}; use gelu, relu or silu"),
    })
}
