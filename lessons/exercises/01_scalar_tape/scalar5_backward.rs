// Chapter 1, a scalar tape. Exercise 5: walking back.
//
// The tape has all steps in the order in which they ran. So an input always stands before what was
// computed from it. If you walk from the end to the beginning, then at every place all that uses
// the number there has already been seen, and its slope is complete.
//
//     begin with 0 everywhere, and 1 at the output: it grows as fast as itself
//     for each place, from the output down to 0:
//         for each input of the node there:
//             add to the input's slope: the slope at this place · the local slope
//
// Why *add*? A number may be used more than once. In x·x + x, a change of x reaches the output on
// three ways, and their effects add up.
//
// This is the whole of reverse-mode automatic differentiation. All that follows in these lessons
// makes the numbers larger (tensors) or the walk faster.
//
// In the engine: `run` in autograd/src/walk.rs, which takes the youngest node first, too.

use std::cell::RefCell;

struct Node {
    value: f64,
    /// The places of the inputs, each with the local slope.
    inputs: Vec<(usize, f64)>,
}

#[derive(Default)]
struct Tape {
    nodes: RefCell<Vec<Node>>,
}

impl Tape {
    fn push(&self, value: f64, inputs: Vec<(usize, f64)>) -> usize {
        let mut nodes = self.nodes.borrow_mut();
        nodes.push(Node { value, inputs });
        nodes.len() - 1
    }

    fn leaf(&self, value: f64) -> usize {
        self.push(value, Vec::new())
    }

    fn value(&self, at: usize) -> f64 {
        self.nodes.borrow()[at].value
    }

    fn add(&self, a: usize, b: usize) -> usize {
        self.push(self.value(a) + self.value(b), vec![(a, 1.0), (b, 1.0)])
    }

    fn mul(&self, a: usize, b: usize) -> usize {
        let (x, y) = (self.value(a), self.value(b));
        self.push(x * y, vec![(a, y), (b, x)])
    }

    fn tanh(&self, a: usize) -> usize {
        let t = self.value(a).tanh();
        self.push(t, vec![(a, 1.0 - t * t)])
    }

    /// How fast the number at `output` grows with each number of the tape.
    fn backward(&self, output: usize) -> Vec<f64> {
        let nodes = self.nodes.borrow();
        let mut grads = vec![0.0; nodes.len()];
        // TODO: the walk that the text above describes.
        todo!("backward");
        grads
    }
}

fn main() {
    let tape = Tape::default();
    let (x, y) = (tape.leaf(2.0), tape.leaf(5.0));
    let z = tape.add(tape.mul(x, y), tape.tanh(x));
    let grads = tape.backward(z);
    println!("z = x·y + tanh x is {:.4}; its slope by x is {:.4}", tape.value(z), grads[x]);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares `backward` with finite differences of a formula that is written on a tape.
    fn marks(what: &str, at: &[f64], formula: impl Fn(&Tape, &[usize]) -> usize) {
        let run = |x: &[f64]| {
            let tape = Tape::default();
            let places: Vec<usize> = x.iter().map(|&x| tape.leaf(x)).collect();
            let output = formula(&tape, &places);
            (tape, output)
        };
        let (tape, output) = run(at);
        let grads = tape.backward(output);
        let value = |x: &[f64]| {
            let (tape, output) = run(x);
            tape.value(output)
        };
        check::slopes(what, value, at, &grads[..at.len()]);
    }

    #[test]
    fn one_product() {
        marks("x·y", &[3.0, -2.0], |t, v| t.mul(v[0], v[1]));
    }

    #[test]
    fn a_chain() {
        marks("tanh(x·w + b)", &[0.5, -1.0, 0.25], |t, v| t.tanh(t.add(t.mul(v[0], v[1]), v[2])));
    }

    #[test]
    fn a_number_used_more_than_once_gets_the_sum() {
        marks("x·x + x", &[3.0], |t, v| t.add(t.mul(v[0], v[0]), v[0]));
        marks("tanh(x·y)·x + y", &[0.5, 0.75], |t, v| {
            let inner = t.tanh(t.mul(v[0], v[1]));
            t.add(t.mul(inner, v[0]), v[1])
        });
    }

    #[test]
    fn what_the_output_does_not_use_has_the_slope_0() {
        let tape = Tape::default();
        let (x, y) = (tape.leaf(2.0), tape.leaf(3.0));
        let early = tape.mul(x, x);
        let late = tape.mul(early, y);
        // From the middle of the tape: y and what came later have no part in it.
        check::same("the slopes of x·x", "x = 2", &tape.backward(early), &[4.0, 0.0, 1.0, 0.0]);
        check::same("the slopes of x·x·y", "y = 3", &tape.backward(late), &[12.0, 4.0, 3.0, 1.0]);
    }
}
