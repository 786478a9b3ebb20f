//! Parameters that share settings of an optimiser.

use std::borrow::Borrow;

use crate::Parameter;

/// Parameters that share settings of an optimiser: a rate, a weight decay and, for Adam, the decays
/// of the moments.
#[derive(Clone, Debug)]
pub struct ParamGroup {
    /// The parameters. A parameter may be in one group only.
    pub params: Vec<Parameter>,
    /// Learning rate, before the schedule's factor.
    pub lr: f64,
    /// Weight decay.
    pub weight_decay: f64,
    /// Decays of Adam's moments, where they are not the optimiser's.
    pub betas: Option<(f64, f64)>,
}

impl ParamGroup {
    /// These parameters at the rate `lr`, without weight decay.
    ///
    /// ```
    /// # use gradus_nn::{ParamGroup, Parameter};
    /// # use gradus_tensor::Tensor;
    /// let w = Parameter::new("w", Tensor::scalar(1f32))?;
    /// let group = ParamGroup::new([&w], 0.1);
    /// assert_eq!((group.params.len(), group.lr, group.weight_decay), (1, 0.1, 0.0));
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn new(params: impl IntoIterator<Item = impl Borrow<Parameter>>, lr: f64) -> ParamGroup {
        let params = params.into_iter().map(|p| p.borrow().clone()).collect();
        ParamGroup { params, lr, weight_decay: 0.0, betas: None }
    }

    /// With this weight decay.
    ///
    /// ```
    /// # use gradus_nn::{ParamGroup, Parameter};
    /// # use gradus_tensor::Tensor;
    /// let w = Parameter::new("w", Tensor::scalar(1f32))?;
    /// assert_eq!(ParamGroup::new([&w], 0.1).weight_decay(0.01).weight_decay, 0.01);
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn weight_decay(self, weight_decay: f64) -> ParamGroup {
        ParamGroup { weight_decay, ..self }
    }

    /// With decays of the moments of its own, for [`Adam`](crate::Adam) and
    /// [`AdamW`](crate::AdamW). An optimiser without moments refuses them.
    ///
    /// ```
    /// # use gradus_nn::{AdamW, ParamGroup, Parameter, Sgd};
    /// # use gradus_tensor::Tensor;
    /// let w = Parameter::new("w", Tensor::scalar(1f32))?;
    /// let groups = || vec![ParamGroup::new([&w], 0.1).betas(0.8, 0.99)];
    /// assert!(AdamW::with_groups(groups()).is_ok());
    /// assert!(Sgd::with_groups(groups()).is_err());
    /// # Ok::<(), gradus_tensor::Error>(())
    /// ```
    pub fn betas(self, beta1: f64, beta2: f64) -> ParamGroup {
        ParamGroup { betas: Some((beta1, beta2)), ..self }
    }
}

/// Whether a parameter of this name takes weight decay: all but biases and norms, which have no
/// direction to lose (as in BERT's own training). A norm is a module with `norm` in its name, or one
/// whose name begins with `ln_`.
///
/// ```
/// # use gradus_nn::decays;
/// assert!(decays("encoder.layer.0.output.dense.weight"));
/// assert!(!decays("encoder.layer.0.output.dense.bias"));
/// assert!(!decays("encoder.layer.0.output.LayerNorm.weight"));
/// assert!(!decays("transformer.layer.0.sa_layer_norm.weight"));
/// assert!(!decays("transformer.h.0.ln_1.weight"));
/// ```
pub fn decays(name: &str) -> bool {
    let mut parts = name.rsplit('.');
    let (last, module) = (parts.next(), parts.next());
    let is_norm =
        |module: &str| module.to_lowercase().contains("norm") || module.starts_with("ln_");
    last != Some("bias") && !module.is_some_and(is_norm)
}

/// The four groups of fine-tuning: body with and without weight decay, then head with and without.
/// Some may be empty. The head's rate is `head_lr`, or `lr` if there is none.
///
/// ```
/// # use gradus_nn::{Parameter, param_groups};
/// # use gradus_tensor::Tensor;
/// let name = |name: &str| Parameter::new(name, Tensor::scalar(1f32));
/// let params = [name("bert.weight")?, name("bert.bias")?, name("classifier.weight")?];
/// let is_head = |name: &str| name.starts_with("classifier");
/// let groups = param_groups(&params, 2e-5, Some(1e-3), is_head, 0.01);
/// let sizes: Vec<usize> = groups.iter().map(|group| group.params.len()).collect();
/// assert_eq!(sizes, [1, 1, 1, 0]);
/// assert_eq!((groups[1].lr, groups[1].weight_decay), (2e-5, 0.0)); // the bias
/// assert_eq!((groups[2].lr, groups[2].weight_decay), (1e-3, 0.01)); // the head
/// # Ok::<(), gradus_tensor::Error>(())
/// ```
pub fn param_groups(
    params: &[Parameter],
    lr: f64,
    head_lr: Option<f64>,
    is_head: impl Fn(&str) -> bool,
    weight_decay: f64,
) -> Vec<ParamGroup> {
    let group = |head: bool, decay: bool| {
        let params =
            params.iter().filter(|p| is_head(p.name()) == head && decays(p.name()) == decay);
        let lr = if head { head_lr.unwrap_or(lr) } else { lr };
        ParamGroup::new(params, lr).weight_decay(if decay { weight_decay } else { 0.0 })
    };
    vec![group(false, true), group(false, false), group(true, true), group(true, false)]
}
