//! How a model runs: training or inference, and where its random numbers come from.

use gradus_tensor::RngKey;

/// How a forward pass runs. Every layer with random numbers derives its own stream from `key` and
/// its place in the model, so a step's dropout depends on (seed, step, place) alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forward {
    /// Whether layers such as dropout act as in training.
    pub training: bool,
    /// The random stream of this pass.
    pub key: RngKey,
}

impl Forward {
    /// A pass without anything random.
    pub const fn inference() -> Self {
        Forward { training: false, key: RngKey::new(0) }
    }

    /// The training pass number `step` of a run with this seed. Where several passes make one step
    /// of the optimiser, number the passes: each needs a dropout of its own.
    pub const fn training(seed: u64, step: u64) -> Self {
        Forward { training: true, key: RngKey::new(seed).step(step) }
    }
}
