// Chapter 3, the tape for tensors. Exercise 5: when not to record.
//
// Recording costs memory: all that the rules keep stays alive until the result goes. Where no
// gradient is wanted there should be no node.
//
//     1. A constant has no node. What is computed from constants alone is a constant.
//     2. Inside `no_grad(…)` nothing is recorded: for answers instead of training, and for the step
//        of an optimiser.
//
// The second is a switch of the thread. It must be put back at the end of the block to what it was
// before, for blocks can be nested; and also when the block panics, or else one caught panic would
// turn off training without a word. In Rust, a value whose `drop` puts it back does all this.
//
// In the engine: `no_grad` and `Restore` in autograd/src/mode.rs, `is_recorded` in
// autograd/src/var.rs.

use std::cell::Cell;
use std::rc::Rc;

thread_local! {
    static RECORDING: Cell<bool> = const { Cell::new(true) };
}

/// Sets RECORDING to what it holds when it is dropped.
struct Restore(bool);

impl Drop for Restore {
    fn drop(&mut self) {
        RECORDING.set(self.0);
    }
}

/// Runs `body` without recording.
fn no_grad<R>(body: impl FnOnce() -> R) -> R {
    let _restore = Restore(RECORDING.replace(false));
    body()
}

struct Node {
    inputs: Vec<Option<Rc<Node>>>,
}

/// A number, with its node if a gradient can flow into it.
#[derive(Clone)]
struct Var {
    value: f64,
    node: Option<Rc<Node>>,
}

impl Var {
    fn leaf(value: f64) -> Var {
        Var { value, node: Some(Rc::new(Node { inputs: Vec::new() })) }
    }

    fn constant(value: f64) -> Var {
        Var { value, node: None }
    }

    /// The result of an operation on `inputs`.
    fn record(value: f64, inputs: &[&Var]) -> Var {
        let needed = RECORDING.get() && inputs.iter().any(|input| input.node.is_some());
        let nodes = || inputs.iter().map(|input| input.node.clone()).collect();
        Var { value, node: needed.then(|| Rc::new(Node { inputs: nodes() })) }
    }

    fn mul(&self, other: &Var) -> Var {
        Var::record(self.value * other.value, &[self, other])
    }
}

fn main() {
    let w = Var::leaf(3.0);
    let recorded = |v: &Var| if v.node.is_some() { "recorded" } else { "not recorded" };
    println!("w·w is {}", recorded(&w.mul(&w)));
    println!("inside no_grad it is {}", recorded(&no_grad(|| w.mul(&w))));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(what: &str, v: &Var, expected: bool) {
        check::same("recorded", what, &[v.node.is_some()], &[expected]);
    }

    #[test]
    fn an_operation_on_a_leaf_is_recorded() {
        let (w, c) = (Var::leaf(3.0), Var::constant(2.0));
        let y = c.mul(&w);
        marks("constant · leaf", &y, true);
        let inputs: Vec<bool> =
            y.node.unwrap().inputs.iter().map(|input| input.is_some()).collect();
        check::same("inputs with a node", "constant · leaf", &inputs, &[false, true]);
    }

    #[test]
    fn constants_give_constants() {
        let c = Var::constant(2.0);
        marks("constant · constant", &c.mul(&c), false);
    }

    #[test]
    fn nothing_is_recorded_inside_no_grad() {
        let w = Var::leaf(3.0);
        let y = no_grad(|| w.mul(&w));
        check::same("the value", "3 · 3", &[y.value], &[9.0]);
        marks("inside no_grad", &y, false);
        marks("after it", &w.mul(&w), true);
    }

    #[test]
    fn blocks_can_be_nested() {
        let w = Var::leaf(3.0);
        let (inner, outer) = no_grad(|| (no_grad(|| w.mul(&w)), w.mul(&w)));
        marks("in the inner block", &inner, false);
        marks("in the outer block, after the inner one", &outer, false);
        marks("after both", &w.mul(&w), true);
    }

    #[test]
    fn a_panic_puts_it_back() {
        let w = Var::leaf(3.0);
        let panics = std::panic::AssertUnwindSafe(|| no_grad(|| panic!("on purpose")));
        assert!(std::panic::catch_unwind(panics).is_err());
        marks("after a block that panicked", &w.mul(&w), true);
    }

    #[test]
    fn other_threads_go_on_recording() {
        let other = || {
            let w = Var::leaf(3.0);
            w.mul(&w).node.is_some()
        };
        let recorded = no_grad(|| std::thread::spawn(other).join().unwrap());
        check::same("recorded", "in another thread", &[recorded], &[true]);
    }
}
