// Chapter 5, backward rules. Exercise 3: a product with broadcasting.
//
//     y = a · b     a gets g · b, b gets g · a, each added up to the shape of its input
//
// Two things are new. The shapes may differ, so the gradients must be brought back to the shapes of
// the inputs: `sum_to`, from chapter 3. And often one of the two is a constant, a mask or a batch
// of data. Then its gradient is not wanted, and computing it would be wasted work: half of the time
// of this rule.
//
//     c.wants(i)            whether the gradient of input i is wanted
//     c.each(&[…])          calls one closure for each input, if it is wanted
//     c.input_shape(i)      the shape of input i
//
// In the engine: `binary` in autograd/src/ops/binary.rs.

use gradus::prelude::{Result, Var};

fn my_mul(a: &Var, b: &Var) -> Result<Var> {
    Var::custom("my_mul", a.tensor().mul(b.tensor())?, &[a, b], |c| {
        // TODO: one closure for each input, given to `c.each`.
        todo!("the rule of mul")
    })
}

fn demo() -> Result<()> {
    use gradus::prelude::Tensor;
    let a = Var::leaf(Tensor::from_slice(&[1.0, 2.0, 3.0, 4.0], &[2, 2])?);
    let b = Var::leaf(Tensor::from_slice(&[10.0, 100.0], &[2])?);
    let grads = my_mul(&a, &b)?.sum_all()?.backward()?;
    println!("Σ a·b for a =\n{a} and b = {b}");
    println!("the gradient of b: {}", grads.get(&b).expect("a leaf"));
    Ok(())
}

fn main() {
    demo().expect("the shapes fit");
}

#[cfg(test)]
mod tests {
    use super::*;
    use gradus::autograd::Op;
    use gradus::prelude::Tensor;
    use gradus::tensor::ops::binary::BinaryOp;

    #[test]
    fn equal_shapes() -> Result<()> {
        let a = Tensor::from_slice(&[1.0, -2.0, 3.0], &[3])?;
        let b = Tensor::from_slice(&[0.5, 4.0, -1.0], &[3])?;
        check::gradient("my_mul", |v| my_mul(&v[0], &v[1]), &[a, b]);
        Ok(())
    }

    #[test]
    fn shapes_that_broadcast() {
        for inputs in check::inputs_of(Op::Binary(BinaryOp::Mul)) {
            check::gradient("my_mul", |v| my_mul(&v[0], &v[1]), &inputs);
            check::agrees("mul", |v| my_mul(&v[0], &v[1]), |v| v[0].mul(&v[1]), &inputs);
            check::second_gradient("my_mul", |v| my_mul(&v[0], &v[1]), &inputs);
        }
    }

    #[test]
    fn a_variable_times_itself() -> Result<()> {
        let x = Tensor::from_slice(&[1.0, -2.0, 3.0], &[3])?;
        check::gradient("my_mul(x, x)", |v| my_mul(&v[0], &v[0]), &[x]);
        Ok(())
    }
}
