// Chapter 5, backward rules. Exercise 2: tanh from its value.
//
// The slope of tanh is 1 − tanh² x. A rule that computes tanh a second time pays twice for it; the
// value is already there, so keep it:
//
//     y = tanh x     g · (1 − y²)
//
// There is a catch. A tensor that a closure keeps is a constant for the graph. If the rule itself
// is recorded, for a second gradient, the graph does not see that y depends on x, and the second
// gradient comes out wrong, without an error. `c.create_graph()` says whether the rule is being
// recorded. Then compute tanh of the input again, as a variable; otherwise use what you have kept.
//
// In the engine: `unary` in autograd/src/ops/unary.rs takes a fused kernel for the first gradient,
// and the recorded form for others, in the same way.

use gradus::prelude::{Result, Var};

fn my_tanh(x: &Var) -> Result<Var> {
    let value = x.tensor().tanh()?;
    let kept = value.clone();
    Var::custom("my_tanh", value, &[x], move |c| {
        let y = match c.create_graph() {
            true => c.input(0).tanh()?,
            false => Var::constant(kept.clone()),
        };
        Ok(vec![Some(c.grad().mul(&y.square()?.affine(-1.0, 1.0)?)?)])
    })
}

fn demo() -> Result<()> {
    let x = Var::leaf(gradus::prelude::Tensor::scalar(0.5));
    println!("the slope of tanh at 0.5: {}", my_tanh(&x)?.backward()?.get(&x).expect("a leaf"));
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
    fn the_gradient() {
        for inputs in check::inputs_of(Op::Unary(UnaryOp::Tanh)) {
            check::gradient("my_tanh", |v| my_tanh(&v[0]), &inputs);
            check::agrees("tanh", |v| my_tanh(&v[0]), |v| v[0].tanh(), &inputs);
        }
    }

    /// A rule that always takes what it has kept passes the test above and fails here.
    #[test]
    fn the_second_gradient() {
        for inputs in check::inputs_of(Op::Unary(UnaryOp::Tanh)) {
            check::second_gradient("my_tanh", |v| my_tanh(&v[0]), &inputs);
        }
    }
}
