// Chapter 5, backward rules. Exercise 6: softmax.
//
// Softmax turns any numbers into probabilities, row by row:
//
//     yᵢ = e^xᵢ / Σₖ e^xₖ
//
// Here every output depends on every input of its row. The slopes are
//
//     ∂yⱼ/∂xᵢ = yⱼ · (1 if i = j, else 0)  −  yⱼ · yᵢ
//
// so, adding up over all outputs j with their gradients,
//
//     gradient of xᵢ = Σⱼ gⱼ · ∂yⱼ/∂xᵢ = gᵢ·yᵢ − yᵢ · Σⱼ gⱼ·yⱼ = yᵢ · (gᵢ − Σⱼ gⱼ·yⱼ)
//
// The table of n · n slopes never exists: one sum for each row is enough. That is what a backward
// rule is for.
//
// The value: e^x of a large x is infinite. Subtract the largest number of the row first; the
// quotient stays the same. A test asks for it.
//
// In the engine: autograd/src/ops/softmax.rs, and the kernel in tensor/cpu/src/softmax.rs.

use gradus::prelude::{Result, Tensor, Var};

/// Softmax along the last dimension.
fn value(x: &Tensor) -> Result<Tensor> {
    let e = x.sub(&x.max(&[-1], true)?)?.exp()?;
    e.div(&e.sum(&[-1], true)?)
}

fn my_softmax(x: &Var) -> Result<Var> {
    Var::custom("my_softmax", value(x.tensor())?, &[x], |c| {
        let (g, y) = (c.grad(), c.input(0).softmax(-1)?);
        let inner = g.mul(&y)?.sum(&[-1], true)?;
        Ok(vec![Some(y.mul(&g.sub(&inner)?)?)])
    })
}

fn demo() -> Result<()> {
    let x = Tensor::from_slice(&[1.0, 2.0, 3.0], &[3])?;
    println!("softmax of {x}: {}", value(&x)?);
    Ok(())
}

fn main() {
    demo().expect("the shapes fit");
}

#[cfg(test)]
mod tests {
    use super::*;
    use gradus::autograd::Op;

    /// The registry's inputs, apart from empty rows, which have no largest number.
    fn rows() -> Vec<Vec<Tensor>> {
        let all = check::inputs_of(Op::Softmax).into_iter();
        all.filter(|inputs| inputs[0].shape().last() != Some(&0)).collect()
    }

    #[test]
    fn the_value() -> Result<()> {
        for inputs in rows() {
            let (x, expected) = (&inputs[0], inputs[0].softmax(-1)?);
            check::near("softmax", x, &value(x)?, &expected, 1e-12);
        }
        Ok(())
    }

    #[test]
    fn large_numbers() -> Result<()> {
        let x = Tensor::from_slice(&[1000.0, 1001.0, 999.0, -1000.0], &[4])?;
        check::near("softmax", &x, &value(&x)?, &x.softmax(-1)?, 1e-12);
        Ok(())
    }

    #[test]
    fn the_gradient() {
        for inputs in rows() {
            check::gradient("my_softmax", |v| my_softmax(&v[0]), &inputs);
            check::agrees("softmax", |v| my_softmax(&v[0]), |v| v[0].softmax(-1), &inputs);
        }
    }

    #[test]
    fn the_second_gradient() {
        for inputs in rows() {
            check::second_gradient("my_softmax", |v| my_softmax(&v[0]), &inputs);
        }
    }
}
