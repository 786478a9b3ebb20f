//! What tells attention where a token stands, in models whose embeddings do not: rotary positions,
//! and a bias by distance. BERT has neither.

use std::sync::{Arc, Mutex, PoisonError};

use gradus_autograd::Var;
use gradus_nn::{Init, Parameter, Path, RotaryEmbedding, Sequences};
use gradus_tensor::{Device, Tensor};

use crate::{EncoderConfig, Result};

/// The parts of a model that tell the places of tokens.
pub(super) struct Places {
    rotary: Option<Rotary>,
    /// Rotary positions of the layers that see a window only.
    local: Option<Rotary>,
    bias: Option<Buckets>,
}

/// The places of the tokens of one batch. It is shared by all layers.
#[derive(Clone)]
pub(super) struct Placed {
    offsets: Tensor,
    positions: Tensor,
    rotary: Option<Arc<RotaryEmbedding>>,
    local: Option<Arc<RotaryEmbedding>>,
    bias: Option<Var>,
}

impl Places {
    /// Those of the encoder at `path`.
    pub(super) fn new(path: &Path, config: &EncoderConfig) -> Result<Self> {
        let switches = config.switches()?;
        let of = |theta: f64| Rotary {
            positions: config.max_position_embeddings,
            dim: config.hidden_size / config.num_attention_heads,
            theta,
            made: Mutex::default(),
        };
        let bias = switches.buckets.map(|rows| Buckets::new(path, rows, config));
        Ok(Places {
            rotary: switches.theta.map(of),
            local: switches.local.map(|local| of(local.theta)),
            bias: bias.transpose()?,
        })
    }

    /// The places of a batch on `device`.
    pub(super) fn of(
        &self,
        offsets: &Tensor,
        positions: &Tensor,
        device: Device,
    ) -> Result<Placed> {
        let table = |rotary: &Option<Rotary>| rotary.as_ref().map(|r| r.on(device)).transpose();
        Ok(Placed {
            offsets: offsets.clone(),
            positions: positions.clone(),
            rotary: table(&self.rotary)?,
            local: table(&self.local)?,
            bias: self.bias.as_ref().map(|bias| bias.by_distance(device)).transpose()?,
        })
    }
}

impl Placed {
    /// What a layer gets.
    pub(super) fn sequences(&self, is_local: bool) -> Sequences<'_> {
        let rotary = if is_local { &self.local } else { &self.rotary };
        Sequences {
            offsets: &self.offsets,
            rotary: rotary.as_deref().map(|rotary| (rotary, &self.positions)),
            bias: self.bias.as_ref(),
        }
    }
}

/// A table of rotations, made on the device where it is used.
struct Rotary {
    positions: usize,
    dim: usize,
    theta: f64,
    made: Mutex<Option<(Device, Arc<RotaryEmbedding>)>>,
}

impl Rotary {
    fn on(&self, device: Device) -> Result<Arc<RotaryEmbedding>> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        match made.as_ref().filter(|(there, _)| *there == device) {
            Some((_, table)) => Ok(table.clone()),
            None => {
                let table = RotaryEmbedding::new(self.positions, self.dim, self.theta, device)?;
                Ok(made.insert((device, Arc::new(table))).1.clone())
            }
        }
    }
}

/// A number for each head and each range of distances, which is added to the scores (Raffel et al.,
/// arXiv:1910.10683).
struct Buckets {
    /// `[buckets, heads]`.
    table: Parameter,
}

/// As T5's: 32 buckets, half of them for each direction; distances from 128 on have one.
const BUCKETS: usize = 32;
const FARTHEST: i64 = 128;

impl Buckets {
    fn new(path: &Path, rows: usize, config: &EncoderConfig) -> Result<Self> {
        let shape = [rows, config.num_attention_heads];
        let init = Init::Normal { std: config.initializer_range };
        let table = path
            .join("encoder")
            .join("relative_attention_bias")
            .parameter("weight", &shape, init)?;
        Ok(Buckets { table })
    }

    /// The bias of each head and distance, `[heads, 2·128 + 1]`.
    fn by_distance(&self, device: Device) -> Result<Var> {
        let buckets: Vec<u32> = (-FARTHEST..=FARTHEST).map(bucket).collect();
        let buckets = Tensor::from_slice(&buckets, &[buckets.len()])?.to_device(device)?;
        Ok(self.table.var().index_select(0, &buckets)?.transpose(0, 1)?)
    }
}

/// The bucket of a key that stands `distance` tokens after its query.
fn bucket(distance: i64) -> u32 {
    let half = BUCKETS as i64 / 2;
    let (base, n) = (if distance > 0 { half } else { 0 }, distance.abs());
    let exact = half / 2;
    let own = match n < exact {
        true => n,
        false => {
            // In f32, as PyTorch computes it.
            let ratio = (n as f32 / exact as f32).ln();
            let whole = (FARTHEST as f32 / exact as f32).ln();
            (exact + (ratio / whole * (half - exact) as f32) as i64).min(half - 1)
        }
    };
    (base + own) as u32
}

#[cfg(test)]
mod tests {
    use super::bucket;

    /// The buckets of `transformers` (`MPNetEncoder.relative_position_bucket`).
    #[test]
    fn buckets_of_distances() {
        let expected = [
            (-200, 15),
            (-128, 15),
            (-127, 15),
            (-90, 14),
            (-64, 14),
            (-33, 12),
            (-20, 10),
            (-12, 9),
            (-9, 8),
            (-8, 8),
            (-7, 7),
            (-1, 1),
            (0, 0),
            (1, 17),
            (7, 23),
            (8, 24),
            (9, 24),
            (11, 24),
            (15, 25),
            (16, 26),
            (22, 26),
            (23, 27),
            (31, 27),
            (32, 28),
            (45, 28),
            (46, 29),
            (63, 29),
            (64, 30),
            (90, 30),
            (91, 31),
            (127, 31),
            (128, 31),
            (300, 31),
        ];
        for (distance, expected) in expected {
            assert_eq!(bucket(distance), expected, "{distance}");
        }
    }
}
