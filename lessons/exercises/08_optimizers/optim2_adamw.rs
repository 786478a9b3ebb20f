// Chapter 8, optimisers. Exercise 2: AdamW from the paper.
//
// Adam keeps two moving averages for each weight: m of its gradients and v of their squares. It
// divides one by the root of the other. So a weight whose gradient always points the same way takes
// steps of about the rate η, however small its gradient is, and one whose gradient jumps about takes
// smaller ones. In step t = 1, 2, …:
//
//     w ← w − η·λ·w                          decoupled weight decay: what the W stands for
//     m ← β₁·m + (1 − β₁)·g                  0 at first
//     v ← β₂·v + (1 − β₂)·g²                 0 at first
//     m̂ = m / (1 − β₁ᵗ),  v̂ = v / (1 − β₂ᵗ)   bias correction
//     w ← w − η·m̂ / (√v̂ + ε)
//
// Why the correction: after one step m is only 0.1·g (with β₁ = 0.9), because it began at 0. The
// factors make up for that beginning, and tend to 1.
//
// Papers: Kingma & Ba, arXiv:1412.6980; Loshchilov & Hutter, arXiv:1711.05101.
// Read: tensor/cpu/src/optim.rs, `adamw_of`: the same in another order of operations.

/// The settings, with the names of the formulas.
struct Settings {
    lr: f64,
    beta1: f64,
    beta2: f64,
    eps: f64,
    weight_decay: f64,
}

/// What Adam remembers of one list of weights.
#[derive(Default)]
struct Moments {
    m: Vec<f64>,
    v: Vec<f64>,
    /// Steps done.
    t: i32,
}

impl Moments {
    fn new(weights: usize) -> Moments {
        Moments { m: vec![0.0; weights], v: vec![0.0; weights], t: 0 }
    }

    /// One step: changes the moments and the `weights`.
    fn step(&mut self, weights: &mut [f64], grads: &[f64], settings: &Settings) {
        let Settings { lr, beta1, beta2, eps, weight_decay } = *settings;
        // TODO: count the step, then the five lines above for each weight.
        todo!("one step of AdamW");
    }
}

fn main() {
    let settings = Settings { lr: 0.1, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.01 };
    let (mut w, mut moments) = ([1.0, 1.0], Moments::new(2));
    for i in 1..=5 {
        let slopes = [200.0 * w[0], 0.02 * w[1]]; // of 100·x² + 0.01·y²
        moments.step(&mut w, &slopes, &settings);
        println!("step {i}: x = {:.3}, y = {:.3}", w[0], w[1]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gradus::prelude::*;

    #[test]
    fn the_first_step_is_as_long_as_the_rate() {
        let settings = Settings { lr: 0.1, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0 };
        for g in [1e-3, 1.0, 50.0] {
            let mut w = [2.0];
            Moments::new(1).step(&mut w, &[g], &settings);
            let input = format!("w = 2, gradient {g}, rate 0.1, step 1");
            check::near("the weight after the first step", input, &w[..], &[1.9][..], 1e-5);
        }
    }

    #[test]
    fn beside_the_engine() {
        for (beta1, beta2, weight_decay) in [(0.9, 0.999, 0.0), (0.9, 0.999, 0.1), (0.5, 0.8, 0.3)]
        {
            let settings = Settings { lr: 0.05, beta1, beta2, eps: 1e-6, weight_decay };
            let engine = |w: &Parameter| {
                AdamW::new([w], 0.05)?.betas(beta1, beta2)?.eps(1e-6)?.weight_decay(weight_decay)
            };
            let mut moments = Moments::new(check::optim::WEIGHTS);
            check::optim::steps(engine, |w, g| moments.step(w, g, &settings));
        }
    }
}
