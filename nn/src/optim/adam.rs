//! Adam and AdamW.

use std::borrow::Borrow;

use gradus_autograd::Gradients;
use gradus_tensor::ops::optim::AdamWStep;
use gradus_tensor::{Result, Tensor};

use super::{Optimizer, OptimizerCore, Update};
use crate::{ParamGroup, Parameter};

/// The settings with a group's own decays of the moments, where it has some.
fn of_group(settings: AdamWStep, betas: Option<(f64, f64)>) -> AdamWStep {
    let (beta1, beta2) = betas.unwrap_or((settings.beta1, settings.beta2));
    AdamWStep { beta1, beta2, ..settings }
}

/// Defines an optimiser of the family: they differ in how the weight decays.
macro_rules! adam {
    ($(#[$doc:meta])* $name:ident, $op:literal, $decoupled:literal, $weight_decay:literal) => {
        $(#[$doc])*
        pub struct $name {
            core: OptimizerCore,
            betas: (f64, f64),
            eps: f64,
        }

        impl $name {
            /// An optimiser of these parameters at the rate `lr`, with PyTorch's other settings: β₁
            /// = 0.9, β₂ = 0.999, ε = 1e-8, and the weight decay that the type's page names.
            ///
            /// ```
            /// # use gradus_nn::{Adam, AdamW, Optimizer, ParamGroup, Parameter};
            /// # use gradus_tensor::Tensor;
            /// let w = Parameter::new("w", Tensor::scalar(1f32))?;
            #[doc = concat!("let mut optimizer = ", stringify!($name), "::new([&w], 0.1)?;")]
            /// optimizer.step(&w.var().square()?.backward()?)?;
            /// let value = w.tensor().item()?; // the first step has about the length of the rate
            /// assert!((value - 0.9).abs() < 2e-3);
            /// # Ok::<(), gradus_tensor::Error>(())
            /// ```
            ///
            /// # Errors
            /// If a parameter is there twice, or the rate is not a finite number of 0 or more.
            pub fn new(
                params: impl IntoIterator<Item = impl Borrow<Parameter>>,
                lr: f64,
            ) -> Result<Self> {
                Self::with_groups(vec![ParamGroup::new(params, lr).weight_decay($weight_decay)])
            }

            /// An optimiser of groups with a rate and a weight decay each.
            ///
            /// ```
            /// # use gradus_nn::{Adam, AdamW, Optimizer, ParamGroup, Parameter};
            /// # use gradus_tensor::Tensor;
            /// let body = Parameter::new("body", Tensor::scalar(1f32))?;
            /// let head = Parameter::new("head", Tensor::scalar(1f32))?;
            /// let groups = vec![ParamGroup::new([&body], 0.1), ParamGroup::new([&head], 0.2)];
            #[doc = concat!("let mut optimizer = ", stringify!($name), "::with_groups(groups)?;")]
            /// optimizer.step(&body.var().add(&head.var())?.backward()?)?;
            /// assert!((body.tensor().item()? - 0.9).abs() < 1e-6);
            /// assert!((head.tensor().item()? - 0.8).abs() < 1e-6);
            /// # Ok::<(), gradus_tensor::Error>(())
            /// ```
            ///
            /// # Errors
            /// If a parameter is in the groups twice, or a rate or decay is not a finite number of
            /// 0 or more.
            pub fn with_groups(groups: Vec<ParamGroup>) -> Result<Self> {
                let core = OptimizerCore::new($op, groups, &["exp_avg", "exp_avg_sq"])?;
                $name { core, betas: (0.9, 0.999), eps: 1e-8 }.checked(1.0)
            }

            /// With this weight decay in all groups.
            ///
            /// ```
            /// # use gradus_nn::{Adam, AdamW, Optimizer, ParamGroup, Parameter};
            /// # use gradus_tensor::Tensor;
            /// let w = Parameter::new("w", Tensor::scalar(1f32))?;
            #[doc = concat!("let optimizer = ", stringify!($name), "::new([&w], 0.1)?.weight_decay(0.05)?;")]
            /// assert_eq!(optimizer.groups()[0].weight_decay, 0.05);
            /// # Ok::<(), gradus_tensor::Error>(())
            /// ```
            ///
            /// # Errors
            /// If it is not a finite number of 0 or more.
            pub fn weight_decay(mut self, weight_decay: f64) -> Result<Self> {
                self.core.set_weight_decay(weight_decay);
                self.checked(1.0)
            }

            /// With other decays of the moments.
            ///
            /// ```
            /// # use gradus_nn::{Adam, AdamW, Optimizer, ParamGroup, Parameter};
            /// # use gradus_tensor::Tensor;
            /// let w = Parameter::new("w", Tensor::scalar(1f32))?;
            #[doc = concat!("assert!(", stringify!($name), "::new([&w], 0.1)?.betas(0.8, 0.99).is_ok());")]
            #[doc = concat!("assert!(", stringify!($name), "::new([&w], 0.1)?.betas(0.8, 1.0).is_err());")]
            /// # Ok::<(), gradus_tensor::Error>(())
            /// ```
            ///
            /// # Errors
            /// If one is not in 0..1.
            pub fn betas(self, beta1: f64, beta2: f64) -> Result<Self> {
                $name { betas: (beta1, beta2), ..self }.checked(1.0)
            }

            /// With another ε.
            ///
            /// ```
            /// # use gradus_nn::{Adam, AdamW, Optimizer, ParamGroup, Parameter};
            /// # use gradus_tensor::Tensor;
            /// let w = Parameter::new("w", Tensor::scalar(1f32))?;
            #[doc = concat!("assert!(", stringify!($name), "::new([&w], 0.1)?.eps(1e-6).is_ok());")]
            #[doc = concat!("assert!(", stringify!($name), "::new([&w], 0.1)?.eps(-1e-6).is_err());")]
            /// # Ok::<(), gradus_tensor::Error>(())
            /// ```
            ///
            /// # Errors
            /// If it is not a finite number of 0 or more.
            pub fn eps(self, eps: f64) -> Result<Self> {
                $name { eps, ..self }.checked(1.0)
            }

            fn checked(self, lr_factor: f64) -> Result<Self> {
                self.check(lr_factor)?;
                Ok(self)
            }

            fn check(&self, lr_factor: f64) -> Result<()> {
                // Without groups there are still the optimiser's own settings.
                let base = self.settings();
                base.check($op)?;
                self.core.groups().iter().try_for_each(|group| {
                    let (lr, weight_decay) = (group.lr * lr_factor, group.weight_decay);
                    AdamWStep { lr, weight_decay, ..of_group(base, group.betas) }.check($op)
                })
            }

            /// The optimiser's own, for no group and no step.
            fn settings(&self) -> AdamWStep {
                let ((beta1, beta2), eps) = (self.betas, self.eps);
                let (lr, weight_decay, step, decoupled) = (0.0, 0.0, 1, $decoupled);
                AdamWStep { lr, beta1, beta2, eps, weight_decay, step, decoupled }
            }
        }

        impl Optimizer for $name {
            fn step_scaled(
                &mut self,
                grads: &Gradients,
                lr_factor: f64,
                scale: Option<&Tensor>,
            ) -> Result<()> {
                self.check(lr_factor)?;
                let base = self.settings();
                self.core.step(grads, lr_factor, scale, |value, update| {
                    let Update { grad, slot, lr, weight_decay, betas, scale } = update;
                    let base = of_group(base, betas);
                    let h = AdamWStep { lr, weight_decay, step: slot.step, ..base };
                    let [m, v] = &mut slot.buffers[..] else {
                        unreachable!("a slot has both moments")
                    };
                    value.adamw_(grad, m, v, &h, scale)
                })
            }

            fn core(&self) -> &OptimizerCore {
                &self.core
            }

            fn core_mut(&mut self) -> &mut OptimizerCore {
                &mut self.core
            }
        }
    };
}

adam! {
    /// Adam (Kingma & Ba, arXiv:1412.6980), as `torch.optim.Adam`: weight decay is added to the
    /// gradient, 0 unless it is set. Formula: [`Tensor::adamw_`]. State: `exp_avg.*`,
    /// `exp_avg_sq.*`, `step.*`.
    Adam, "adam", false, 0.0
}
adam! {
    /// AdamW (Loshchilov & Hutter, arXiv:1711.05101), as `torch.optim.AdamW`: weight decay acts on
    /// the weight itself, at the group's rate; it is 0.01 unless it is set. Formula:
    /// [`Tensor::adamw_`]. State: `exp_avg.*`, `exp_avg_sq.*`, `step.*`.
    AdamW, "adamw", true, 0.01
}
