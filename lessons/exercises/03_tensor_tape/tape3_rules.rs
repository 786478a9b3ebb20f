// Chapter 3, the tape for tensors. Exercise 3: rules instead of slopes.
//
// In chapter 1 a node kept a local slope, one number for each input. For a tensor of n numbers the
// slopes of an operation would be n · n numbers, nearly all 0. So a node keeps a function instead,
// the backward rule: it takes the gradient of the output, and returns the gradients of the inputs.
//
//     y = a · b           a gets g · b, b gets g · a, each summed to its shape
//     y = exp x           x gets g · y: the rule keeps the value
//     y = Σ x             every element of x gets g, a single number
//
// A rule is a closure, and what it captures is what the operation keeps for backward: the inputs
// for a product, the output for exp, a shape for a sum. A tensor is a shared storage: a clone of
// it copies no numbers.
//
// The walk is that of exercise 2, with tensors.
//
// In the engine: the rules in autograd/src/ops. book/src/operations.md lists what each keeps.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};

use gradus::prelude::{Result, Tensor};

/// From the gradient of the output to the gradients of the inputs.
type Rule = Box<dyn Fn(&Tensor) -> Result<Vec<Tensor>>>;

struct Node {
    id: usize,
    inputs: Vec<Rc<Node>>,
    rule: Rule,
}

#[derive(Clone)]
struct Var {
    tensor: Tensor,
    node: Rc<Node>,
}

impl Var {
    fn leaf(tensor: Tensor) -> Var {
        Var::record(tensor, &[], Box::new(|_| Ok(Vec::new())))
    }

    fn record(tensor: Tensor, inputs: &[&Var], rule: Rule) -> Var {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let inputs = inputs.iter().map(|input| input.node.clone()).collect();
        Var { tensor, node: Rc::new(Node { id, inputs, rule }) }
    }

    fn mul(&self, other: &Var) -> Result<Var> {
        let value = self.tensor.mul(&other.tensor)?;
        let (a, b) = (self.tensor.clone(), other.tensor.clone());
        // TODO: the gradients of a and b from g. `Tensor::sum_to` is what you wrote in exercise 1.
        let rule: Rule = Box::new(move |g| todo!("the rule of mul"));
        Ok(Var::record(value, &[self, other], rule))
    }

    fn exp(&self) -> Result<Var> {
        let value = self.tensor.exp()?;
        // TODO: keep what the rule needs, and write it.
        let rule: Rule = Box::new(move |g| todo!("the rule of exp"));
        Ok(Var::record(value, &[self], rule))
    }

    /// The sum of all elements, a tensor of shape [].
    fn sum_all(&self) -> Result<Var> {
        let value = self.tensor.sum_all()?;
        // TODO: the rule needs a shape only; `g.broadcast_to(shape)` repeats the number g.
        let rule: Rule = Box::new(move |g| todo!("the rule of sum_all"));
        Ok(Var::record(value, &[self], rule))
    }

    /// The gradient of this number by every variable on which it depends, by id.
    fn backward(&self) -> Result<HashMap<usize, Tensor>> {
        let mut grads = HashMap::from([(self.node.id, self.tensor.ones_like()?)]);
        // A sorted map does for the heap: its last entry is the youngest node.
        let mut ready = BTreeMap::from([(self.node.id, self.node.clone())]);
        while let Some((id, node)) = ready.pop_last() {
            let input_grads = (node.rule)(&grads[&id])?;
            for (input, grad) in node.inputs.iter().zip(input_grads) {
                let sum = match grads.get(&input.id) {
                    Some(so_far) => so_far.add(&grad)?,
                    None => grad,
                };
                grads.insert(input.id, sum);
                ready.insert(input.id, input.clone());
            }
        }
        Ok(grads)
    }
}

fn demo() -> Result<()> {
    let x = Var::leaf(Tensor::from_slice(&[0.0, 1.0, 2.0], &[3])?);
    let loss = x.mul(&x.exp()?)?.sum_all()?;
    println!("Σ x·eˣ at x = {}: slopes {}", x.tensor, loss.backward()?[&x.node.id]);
    Ok(())
}

fn main() {
    demo().expect("the shapes fit");
}

#[cfg(test)]
mod tests {
    use super::*;
    use gradus::autograd::Op;
    use gradus::tensor::ops::binary::BinaryOp;

    /// The engine's variable, under another name.
    type Engine = gradus::prelude::Var;

    /// Compares your gradients with the engine's.
    fn marks(
        what: &str,
        inputs: &[Tensor],
        yours: fn(&[Var]) -> Result<Var>,
        engine: fn(&[Engine]) -> Result<Engine>,
    ) -> Result<()> {
        let mine: Vec<Var> = inputs.iter().map(|x| Var::leaf(x.clone())).collect();
        let theirs: Vec<Engine> = inputs.iter().map(|x| Engine::leaf(x.clone())).collect();
        let (y, z) = (yours(&mine)?, engine(&theirs)?);
        let input = inputs.iter().map(|x| format!("{x:?}\n")).collect::<String>();
        check::near(&format!("the value of {what}"), &input, &y.tensor, z.tensor(), 1e-12);
        let (mine_grads, their_grads) = (y.backward()?, z.backward()?);
        for (i, (a, b)) in mine.iter().zip(&theirs).enumerate() {
            let what = format!("the gradient of {what} by input {i}");
            let expected = their_grads.get(b).expect("it depends on every input");
            check::near(&what, &input, &mine_grads[&a.node.id], expected, 1e-12);
        }
        Ok(())
    }

    #[test]
    fn a_sum() -> Result<()> {
        let x = Tensor::from_slice(&[1.0, 2.0, 3.0, 4.0], &[2, 2])?;
        marks("Σx", &[x], |v| v[0].sum_all(), |v| v[0].sum_all())
    }

    #[test]
    fn products_with_broadcasting() -> Result<()> {
        for inputs in check::inputs_of(Op::Binary(BinaryOp::Mul)) {
            let (yours, engine) =
                (|v: &[Var]| v[0].mul(&v[1])?.sum_all(), |v: &[Engine]| v[0].mul(&v[1])?.sum_all());
            marks("Σ a·b", &inputs, yours, engine)?;
        }
        Ok(())
    }

    #[test]
    fn all_together() -> Result<()> {
        let x = Tensor::from_slice(&[0.5, -1.0, 0.25, 2.0, -0.5, 1.0], &[2, 3])?;
        let w = Tensor::from_slice(&[1.0, -0.5, 0.75], &[3])?;
        marks(
            "Σ w·exp(x·w)·x",
            &[x, w],
            |v| v[1].mul(&v[0].mul(&v[1])?.exp()?)?.mul(&v[0])?.sum_all(),
            |v| v[1].mul(&v[0].mul(&v[1])?.exp()?)?.mul(&v[0])?.sum_all(),
        )
    }
}
