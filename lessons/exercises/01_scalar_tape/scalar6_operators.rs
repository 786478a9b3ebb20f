// Chapter 1, a scalar tape. Exercise 6: formulas that record themselves.
//
// `tape.tanh(tape.add(tape.mul(x, w), b))` works, but is hard to read. In Rust, `a + b` calls the
// method `add` of the trait `std::ops::Add`. So give the place of a number a type of its own that
// also knows its tape. Then (x * w + b).tanh() is ordinary Rust, and records itself.
//
// A `Value` is two words, a reference and a number, so it is `Copy`. Now you see why recording must
// work through a shared reference: all values of a formula hold the same tape.
//
// In the engine: `Var` in autograd/src/var.rs holds a tensor and its node. `&x * &y` gives a
// `Result`, because shapes may not fit.

use std::cell::RefCell;
use std::ops::{Add, Mul, Sub};

struct Node {
    value: f64,
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

    fn leaf(&self, value: f64) -> Value<'_> {
        Value { tape: self, at: self.push(value, Vec::new()) }
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
struct Value<'a> {
    tape: &'a Tape,
    at: usize,
}

impl Value<'_> {
    fn value(self) -> f64 {
        self.tape.value(self.at)
    }

    fn tanh(self) -> Self {
        Value { tape: self.tape, at: self.tape.tanh(self.at) }
    }

    /// How fast this number grows with each of `inputs`.
    fn slopes(self, inputs: &[Value]) -> Vec<f64> {
        let grads = self.tape.backward(self.at);
        // TODO: pick the slope of each input out of grads.
        todo!("slopes")
    }
}

impl Add for Value<'_> {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        // TODO: record the sum on the tape.
        todo!("add")
    }
}

impl Mul for Value<'_> {
    type Output = Self;

    fn mul(self, other: Self) -> Self {
        // TODO: record the product.
        todo!("mul")
    }
}

impl Sub for Value<'_> {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        // TODO: record the difference. The tape has no `sub`; make it of what there is.
        todo!("sub")
    }
}

fn main() {
    let tape = Tape::default();
    let (x, w, b) = (tape.leaf(0.5), tape.leaf(-1.0), tape.leaf(0.25));
    let y = (x * w + b).tanh();
    println!("tanh(x·w + b) = {:.4}, slopes {:.4?}", y.value(), y.slopes(&[x, w, b]));
}

#[cfg(test)]
mod tests {
    use super::*;
    use gradus::prelude::Tensor;

    /// Compares values and slopes of a formula with finite differences.
    fn marks(what: &str, at: &[f64], formula: for<'a> fn(&[Value<'a>]) -> Value<'a>) {
        let tape = Tape::default();
        let inputs: Vec<Value> = at.iter().map(|&x| tape.leaf(x)).collect();
        let yours = formula(&inputs).slopes(&inputs);
        let value = |x: &[f64]| {
            let tape = Tape::default();
            let inputs: Vec<Value> = x.iter().map(|&x| tape.leaf(x)).collect();
            formula(&inputs).value()
        };
        check::slopes(what, value, at, &yours);
    }

    #[test]
    fn sums_and_products() {
        marks("x·y + x", &[3.0, -2.0], |v| v[0] * v[1] + v[0]);
    }

    #[test]
    fn differences() {
        let tape = Tape::default();
        let d = tape.leaf(5.0) - tape.leaf(3.0);
        check::same("a difference", "5 − 3", &[d.value()], &[2.0]);
        marks("x − y·y", &[3.0, -2.0], |v| v[0] - v[1] * v[1]);
    }

    #[test]
    fn the_engine_agrees() -> gradus::prelude::Result<()> {
        use gradus::prelude::Var;
        // The same formula, once on your tape and once with the engine.
        let (x, y) = (Var::leaf(Tensor::scalar(0.5)), Var::leaf(Tensor::scalar(-1.5)));
        let engine = (&(&x * &y)?.tanh()? - &(&y * &x)?)?;
        let grads = engine.backward()?;
        let expected = [grads.get(&x).unwrap().item()?, grads.get(&y).unwrap().item()?];

        let tape = Tape::default();
        let (x, y) = (tape.leaf(0.5), tape.leaf(-1.5));
        let yours = (x * y).tanh() - y * x;
        let input = "tanh(x·y) − y·x at x = 0.5, y = −1.5";
        check::near("the value", input, &[yours.value()], &[engine.item()?], 1e-12);
        check::near("the slopes", input, &yours.slopes(&[x, y]), &expected, 1e-12);
        Ok(())
    }
}
