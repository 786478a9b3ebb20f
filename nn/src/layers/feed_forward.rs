//! The first half of a feed-forward block.

use gradus_autograd::Var;
use gradus_tensor::Result;

use crate::{Activation, Forward, GatedLinear, Init, LayerConfig, Linear, Path};

/// The first half of a feed-forward block: `[tokens, hidden]` → `[tokens, intermediate]`.
pub(crate) enum FeedForward {
    /// A linear layer and an activation, as in BERT.
    Plain(Linear, Activation),
    /// Two linear layers, one of them after an activation, multiplied.
    Gated(GatedLinear),
}

impl FeedForward {
    /// The half of the layer at `path`.
    pub(crate) fn new(path: &Path, config: &LayerConfig) -> Result<Self> {
        let (names, h, between) = (&config.names, config.hidden, config.intermediate);
        let linear = |name: &str, outputs| {
            let init = Init::Normal { std: config.init_std };
            Linear::with_bias(&(path / name), h, outputs, init, config.biases.intermediate)
        };
        let parts = match (config.gated, names.gate) {
            (false, _) => {
                return Ok(Self::Plain(linear(names.intermediate, between)?, config.activation));
            }
            (true, Some(gate)) => {
                vec![linear(gate, between)?, linear(names.intermediate, between)?]
            }
            (true, None) => vec![linear(names.intermediate, 2 * between)?],
        };
        Ok(Self::Gated(GatedLinear::new(parts, config.activation, true)?))
    }

    pub(crate) fn forward(&self, x: &Var, forward: &Forward) -> Result<Var> {
        match self {
            Self::Plain(linear, activation) => linear.forward_then(x, *activation, forward),
            Self::Gated(gated) => gated.forward(x, forward),
        }
    }
}
