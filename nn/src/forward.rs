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
    /// Whether a model keeps only the inputs of its layers for backward, which then runs each layer
    /// again: see [`checkpoint`](gradus_autograd::checkpoint()).
    pub checkpointing: bool,
}

impl Forward {
    /// A pass without anything random.
    ///
    /// ```
    /// # use gradus_nn::Forward;
    /// assert!(!Forward::inference().training);
    /// ```
    pub const fn inference() -> Self {
        Forward { training: false, key: RngKey::new(0), checkpointing: false }
    }

    /// The training pass number `step` of a run with this seed. Where several passes make one step
    /// of the optimiser, number the passes: each needs a dropout of its own.
    ///
    /// ```
    /// # use gradus_autograd::Var;
    /// # use gradus_nn::{Dropout, Forward, Store};
    /// # use gradus_tensor::{DType, Tensor};
    /// let dropout = Dropout::new(&Store::new(0).root().join("dropout"), 0.5)?;
    /// let x = Var::constant(Tensor::ones(&[100], DType::F32)?);
    /// let at = |step| dropout.forward(&x, &Forward::training(42, step)).map(|y| y.to_string());
    /// assert_eq!(at(7)?, at(7)?); // the same pass again
    /// assert_ne!(at(7)?, at(8)?);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub const fn training(seed: u64, step: u64) -> Self {
        Forward { training: true, key: RngKey::new(seed).step(step), checkpointing: false }
    }

    /// The same pass with activation checkpointing, or without it. It changes no result: a layer
    /// that runs again draws the same dropout.
    ///
    /// ```
    /// # use gradus_nn::Forward;
    /// assert!(Forward::training(42, 7).with_checkpointing(true).checkpointing);
    /// ```
    pub const fn with_checkpointing(self, checkpointing: bool) -> Self {
        Forward { checkpointing, ..self }
    }
}
