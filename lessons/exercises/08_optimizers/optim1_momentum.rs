// Chapter 8, optimisers. Exercise 1: descent with momentum.
//
// Plain gradient descent takes a step against the gradient g: w ← w − η·g, with the rate η. In a
// narrow valley it jumps from one wall to the other. Momentum lets the steps add up, as a ball
// rolls: what goes back and forth cancels, what points along the valley grows.
//
//     g ← g + λ·w        weight decay: a pull towards 0
//     v ← μ·v + g        the velocity, 0 at first
//     w ← w − η·v
//
// The rate multiplies the velocity when it is used, not when it is stored: so a change of the rate
// acts at once.
//
// Read: tensor/cpu/src/optim.rs, `sgd_`; nn/src/optim/sgd.rs.

/// The rate η, the momentum μ and the weight decay λ.
struct Settings {
    lr: f64,
    momentum: f64,
    weight_decay: f64,
}

/// One step: changes `weights` and `velocity` by the gradient `grads`.
fn step(weights: &mut [f64], velocity: &mut [f64], grads: &[f64], settings: &Settings) {
    let Settings { lr, momentum, weight_decay } = *settings;
    for i in 0..weights.len() {
        // TODO: the three lines above, for weight number i.
        todo!("the velocity and the weight {i}");
    }
}

fn main() {
    let settings = Settings { lr: 0.1, momentum: 0.9, weight_decay: 0.0 };
    let (mut w, mut v) = ([1.0], [0.0]);
    for i in 1..=5 {
        let slope = [2.0 * w[0]]; // of w²
        step(&mut w, &mut v, &slope, &settings);
        println!("step {i}: w = {:.3}, velocity {:.3}", w[0], v[0]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gradus::prelude::*;

    /// Six steps beside the engine's optimiser, in f64.
    fn beside_the_engine(settings: Settings) {
        let Settings { lr, momentum, weight_decay } = settings;
        let engine =
            |w: &Parameter| Sgd::new([w], lr)?.momentum(momentum)?.weight_decay(weight_decay);
        let mut velocity = vec![0.0; check::optim::WEIGHTS];
        check::optim::steps(engine, |w, g| step(w, &mut velocity, g, &settings));
    }

    #[test]
    fn plain_descent() {
        beside_the_engine(Settings { lr: 0.1, momentum: 0.0, weight_decay: 0.0 });
    }

    #[test]
    fn momentum() {
        beside_the_engine(Settings { lr: 0.1, momentum: 0.9, weight_decay: 0.0 });
    }

    #[test]
    fn momentum_and_weight_decay() {
        beside_the_engine(Settings { lr: 0.05, momentum: 0.8, weight_decay: 0.1 });
    }
}
