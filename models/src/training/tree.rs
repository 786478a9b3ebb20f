//! The order in which the micro-batches of a step are added: one binary tree.
//!
//! A sum of floats depends on its order. So the order of a step depends only on the number of its
//! micro-batches: the left branch of n of them has the largest power of two below n, the right
//! branch the rest. Ranks that compute whole branches of this tree add the same numbers in the same
//! order as one process does.

use std::ops::Range;

use gradus_autograd::Gradients;
use gradus_tensor::Tensor;

use crate::Result;

/// A node of the tree: consecutive micro-batches of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Node {
    pub first: usize,
    pub leaves: usize,
}

impl Node {
    /// The root of the tree of a step with so many micro-batches.
    pub fn root(leaves: usize) -> Node {
        Node { first: 0, leaves }
    }

    /// The two branches; `None` for a leaf.
    pub fn branches(self) -> Option<(Node, Node)> {
        if self.leaves < 2 {
            return None;
        }
        let left = self.leaves.next_power_of_two() / 2;
        let right = Node { first: self.first + left, leaves: self.leaves - left };
        Some((Node { leaves: left, ..self }, right))
    }

    /// Whether this is a node of the tree of `all` micro-batches.
    fn belongs_to(self, all: usize) -> bool {
        let mut node = Node::root(all);
        loop {
            if node == self {
                return true;
            }
            let Some((left, right)) = node.branches() else { return false };
            node = if self.first < right.first { left } else { right };
        }
    }
}

/// Adds values of consecutive micro-batches as the tree says. A value stays apart until its sibling
/// is there.
pub(super) struct Sums<T> {
    /// Micro-batches of the whole step.
    all: usize,
    nodes: Vec<(Node, T)>,
}

impl<T> Sums<T> {
    pub fn new(all: usize) -> Sums<T> {
        Sums { all, nodes: Vec::new() }
    }

    /// Takes the value of the next micro-batch.
    pub fn push(
        &mut self,
        leaf: usize,
        value: T,
        mut add: impl FnMut(T, T) -> Result<T>,
    ) -> Result<()> {
        let (mut node, mut value) = (Node { first: leaf, leaves: 1 }, value);
        while let Some((before, earlier)) = self.nodes.pop() {
            let both = Node { first: before.first, leaves: before.leaves + node.leaves };
            if !both.belongs_to(self.all) {
                self.nodes.push((before, earlier));
                break;
            }
            (node, value) = (both, add(earlier, value)?);
        }
        self.nodes.push((node, value));
        Ok(())
    }

    /// The largest whole branches so far, with their sums.
    pub fn nodes(&self) -> &[(Node, T)] {
        &self.nodes
    }

    /// The sum of the step, once it has all micro-batches.
    pub fn into_total(mut self) -> Option<T> {
        self.nodes.pop().map(|(_, value)| value)
    }

    /// The same branches with other values.
    pub fn map<U>(&self, value: impl Fn(&T) -> U) -> Sums<U> {
        let nodes = self.nodes.iter().map(|(node, own)| (*node, value(own))).collect();
        Sums { all: self.all, nodes }
    }
}

/// The largest branches that lie within `range`, in order: what a rank with these micro-batches can
/// add alone.
pub(super) fn branches_within(all: usize, range: Range<usize>) -> Vec<Node> {
    let mut sums = Sums::new(all);
    for leaf in range {
        // Adding nothing to nothing cannot fail.
        let _ = sums.push(leaf, (), |(), ()| Ok(()));
    }
    sums.nodes.into_iter().map(|(node, ())| node).collect()
}

/// What some micro-batches of a step give: their share of the loss and of the gradients.
#[derive(Clone, Default)]
pub(super) struct Part {
    pub loss: Option<Tensor>,
    pub gradients: Gradients,
}

impl Part {
    pub fn add(mut self, other: Part) -> Result<Part> {
        self.gradients.accumulate(other.gradients)?;
        self.loss = add(self.loss, other.loss)?;
        Ok(self)
    }
}

/// The sum of two values of which either may be absent.
pub(super) fn add(one: Option<Tensor>, other: Option<Tensor>) -> Result<Option<Tensor>> {
    Ok(match (one, other) {
        (Some(mut one), Some(other)) => {
            one.add_(&other, 1.0)?;
            Some(one)
        }
        (one, other) => one.or(other),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sum of leaves as text: `((0+1)+2)`.
    fn shape(all: usize, range: Range<usize>) -> Vec<String> {
        let mut sums = Sums::new(all);
        for leaf in range {
            sums.push(leaf, leaf.to_string(), |a, b| Ok(format!("({a}+{b})"))).unwrap();
        }
        sums.nodes.into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn the_tree_depends_on_the_number_of_leaves_alone() {
        for (all, expected) in [
            (1, "0"),
            (2, "(0+1)"),
            (3, "((0+1)+2)"),
            (4, "((0+1)+(2+3))"),
            (7, "(((0+1)+(2+3))+((4+5)+6))"),
        ] {
            assert_eq!(shape(all, 0..all), [expected]);
        }
    }

    #[test]
    fn a_rank_adds_whole_branches() {
        assert_eq!(shape(8, 0..4), ["((0+1)+(2+3))"]);
        assert_eq!(shape(8, 2..5), ["(2+3)", "4"]);
        assert_eq!(shape(8, 5..8), ["5", "(6+7)"]);
        // The branches of 2, 3, … ranks cover every leaf once.
        for (all, ranks) in [(8, 2), (8, 3), (5, 4), (13, 6), (2, 2)] {
            let parts = (0..ranks)
                .flat_map(|r| branches_within(all, r * all / ranks..(r + 1) * all / ranks));
            let leaves: Vec<usize> =
                parts.flat_map(|node| node.first..node.first + node.leaves).collect();
            assert_eq!(leaves, (0..all).collect::<Vec<_>>(), "{all} over {ranks}");
        }
    }
}
