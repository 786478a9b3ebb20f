// Chapter 3, the tape for tensors. Exercise 1: the way back through broadcasting.
//
// Now the numbers on the tape become tensors. Nearly everything stays as in chapter 1; one thing is
// new. In y = x + b with x of shape [4, 3] and b of shape [3], each number of b is used four times,
// once in every row. A number that is used several times gets the sum of the gradients: so the
// gradient of b is the gradient of y, [4, 3], added up over the rows, [3].
//
// In general: a gradient that arrives in the large shape is added up over every dimension that
// broadcasting has made or stretched, until it has the shape of the input.
//
//     gradient [8, 7, 6, 5], input [7, 1, 5]:  add up over the 8, and over the 6
//
// In the engine: `sum_to` of autograd/src/ops/reduce.rs, and its use in autograd/src/ops/binary.rs.

use gradus::prelude::{Result, Tensor};

/// `grad` added up to `shape`, which broadcasts to the shape of `grad`.
fn sum_to(grad: &Tensor, shape: &[usize]) -> Result<Tensor> {
    let mut grad = grad.clone();
    // TODO: add up over the dimensions that are new, then over those that were stretched from 1.
    // `grad.sum(&[dim], keep)` adds up over one dimension, and keeps it with the size 1 or not.
    todo!("sum to {shape:?}");
    Ok(grad)
}

fn main() {
    demo().expect("the shapes fit");
}

fn demo() -> Result<()> {
    let grad = Tensor::from_slice(&[1.0, 2.0, 3.0, 10.0, 20.0, 30.0], &[2, 3])?;
    println!("the gradient of a row under\n{grad}\nis {}", sum_to(&grad, &[3])?);
    println!("and that of a column is\n{}", sum_to(&grad, &[2, 1])?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use gradus::autograd::Op;
    use gradus::prelude::Var;
    use gradus::tensor::ops::binary::BinaryOp;

    fn marks(grad: &Tensor, shape: &[usize]) -> Result<()> {
        let input = format!("gradient {grad:?}\nto shape {shape:?}");
        check::near("the sum", input, &sum_to(grad, shape)?, &grad.sum_to(shape)?, 1e-12);
        Ok(())
    }

    #[test]
    fn a_row_and_a_column() -> Result<()> {
        let grad = Tensor::from_slice(&[1.0, 2.0, 3.0, 10.0, 20.0, 30.0], &[2, 3])?;
        let row = Tensor::from_slice(&[11.0, 22.0, 33.0], &[3])?;
        check::near("the gradient of a row", &grad, &sum_to(&grad, &[3])?, &row, 0.0);
        let column = Tensor::from_slice(&[6.0, 60.0], &[2, 1])?;
        check::near("the gradient of a column", &grad, &sum_to(&grad, &[2, 1])?, &column, 0.0);
        Ok(())
    }

    #[test]
    fn all_pairs_of_the_registry() -> Result<()> {
        for inputs in check::inputs_of(Op::Binary(BinaryOp::Add)) {
            let sum = inputs[0].add(&inputs[1])?;
            marks(&sum, inputs[0].shape())?;
            marks(&sum, inputs[1].shape())?;
        }
        Ok(())
    }

    /// An addition whose rule uses your function.
    #[test]
    fn finite_differences_agree() {
        let add = |v: &[Var]| {
            Var::custom("my add", v[0].tensor().add(v[1].tensor())?, &[&v[0], &v[1]], |c| {
                let to = |i: usize| sum_to(c.grad().tensor(), c.input_shape(i)).map(Var::constant);
                c.each(&[&|| to(0), &|| to(1)])
            })
        };
        for inputs in check::inputs_of(Op::Binary(BinaryOp::Add)) {
            check::gradient("an addition with broadcasting", add, &inputs);
        }
    }
}
