//! The layers of the encoder: BERT's, or those of a type that normalises before its blocks.

use std::sync::Arc;

use gradus_autograd::Var;
use gradus_nn::{EncoderLayer, Forward, LayerConfig, Path, PreNormLayer};

use super::places::Placed;
use crate::family::Switches;
use crate::{EncoderConfig, Result};

/// A layer, and whether it sees a window around a token only.
pub(super) struct Layer {
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
        match &self.kind {
            Kind::PostNorm(layer) => layer.forward(x, sequences, forward),
            Kind::PreNorm(layer) => layer.forward(x, sequences, forward),
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
        let settings = settings(config, &switches, local.map(|local| local.window));
        let path = path.join(i);
        let kind = match family.pre_norm {
            false => Kind::PostNorm(EncoderLayer::new(&path, &settings)?),
            // The embeddings are normalised already.
            true => Kind::PreNorm(PreNormLayer::new(&path, &settings, i > 0)?),
        };
        Ok(Arc::new(Layer { kind, is_local: local.is_some() }))
    };
    Ok((0..config.num_hidden_layers).map(layer).collect::<gradus_tensor::Result<_>>()?)
}

/// Sizes, rates and switches of a layer.
fn settings(config: &EncoderConfig, switches: &Switches, window: Option<usize>) -> LayerConfig {
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
    }
}
