// Chapter 5, backward rules. Exercise 1: exp and log, in the engine.
//
// From here on you write rules for the engine itself. `Var::custom` makes an operation of a value,
// its inputs, and a rule. The rule gets a context c:
//
//     c.grad()      the gradient of the output, g
//     c.input(i)    input i, as it was in forward
//
// and returns one gradient for each input, in the input's shape; for one input `Ok(vec![Some(dx)])`.
// (None says that an input needs none.) Here dx is
//
//     y = exp x     g · eˣ
//     y = ln x      g / x
//
// Write rules in operations on variables (`mul`, `exp`, …), and they can be differentiated again:
// then the second gradient needs no line of code. The tests check both with the engine's gradcheck,
// over the registry's inputs, and compare with the engine's own operation.
//
// In the engine: `derivative` in autograd/src/ops/unary.rs.

use gradus::prelude::{Result, Var};

fn my_exp(x: &Var) -> Result<Var> {
    Var::custom("my_exp", x.tensor().exp()?, &[x], |c| {
        // TODO: the rule of exp.
        todo!("the rule of exp")
    })
}

fn my_log(x: &Var) -> Result<Var> {
    Var::custom("my_log", x.tensor().log()?, &[x], |c| {
        // TODO: the rule of log.
        todo!("the rule of log")
    })
}

fn demo() -> Result<()> {
    let x = Var::leaf(gradus::prelude::Tensor::scalar(2.0));
    println!("the slope of exp at 2: {}", my_exp(&x)?.backward()?.get(&x).expect("a leaf"));
    println!("the slope of log at 2: {}", my_log(&x)?.backward()?.get(&x).expect("a leaf"));
    Ok(())
}

fn main() {
    demo().expect("the shapes fit");
}

#[cfg(test)]
mod tests {
    use super::*;
    use gradus::autograd::Op;
    use gradus::tensor::ops::unary::UnaryOp;

    #[test]
    fn exp() {
        for inputs in check::inputs_of(Op::Unary(UnaryOp::Exp)) {
            check::gradient("my_exp", |v| my_exp(&v[0]), &inputs);
            check::agrees("exp", |v| my_exp(&v[0]), |v| v[0].exp(), &inputs);
        }
    }

    #[test]
    fn log() {
        for inputs in check::inputs_of(Op::Unary(UnaryOp::Log)) {
            check::gradient("my_log", |v| my_log(&v[0]), &inputs);
            check::agrees("log", |v| my_log(&v[0]), |v| v[0].log(), &inputs);
        }
    }

    #[test]
    fn second_gradients() {
        for inputs in check::inputs_of(Op::Unary(UnaryOp::Log)) {
            check::second_gradient("my_exp", |v| my_exp(&v[0]), &inputs);
            check::second_gradient("my_log", |v| my_log(&v[0]), &inputs);
        }
    }
}
