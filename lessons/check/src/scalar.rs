//! The tape of chapter 1, as its sixth exercise leaves it, for the exercises after that.

use std::cell::RefCell;
use std::ops::{Add, Mul, Sub};

/// A line of the tape: a number, and the places of what it was computed from, each with the local
/// slope.
struct Node {
    value: f64,
    inputs: Vec<(usize, f64)>,
}

/// A tape: what was computed, in the order in which it was.
///
/// ```
/// use check::scalar::Tape;
///
/// let tape = Tape::default();
/// let (x, y) = (tape.leaf(2.0), tape.leaf(5.0));
/// let z = x * y + x;
/// assert_eq!(z.value(), 12.0);
/// assert_eq!(z.slopes(&[x, y]), [6.0, 2.0]);
/// ```
#[derive(Default)]
pub struct Tape {
    nodes: RefCell<Vec<Node>>,
}

impl Tape {
    /// A number from outside.
    pub fn leaf(&self, value: f64) -> Value<'_> {
        self.push(value, Vec::new())
    }

    fn push(&self, value: f64, inputs: Vec<(usize, f64)>) -> Value<'_> {
        let mut nodes = self.nodes.borrow_mut();
        nodes.push(Node { value, inputs });
        Value { tape: self, at: nodes.len() - 1 }
    }

    fn backward(&self, output: usize) -> Vec<f64> {
        let nodes = self.nodes.borrow();
        let mut grads = vec![0.0; nodes.len()];
        grads[output] = 1.0;
        for at in (0..=output).rev() {
            for &(input, slope) in &nodes[at].inputs {
                grads[input] += grads[at] * slope;
            }
        }
        grads
    }
}

/// A number on a tape.
#[derive(Clone, Copy)]
pub struct Value<'a> {
    tape: &'a Tape,
    at: usize,
}

impl Value<'_> {
    /// The number.
    pub fn value(self) -> f64 {
        self.tape.nodes.borrow()[self.at].value
    }

    /// How fast this number grows with each of `inputs`.
    pub fn slopes(self, inputs: &[Value]) -> Vec<f64> {
        let grads = self.tape.backward(self.at);
        inputs.iter().map(|input| grads[input.at]).collect()
    }

    /// tanh of the number.
    pub fn tanh(self) -> Self {
        let t = self.value().tanh();
        self.tape.push(t, vec![(self.at, 1.0 - t * t)])
    }
}

impl Add for Value<'_> {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        self.tape.push(self.value() + other.value(), vec![(self.at, 1.0), (other.at, 1.0)])
    }
}

impl Mul for Value<'_> {
    type Output = Self;

    fn mul(self, other: Self) -> Self {
        let (x, y) = (self.value(), other.value());
        self.tape.push(x * y, vec![(self.at, y), (other.at, x)])
    }
}

impl Sub for Value<'_> {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        self + other * self.tape.leaf(-1.0)
    }
}
