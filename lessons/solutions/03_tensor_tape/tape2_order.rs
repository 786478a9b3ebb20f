// Chapter 3, the tape for tensors. Exercise 2: an order without a list.
//
// A list of all steps, as in chapter 1, grows for ever, and keeps everything alive that was ever
// computed. So from now on a node owns its inputs: `Rc<Node>`. What nobody needs any more goes away
// by itself. But who tells the order now?
//
// The first idea is recursion: hand the gradient to each input, which hands it to its inputs. It is
// wrong in time: with x₁ = x₀ + x₀, x₂ = x₁ + x₁, … the node x₀ is reached on 2ⁿ ways. A node must
// wait until its gradient is complete, and run once.
//
// Each node gets a number when it is made, one more than the last. An input is older than what it
// is used for, so it has a smaller number: *descending numbers are an order in which every gradient
// is complete*. Keep the nodes that have got a gradient in a heap, and always take the youngest.
//
// In the engine: `Ready` and `run` in autograd/src/walk.rs.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap};
use std::rc::Rc;

struct Node {
    /// How many nodes were made before it.
    id: usize,
    /// What it was computed from, with the local slopes.
    inputs: Vec<(Rc<Node>, f64)>,
}

/// A node in the heap, which gives the largest first.
struct Youngest(Rc<Node>);

impl Ord for Youngest {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.id.cmp(&other.0.id)
    }
}
impl PartialOrd for Youngest {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl PartialEq for Youngest {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Youngest {}

/// The gradient of `output` by every node on which it depends, by the id of the node.
fn backward(output: &Rc<Node>) -> HashMap<usize, f64> {
    let mut grads: HashMap<usize, f64> = HashMap::new();
    let mut ready = BinaryHeap::new();
    grads.insert(output.id, 1.0);
    ready.push(Youngest(output.clone()));
    while let Some(Youngest(node)) = ready.pop() {
        let grad = grads[&node.id];
        for (input, slope) in &node.inputs {
            if !grads.contains_key(&input.id) {
                ready.push(Youngest(input.clone()));
            }
            *grads.entry(input.id).or_insert(0.0) += grad * slope;
        }
    }
    grads
}

fn main() {
    let x = node(0, vec![]);
    let square = node(1, vec![(&x, 3.0), (&x, 3.0)]);
    println!("the slopes of x·x at x = 3: {:?}", backward(&square));
}

fn node(id: usize, inputs: Vec<(&Rc<Node>, f64)>) -> Rc<Node> {
    let inputs = inputs.into_iter().map(|(node, slope)| (node.clone(), slope)).collect();
    Rc::new(Node { id, inputs })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(what: &str, output: &Rc<Node>, expected: &[(usize, f64)]) {
        let mut yours: Vec<(usize, f64)> = backward(output).into_iter().collect();
        yours.sort_by_key(|(id, _)| *id);
        check::same(&format!("the slopes of {what}"), "(node, slope)", &yours, expected);
    }

    #[test]
    fn a_chain() {
        let x = node(0, vec![]);
        let a = node(1, vec![(&x, 2.0)]);
        let b = node(2, vec![(&a, 5.0)]);
        marks("5·(2·x)", &b, &[(0, 10.0), (1, 5.0), (2, 1.0)]);
    }

    #[test]
    fn a_node_waits_for_all_its_gradients() {
        // x is used by an old and by a young node. Whoever takes the inputs in any other order
        // hands the gradient of `middle` on too early.
        let x = node(0, vec![]);
        let middle = node(1, vec![(&x, 10.0)]);
        let young = node(2, vec![(&middle, 3.0)]);
        let output = node(3, vec![(&middle, 1.0), (&young, 1.0)]);
        marks("middle + 3·middle", &output, &[(0, 40.0), (1, 4.0), (2, 1.0), (3, 1.0)]);
    }

    #[test]
    fn only_what_the_output_uses() {
        let (x, unused) = (node(0, vec![]), node(1, vec![]));
        let output = node(2, vec![(&x, 7.0)]);
        let _later = node(3, vec![(&output, 1.0), (&unused, 1.0)]);
        marks("7·x", &output, &[(0, 7.0), (2, 1.0)]);
    }

    #[test]
    fn sixty_doublings_take_no_time() {
        // On 2⁶⁰ ways from the end to the beginning. If this test does not end, your walk goes
        // them one by one.
        let mut x = node(0, vec![]);
        for id in 1..=60 {
            x = node(id, vec![(&x, 1.0), (&x, 1.0)]);
        }
        let yours = backward(&x)[&0];
        check::same("the slope of x doubled 60 times", "x + x, …", &[yours], &[2f64.powi(60)]);
    }
}
