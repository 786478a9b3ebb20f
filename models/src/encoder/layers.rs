//! The layers of the encoder: BERT's, or those of a type that normalises before its blocks.

use std::sync::Arc;

use gradus_autograd::{Var, within};
use gradus_nn::{EncoderLayer, Forward, KeyValues, LayerConfig, Path, PreNormLayer};
use gradus_tensor::bail;

use super::places::Placed;
use crate::family::Switches;
use crate::{EncoderConfig, Result};

/// A layer, and whether it sees a window around a token only.
pub(super) struct Layer {
    /// Its path, for traces.
    name: String,
    kind: Kind,
    is_local: bool,
}

enum Kind {
    PostNorm(EncoderLayer),
    PreNorm(PreNormLayer),
}

impl Layer {
    pub(super) fn forward(
        &self,
        x: &Var,
        places: &Placed,
        forward: &Forward,
    ) -> gradus_tensor::Result<Var> {
        let sequences = places.sequences(self.is_local);
        within(&self.name, || match &self.kind {
            Kind::PostNorm(layer) => layer.forward(x, sequences, forward),
            Kind::PreNorm(layer) => layer.forward(x, sequences, forward),
        })
    }

    /// [`forward`](Layer::forward) for the next tokens of one sequence, whose earlier ones are in
    /// `seen`.
    pub(super) fn step(
        &self,
        x: &Var,
        places: &Placed,
        seen: &mut KeyValues,
    ) -> gradus_tensor::Result<Var> {
        match &self.kind {
            Kind::PreNorm(layer) => layer.step(x, places.sequences(self.is_local), seen),
            Kind::PostNorm(_) => bail!("encoder", "the layers of this model are not causal"),
        }
    }

    /// The attention probabilities of one sequence.
    pub(super) fn probabilities(&self, x: &Var, places: &Placed) -> gradus_tensor::Result<Var> {
        let sequences = places.sequences(self.is_local);
        match &self.kind {
            Kind::PostNorm(layer) => layer.attention().probabilities(x, sequences),
            Kind::PreNorm(layer) => layer.probabilities(x, sequences),
        }
    }
}

/// The layers below `path`.
pub(super) fn layers(path: &Path, config: &EncoderConfig) -> Result<Vec<Arc<Layer>>> {
    let switches = config.switches()?;
    let family = config.family();
    let layer = |i: usize| -> gradus_tensor::Result<Arc<Layer>> {
        let local = switches.local.as_ref().filter(|local| local.layers[i]);
        let settings = settings(config, &switches, (i, local.map(|local| local.window)));
        let path = path.join(i);
        let kind = match family.pre_norm {
            false => Kind::PostNorm(EncoderLayer::new(&path, &settings)?),
            true => {
                let normalised = i == 0 && family.embeddings.norm.is_some();
                Kind::PreNorm(PreNormLayer::new(&path, &settings, !normalised)?)
            }
        };
        Ok(Arc::new(Layer { name: path.name().into(), kind, is_local: local.is_some() }))
    };
    Ok((0..config.num_hidden_layers).map(layer).collect::<gradus_tensor::Result<_>>()?)
}

/// Sizes, rates and switches of a layer, by its number and window.
fn settings(
    config: &EncoderConfig,
    switches: &Switches,
    (number, window): (usize, Option<usize>),
) -> LayerConfig {
    let size = config.hidden_size / config.num_attention_heads.max(1);
    let scale = switches.scale.unwrap_or(1.0 / (size as f64).sqrt());
    let blocks = 2 * config.num_hidden_layers.max(1);
    LayerConfig {
        hidden: config.hidden_size,
        heads: config.num_attention_heads,
        intermediate: config.intermediate_size,
        activation: config.hidden_act,
        dropout: match config.family().pre_norm {
            true => switches.attention_output_dropout,
            false => config.hidden_dropout_prob,
        },
        attention_dropout: config.attention_probs_dropout_prob,
        layer_norm_eps: config.layer_norm_eps,
        init_std: config.initializer_range,
        names: config.family().names,
        biases: switches.biases,
        gated: switches.gated,
        intermediate_dropout: switches.intermediate_dropout,
        window,
        causal: switches.causal,
        scale: Some(if switches.scale_by_layer { scale / (number + 1) as f64 } else { scale }),
        feed_forward_dropout: switches.feed_forward_dropout,
        // As GPT-2's weights begin, so that the sum over all blocks does not grow with their number.
        residual_std: switches.causal.then_some(config.initializer_range / (blocks as f64).sqrt()),
    }
}
