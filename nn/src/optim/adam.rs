//! Adam and AdamW.

use gradus_autograd::Gradients;
use gradus_tensor::ops::optim::AdamWStep;
use gradus_tensor::{Result, Tensor};

use super::{Optimizer, OptimizerCore};
use crate::ParamGroup;

/// Defines an optimiser of the family: they differ in how the weight decays.
macro_rules! adam {
    ($(#[$doc:meta])* $name:ident, $op:literal, $decoupled:literal) => {
        $(#[$doc])*
        pub struct $name {
            core: OptimizerCore,
            betas: (f64, f64),
            eps: f64,
        }

        impl $name {
            /// An optimiser of these groups, with β₁ = 0.9, β₂ = 0.999, ε = 1e-8.
            pub fn new(groups: Vec<ParamGroup>) -> Self {
                let core = OptimizerCore::new($op, groups, &["exp_avg", "exp_avg_sq"]);
                $name { core, betas: (0.9, 0.999), eps: 1e-8 }
            }

            /// With other decays of the moments, each in 0..1.
            pub fn with_betas(mut self, beta1: f64, beta2: f64) -> Self {
                self.betas = (beta1, beta2);
                self
            }

            /// With another ε.
            pub fn with_eps(mut self, eps: f64) -> Self {
                self.eps = eps;
                self
            }
        }

        impl Optimizer for $name {
            fn step(
                &mut self,
                grads: &Gradients,
                lr_factor: f64,
                scale: Option<&Tensor>,
            ) -> Result<()> {
                let ((beta1, beta2), eps) = (self.betas, self.eps);
                self.core.step(grads, lr_factor, |value, grad, slot, lr, weight_decay| {
                    let step = slot.step;
                    let h = AdamWStep {
                        lr,
                        beta1,
                        beta2,
                        eps,
                        weight_decay,
                        step,
                        decoupled: $decoupled,
                    };
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
    /// gradient. Formula: [`Tensor::adamw_`]. State: `exp_avg.*`, `exp_avg_sq.*`, `step.*`.
    Adam, "adam", false
}
adam! {
    /// AdamW (Loshchilov & Hutter, arXiv:1711.05101), as `torch.optim.AdamW`: weight decay acts on
    /// the weight itself, at the group's rate. Formula: [`Tensor::adamw_`]. State: `exp_avg.*`,
    /// `exp_avg_sq.*`, `step.*`.
    AdamW, "adamw", true
}
