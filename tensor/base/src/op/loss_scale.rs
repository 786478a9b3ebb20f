//! Dynamic loss scaling: its settings, and how many numbers its tensors have.

/// Numbers of the state: the scale, steps without overflow since it last changed, steps skipped so
/// far.
pub const STATE: usize = 3;

/// Numbers of a verdict on a step; see `Tensor::loss_scale_`.
pub const VERDICT: usize = 5;

/// How a loss scale moves, and the clipping that goes with it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LossScale {
    /// Factor of the scale after [`growth_interval`](LossScale::growth_interval) steps without
    /// overflow.
    pub growth_factor: f64,
    /// Factor of the scale after a step with one.
    pub backoff_factor: f64,
    /// Steps without overflow after which the scale grows.
    pub growth_interval: u32,
    /// Largest norm of the gradients without the scale; infinite for none.
    pub max_norm: f64,
}
