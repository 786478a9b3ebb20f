// Chapter 1, a scalar tape. Exercise 4: writing down what happens.
//
// Nobody wants to write the walk back by hand for every formula. So let the computation write down
// its own steps while it runs. Each step becomes a line of a list, the tape:
//
//     place   value    inputs (place, local slope)
//     0        0.5     none: x, given from outside, is a leaf
//     1       -1.0     none: w, also a leaf
//     2       -0.5     (0, -1.0), (1, 0.5): the product of places 0 and 1
//
// A number is named by its place. Whoever has this list can walk back, with no knowledge of the
// formula: that is the next exercise.
//
// The list is in a `RefCell`, so that recording needs only a shared reference to the tape. You will
// see in exercise 6 what this is good for. While you hold what `borrow()` gave, `push` cannot write:
// take the numbers out first, for example by `self.value(a)`.
//
// In the engine: `Node` in autograd/src/node.rs is such a line, and `record` in autograd/src/var.rs
// writes it.

use std::cell::RefCell;

/// A line of the tape: a number, and what it was computed from.
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
    /// Writes a line and returns its place.
    fn push(&self, value: f64, inputs: Vec<(usize, f64)>) -> usize {
        let mut nodes = self.nodes.borrow_mut();
        nodes.push(Node { value, inputs });
        nodes.len() - 1
    }

    /// A number from outside: no inputs.
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
}

fn main() {
    let tape = Tape::default();
    let (x, w, b) = (tape.leaf(0.5), tape.leaf(-1.0), tape.leaf(0.25));
    tape.tanh(tape.add(tape.mul(x, w), b));
    for (place, node) in tape.nodes.borrow().iter().enumerate() {
        println!("{place}: {:7.4}, computed from {:?}", node.value, node.inputs);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(tape: &Tape) -> Vec<(f64, Vec<(usize, f64)>)> {
        tape.nodes.borrow().iter().map(|node| (node.value, node.inputs.clone())).collect()
    }

    #[test]
    fn push_returns_the_place() {
        let tape = Tape::default();
        let places = [tape.leaf(7.0), tape.leaf(8.0), tape.leaf(9.0)];
        check::same("the places", "three leaves", &places, &[0, 1, 2]);
        let values = places.map(|at| tape.value(at));
        check::same("the values", "three leaves", &values, &[7.0, 8.0, 9.0]);
    }

    #[test]
    fn a_product_knows_its_inputs() {
        let tape = Tape::default();
        let (x, w) = (tape.leaf(0.5), tape.leaf(-1.0));
        tape.mul(x, w);
        let expected = [(0.5, vec![]), (-1.0, vec![]), (-0.5, vec![(0, -1.0), (1, 0.5)])];
        check::same("the tape", "x·w at x = 0.5, w = −1", &lines(&tape), &expected);
    }

    #[test]
    fn a_number_can_be_used_twice() {
        let tape = Tape::default();
        let x = tape.leaf(3.0);
        tape.add(x, x);
        let expected = [(3.0, vec![]), (6.0, vec![(0, 1.0), (0, 1.0)])];
        check::same("the tape", "x + x at x = 3", &lines(&tape), &expected);
    }

    #[test]
    fn a_neuron_takes_six_lines() {
        let tape = Tape::default();
        let (x, w, b) = (tape.leaf(0.5), tape.leaf(-1.0), tape.leaf(0.25));
        let y = tape.tanh(tape.add(tape.mul(x, w), b));
        check::same("the place of the result", "tanh(x·w + b)", &[y], &[5]);
        let t = (-0.25f64).tanh();
        let expected = [(t, vec![(4, 1.0 - t * t)])];
        check::same("the last line", "tanh(x·w + b)", &lines(&tape)[5..], &expected);
    }
}
