// Chapter 5, backward rules. Exercise 4: sums and means.
//
//     y = Σ x along the last dimension         every x gets the g of its row
//     y = Σ x / n                              every x gets g / n
//
// A sum is the reverse of broadcasting, and so are their rules: that of `broadcast_to` is a sum,
// and that of a sum is `broadcast_to`. It copies nothing: strides of 0, chapter 2.
//
// The dimension is kept with size 1 here, [4, 3] → [4, 1], so that the shapes go together.
//
// In the engine: autograd/src/ops/reduce.rs. Neither keeps a number of the input; see the column
// "keeps for backward" of book/src/operations.md.

use gradus::prelude::{Result, Var};

fn my_sum(x: &Var) -> Result<Var> {
    Var::custom("my_sum", x.tensor().sum(&[-1], true)?, &[x], |c| {
        // TODO: give each element the gradient of its row.
        todo!("the rule of sum")
    })
}

fn my_mean(x: &Var) -> Result<Var> {
    Var::custom("my_mean", x.tensor().mean(&[-1], true)?, &[x], |c| {
        // TODO: the same, divided by the number of elements in a row (`c.input(0).size(-1)?`).
        todo!("the rule of mean")
    })
}

fn demo() -> Result<()> {
    let x = Var::leaf(gradus::prelude::Tensor::from_slice(&[1.0, 2.0, 6.0], &[1, 3])?);
    let y = my_mean(&x)?.square()?;
    println!("the gradient of mean² at {x}: {}", y.sum_all()?.backward()?.get(&x).expect("a leaf"));
    Ok(())
}

fn main() {
    demo().expect("the shapes fit");
}

#[cfg(test)]
mod tests {
    use super::*;
    use gradus::autograd::Op;

    #[test]
    fn sums() {
        // The registry's inputs of softmax: one dimension or more, of sizes 0 and 1 too.
        for inputs in check::inputs_of(Op::Softmax) {
            check::gradient("my_sum", |v| my_sum(&v[0]), &inputs);
            check::agrees("sum", |v| my_sum(&v[0]), |v| v[0].sum(&[-1], true), &inputs);
        }
    }

    #[test]
    fn means() {
        for inputs in check::inputs_of(Op::Softmax) {
            if inputs[0].shape().last() == Some(&0) {
                continue; // nothing has no mean
            }
            check::gradient("my_mean", |v| my_mean(&v[0]), &inputs);
            check::agrees("mean", |v| my_mean(&v[0]), |v| v[0].mean(&[-1], true), &inputs);
        }
    }

    #[test]
    fn the_variance_made_of_them() {
        let variance = |v: &[Var]| my_mean(&v[0].sub(&my_mean(&v[0])?)?.square()?);
        for inputs in check::inputs_of(Op::LayerNorm) {
            if inputs[0].shape().last() != Some(&0) {
                check::gradient("a variance", variance, &inputs[..1]);
                check::second_gradient("a variance", variance, &inputs[..1]);
            }
        }
    }
}
