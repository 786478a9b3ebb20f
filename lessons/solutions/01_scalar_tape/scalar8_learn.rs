// Chapter 1, a scalar tape. Exercise 8: a neuron that learns.
//
// You have the loss and its slope by every parameter. Now move each parameter a little against its
// slope, and the loss falls:
//
//     parameter ← parameter − rate · slope
//
// Do it again, from the new place, and again. This is gradient descent. The rate must be small
// enough that the slope still holds where you arrive. Try a rate of 5 in `main` and see.
//
// Every step makes a new tape, for the formula runs again with new numbers. Nothing of the old tape
// is needed any more. The engine drops its graph after each step as well.
//
// In the engine: examples/03_linear_regression.rs is this loop on tensors.

use check::scalar::{Tape, Value};

type Example = ([f64; 2], f64);

/// The loss of a neuron with these parameters (two weights, a bias), and its slope by each.
fn loss_and_slopes(parameters: &[f64], examples: &[Example]) -> (f64, Vec<f64>) {
    let tape = Tape::default();
    let p: Vec<Value> = parameters.iter().map(|&p| tape.leaf(p)).collect();
    let mut loss = tape.leaf(0.0);
    for (x, target) in examples {
        let answer = (p[0] * tape.leaf(x[0]) + p[1] * tape.leaf(x[1]) + p[2]).tanh();
        let difference = answer - tape.leaf(*target);
        loss = loss + difference * difference;
    }
    (loss.value(), loss.slopes(&p))
}

/// Changes the parameters `steps` times. Returns the loss before each step.
fn train(parameters: &mut [f64], examples: &[Example], rate: f64, steps: usize) -> Vec<f64> {
    let mut losses = Vec::new();
    for _ in 0..steps {
        let (loss, slopes) = loss_and_slopes(parameters, examples);
        losses.push(loss);
        for (parameter, slope) in parameters.iter_mut().zip(slopes) {
            *parameter -= rate * slope;
        }
    }
    losses
}

/// "And" and "or" of two inputs, with −1 for no and 1 for yes.
const AND: [Example; 4] =
    [([-1.0, -1.0], -1.0), ([-1.0, 1.0], -1.0), ([1.0, -1.0], -1.0), ([1.0, 1.0], 1.0)];
const OR: [Example; 4] =
    [([-1.0, -1.0], -1.0), ([-1.0, 1.0], 1.0), ([1.0, -1.0], 1.0), ([1.0, 1.0], 1.0)];

fn main() {
    let mut parameters = [0.1, 0.2, 0.0];
    let losses = train(&mut parameters, &AND, 0.1, 100);
    for (step, loss) in losses.iter().enumerate().step_by(20) {
        println!("step {step:3}: loss {loss:.4}");
    }
    println!("the neuron knows \"and\": weights and bias are {parameters:.3?}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_step_goes_against_the_slopes() {
        let mut p = [0.1, 0.2, 0.0];
        let (loss, slopes) = loss_and_slopes(&p, &AND);
        let expected = [0.1 - 0.5 * slopes[0], 0.2 - 0.5 * slopes[1], -0.5 * slopes[2]];
        let losses = train(&mut p, &AND, 0.5, 1);
        check::same("the loss before the step", "weights 0.1 and 0.2, bias 0", &losses, &[loss]);
        let input = format!("weights 0.1 and 0.2, bias 0, rate 0.5, slopes {slopes:?}");
        check::near("the parameters after one step", input, &p, &expected, 1e-12);
    }

    #[test]
    fn the_loss_falls() {
        for examples in [AND, OR] {
            let losses = train(&mut [0.1, 0.2, 0.0], &examples, 0.1, 50);
            assert_eq!(losses.len(), 50, "a loss for each step");
            let risen = losses.windows(2).position(|pair| pair[1] > pair[0]);
            assert!(risen.is_none(), "the loss rises after step {risen:?}: {losses:?}");
        }
    }

    #[test]
    fn the_neuron_answers_right_in_the_end() {
        for (name, examples) in [("and", AND), ("or", OR)] {
            let mut p = [0.1, 0.2, 0.0];
            train(&mut p, &examples, 0.1, 500);
            for (x, target) in examples {
                let answer = (p[0] * x[0] + p[1] * x[1] + p[2]).tanh();
                let input = format!("{x:?}, weights and bias {p:?}");
                check::near(&format!("{name} after 500 steps"), input, &[answer], &[target], 0.2);
            }
        }
    }
}
