// Chapter 1, a scalar tape. Exercise 7: a neuron, and how wrong it is.
//
// A neuron weighs its inputs, adds a bias, and squeezes the sum into −1 … 1:
//
//     y = tanh(b + Σ wᵢ·xᵢ)
//
// The loss says how far its answers are from the right ones. It is one number, and smaller is
// better. Here it is the sum of squared differences over some examples:
//
//     loss = Σ (y − target)²
//
// From the loss, one walk back gives its slope by every weight: the direction in which each weight
// makes things worse.
//
// Your tape and values are now in `check::scalar`, as exercise 6 leaves them, so that this file has
// only what is new.

use check::scalar::{Tape, Value};

/// A neuron whose weights and bias are on a tape.
struct Neuron<'a> {
    weights: Vec<Value<'a>>,
    bias: Value<'a>,
}

impl<'a> Neuron<'a> {
    /// Puts the numbers on the tape: the weights, then the bias.
    fn on(tape: &'a Tape, parameters: &[f64]) -> Neuron<'a> {
        let (bias, weights) = parameters.split_last().expect("at least the bias");
        Neuron { weights: weights.iter().map(|&w| tape.leaf(w)).collect(), bias: tape.leaf(*bias) }
    }

    /// tanh(b + Σ wᵢ·xᵢ)
    fn answer(&self, inputs: &[Value<'a>]) -> Value<'a> {
        // TODO: the formula above, with `+`, `*` and `.tanh()` of values.
        todo!("answer")
    }

    fn parameters(&self) -> Vec<Value<'a>> {
        self.weights.iter().copied().chain([self.bias]).collect()
    }
}

/// An example: inputs and the right answer.
type Example = ([f64; 2], f64);

/// The sum of (y − target)² over the examples.
fn loss<'a>(tape: &'a Tape, neuron: &Neuron<'a>, examples: &[Example]) -> Value<'a> {
    // TODO: begin with a leaf of 0, and add what each example contributes.
    todo!("loss")
}

/// The loss of a neuron with these parameters, and its slope by each of them.
fn loss_and_slopes(parameters: &[f64], examples: &[Example]) -> (f64, Vec<f64>) {
    let tape = Tape::default();
    let neuron = Neuron::on(&tape, parameters);
    let loss = loss(&tape, &neuron, examples);
    (loss.value(), loss.slopes(&neuron.parameters()))
}

/// "And" of two inputs, with −1 for no and 1 for yes.
const AND: [Example; 4] =
    [([-1.0, -1.0], -1.0), ([-1.0, 1.0], -1.0), ([1.0, -1.0], -1.0), ([1.0, 1.0], 1.0)];

fn main() {
    let (loss, slopes) = loss_and_slopes(&[0.1, 0.2, 0.0], &AND);
    println!("the loss is {loss:.4}; its slopes by the two weights and the bias: {slopes:.4?}");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same in ordinary arithmetic.
    fn expected_loss(p: &[f64], examples: &[Example]) -> f64 {
        let answer = |x: &[f64; 2]| (p[0] * x[0] + p[1] * x[1] + p[2]).tanh();
        examples.iter().map(|(x, target)| (answer(x) - target).powi(2)).sum()
    }

    #[test]
    fn the_answer_of_a_neuron() {
        let tape = Tape::default();
        let neuron = Neuron::on(&tape, &[2.0, -1.0, 0.5]);
        let answer = neuron.answer(&[tape.leaf(0.25), tape.leaf(1.0)]).value();
        let input = "weights 2 and −1, bias 0.5, inputs 0.25 and 1";
        check::near("the answer", input, &[answer], &[0f64.tanh()], 1e-12);
    }

    #[test]
    fn the_loss_over_four_examples() {
        for p in [[0.0, 0.0, 0.0], [0.5, -0.25, 1.0], [2.0, 2.0, -2.0]] {
            let (loss, _) = loss_and_slopes(&p, &AND);
            let input = format!("weights {:?}, bias {}", &p[..2], p[2]);
            check::near("the loss", input, &[loss], &[expected_loss(&p, &AND)], 1e-12);
        }
    }

    #[test]
    fn one_walk_gives_the_slope_by_every_parameter() {
        for p in [[0.1, 0.2, 0.0], [0.5, -0.25, 1.0], [2.0, 2.0, -2.0]] {
            let (_, slopes) = loss_and_slopes(&p, &AND);
            check::slopes("the loss", |p| expected_loss(p, &AND), &p, &slopes);
        }
    }
}
