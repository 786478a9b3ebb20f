// Chapter 3, the tape for tensors. Exercise 4: a graph that can be dropped.
//
// A node owns its inputs. When the last `Rc` of a node goes, Rust drops its fields, among them the
// inputs; if that was the last `Rc` of an input, it is dropped inside, and so on: one call inside
// another, one for each node. A chain of 100,000 steps, a training loop that forgets a `detach`,
// needs 100,000 calls on the stack. The stack is full before, and the program ends, with no error
// that could be caught.
//
// So write `drop` yourself, as a loop. Keep a list of nodes that are still to be taken apart. Take
// one; if nobody else holds it, move *its* inputs onto the list, and let it go, now that it owns
// nothing.
//
// In the engine: `Drop` for `Node` in autograd/src/node.rs. The walk back is a loop too, for
// the same reason.

use std::rc::Rc;

struct Node {
    inputs: Vec<Rc<Node>>,
    /// Tells the tests how deep the stack is when this node is dropped.
    _probe: Probe,
}

impl Node {
    fn new(inputs: Vec<Rc<Node>>) -> Rc<Node> {
        Rc::new(Node { inputs, _probe: Probe })
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let mut dying = std::mem::take(&mut self.inputs);
        while let Some(input) = dying.pop() {
            if let Some(mut node) = Rc::into_inner(input) {
                dying.append(&mut node.inputs);
            }
        }
    }
}

/// A field whose drop notes the place on the stack where it happens.
struct Probe;

impl Drop for Probe {
    fn drop(&mut self) {
        let here = 0u8;
        stack::note(&raw const here as usize);
    }
}

mod stack {
    use std::cell::Cell;

    thread_local! {
        /// The lowest and the highest place on the stack so far, and how many drops there were.
        static SEEN: Cell<(usize, usize, usize)> = const { Cell::new((usize::MAX, 0, 0)) };
    }

    pub fn note(at: usize) {
        let (low, high, drops) = SEEN.get();
        SEEN.set((low.min(at), high.max(at), drops + 1));
    }

    /// Runs `f`; the bytes of stack between its drops, and their number.
    pub fn during(f: impl FnOnce()) -> (usize, usize) {
        SEEN.set((usize::MAX, 0, 0));
        f();
        let (low, high, drops) = SEEN.get();
        (high.saturating_sub(low), drops)
    }
}

fn chain(length: usize) -> Rc<Node> {
    (1..length).fold(Node::new(Vec::new()), |node, _| Node::new(vec![node]))
}

fn main() {
    for length in [10, 100, 1000] {
        let (bytes, _) = stack::during(|| drop(chain(length)));
        println!("to drop a chain of {length:4} nodes takes {bytes:6} bytes of stack");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stack_does_not_grow_with_the_chain() {
        let (few, _) = stack::during(|| drop(chain(10)));
        let (many, drops) = stack::during(|| drop(chain(1000)));
        check::same("the nodes that were dropped", "a chain of 1,000", &[drops], &[1000]);
        assert!(
            many < few + 1000,
            "dropping 10 nodes takes {few} bytes of stack, 1,000 nodes {many}: it is recursive"
        );
        // Only now, for otherwise the stack would overflow and end all tests.
        let (_, drops) = stack::during(|| drop(chain(100_000)));
        check::same("the nodes that were dropped", "a chain of 100,000", &[drops], &[100_000]);
    }

    #[test]
    fn what_others_hold_stays() {
        let shared = chain(5);
        let (_, drops) = stack::during(|| drop(Node::new(vec![shared.clone(), chain(3)])));
        check::same("the nodes that were dropped", "one, and 3 of its own", &[drops], &[4]);
        let (_, drops) = stack::during(|| drop(shared));
        check::same("the nodes that were dropped", "the 5 that were shared", &[drops], &[5]);
    }

    #[test]
    fn a_node_that_is_used_twice_is_dropped_once() {
        let shared = chain(3);
        let (left, right) = (Node::new(vec![shared.clone()]), Node::new(vec![shared]));
        let output = Node::new(vec![left, right]);
        let (_, drops) = stack::during(|| drop(output));
        check::same("the nodes that were dropped", "3, 2 above them, and 1", &[drops], &[6]);
    }
}
