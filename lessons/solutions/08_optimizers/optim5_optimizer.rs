// Chapter 8, optimisers. Exercise 5: an optimiser of your own for a whole model.
//
// The engine's optimisers share `OptimizerCore`: groups of parameters, a `Slot` for each parameter
// with its state, saving and loading. What differs is how one value changes, and that is all you
// write. This is Lion (Chen et al., arXiv:2302.06675), which needs half of Adam's memory:
//
//     u = sign(β₁·m + (1 − β₁)·g)        every weight moves by the same amount
//     w ← w − η·(u + λ·w)
//     m ← β₂·m + (1 − β₂)·g              after the weight has moved
//
// Values change in place, by the methods whose names end in `_`: `x.add_(&y, s)` is x ← x + s·y,
// `x.mul_scalar_(s)` is x ← s·x. Others make a new tensor: `mul_scalar`, `add`, `sign`.
//
// Read: nn/src/optim/mod.rs, `OptimizerCore::step`; nn/src/optim/sgd.rs, an optimiser in full.

use gradus::nn::{OptimizerCore, Update};
use gradus::prelude::*;

struct Lion {
    core: OptimizerCore,
    beta1: f64,
    beta2: f64,
}

impl Lion {
    fn new(groups: Vec<ParamGroup>) -> Result<Lion> {
        let core = OptimizerCore::new("lion", groups, &["exp_avg"])?;
        Ok(Lion { core, beta1: 0.9, beta2: 0.99 })
    }

    /// Changes one parameter's `value`.
    fn change(value: &mut Tensor, update: Update, beta1: f64, beta2: f64) -> Result<()> {
        let Update { grad, slot, lr, weight_decay, .. } = update;
        let m = &mut slot.buffers[0];
        let mix = m.mul_scalar(beta1)?.add(&grad.mul_scalar(1.0 - beta1)?)?;
        value.mul_scalar_(1.0 - lr * weight_decay)?;
        value.add_(&mix.sign()?, -lr)?;
        m.mul_scalar_(beta2)?;
        m.add_(grad, 1.0 - beta2)
    }
}

impl Optimizer for Lion {
    fn step_scaled(
        &mut self,
        grads: &Gradients,
        lr_factor: f64,
        scale: Option<&Tensor>,
    ) -> Result<()> {
        let (beta1, beta2) = (self.beta1, self.beta2);
        self.core.step(grads, lr_factor, scale, |value, update| {
            Lion::change(value, update, beta1, beta2)
        })
    }

    fn core(&self) -> &OptimizerCore {
        &self.core
    }

    fn core_mut(&mut self) -> &mut OptimizerCore {
        &mut self.core
    }
}

/// Trains a line on y = 2x₀ − 3x₁; returns the loss of each step.
fn losses_of_a_line(steps: usize) -> Result<Vec<f64>> {
    let x = Tensor::randn(&[64, 2], DType::F32, RngKey::new(7))?;
    let y = x.matmul(&Tensor::from_slice(&[2f32, -3.0], &[2, 1])?)?;
    let (x, y) = (Var::constant(x), Var::constant(y));
    let store = Store::new(0);
    let line = Linear::new(&store.root().join("line"), 2, 1, Init::Zeros)?;
    let mut lion = Lion::new(vec![ParamGroup::new(store.parameters(), 0.05)])?;
    (0..steps)
        .map(|_| {
            let loss = losses::mse(&line.forward(&x)?, &y, Reduction::Mean)?;
            lion.step(&loss.backward()?)?;
            loss.item()
        })
        .collect()
}

fn main() -> Result<()> {
    let losses = losses_of_a_line(300)?;
    println!("the loss fell from {:.2} to {:.4}", losses[0], losses[299]);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steps_of_the_paper() {
        // The same in plain numbers.
        let (lr, decay, beta1, beta2) = (0.1, 0.2, 0.9, 0.99);
        let mut m = [0.0; check::optim::WEIGHTS];
        let plain = |w: &mut [f64], g: &[f64]| {
            for i in 0..w.len() {
                let u = beta1 * m[i] + (1.0 - beta1) * g[i];
                let sign = if u > 0.0 {
                    1.0
                } else if u < 0.0 {
                    -1.0
                } else {
                    0.0
                };
                w[i] -= lr * (sign + decay * w[i]);
                m[i] = beta2 * m[i] + (1.0 - beta2) * g[i];
            }
        };
        let yours = |w: &Parameter| Lion::new(vec![ParamGroup::new([w], lr).weight_decay(decay)]);
        check::optim::tensor_steps(yours, plain);
    }

    #[test]
    fn it_learns() {
        let losses = losses_of_a_line(300).unwrap();
        assert!(
            losses[299] < 0.01 * losses[0],
            "after 300 steps the loss is still {:.3}, at first it was {:.3}",
            losses[299],
            losses[0]
        );
    }
}
