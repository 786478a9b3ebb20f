// Chapter 4, is it right? Exercise 5: the gradient of a gradient.
//
// The gradient is itself a function of x. In the engine, backward rules are written in operations
// on variables, so a backward pass can be recorded like any computation (`create_graph`), and the
// gradient can be differentiated again.
//
// For f of n numbers the second slopes form a matrix of n · n numbers, the Hessian H: the entry of
// row i and column j says how the slope by xᵢ grows with xⱼ. It is too large to be computed for a
// model, but its product with a vector v costs two walks:
//
//     H·v = gradient of ( gradient of f · v ),    v a constant
//
// The inner dot is a product of two vectors, a single number.
//
// In the engine: `gradgradcheck` in autograd/src/gradcheck.rs does this with random v, and compares
// it with differences of gradients.

use gradus::autograd::BackwardOptions;
use gradus::prelude::{Result, Tensor, Var, grad};

/// The Hessian of f at x, times v.
fn hessian_times(f: impl Fn(&Var) -> Result<Var>, x: &Tensor, v: &Tensor) -> Result<Tensor> {
    let x = Var::leaf(x.clone());
    let v = Var::constant(v.clone());
    let y = f(&x)?;
    // TODO: the gradient of y by x, recorded; its product with v, added up; the gradient of that.
    todo!("the Hessian times {v}")
}

fn demo() -> Result<()> {
    let x = Tensor::from_slice(&[1.0, 2.0, 3.0], &[3])?;
    let v = Tensor::from_slice(&[1.0, 0.0, 0.0], &[3])?;
    let column = hessian_times(|x| x.powf(3.0)?.sum_all(), &x, &v)?;
    println!("the first column of the Hessian of Σx³ at {x}: {column}");
    Ok(())
}

fn main() {
    demo().expect("the shapes fit");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers() -> Result<()> {
        // The Hessian of Σx⁴ has 12x² on its diagonal, and 0 elsewhere.
        let x = Tensor::from_slice(&[1.0, 2.0, 3.0], &[3])?;
        let v = Tensor::from_slice(&[1.0, 0.5, -1.0], &[3])?;
        let yours = hessian_times(|x| x.powf(4.0)?.sum_all(), &x, &v)?;
        let expected = Tensor::from_slice(&[12.0, 24.0, -108.0], &[3])?;
        check::near("the Hessian of Σx⁴ times v", format!("{x}, v = {v}"), &yours, &expected, 1e-9);
        Ok(())
    }

    #[test]
    fn numbers_that_belong_together() -> Result<()> {
        // Differences of the gradient along v, for a function whose Hessian is full.
        let f = |x: &Var| x.softmax(-1)?.square()?.sum_all();
        let x = Tensor::from_slice(&[0.5, -1.0, 0.25, 1.5], &[4])?;
        let v = Tensor::from_slice(&[1.0, -2.0, 0.5, 1.0], &[4])?;
        let gradient = |h: f64| -> Result<Tensor> {
            let x = Var::leaf(x.add(&v.affine(h, 0.0)?)?);
            Ok(f(&x)?.backward()?.get(&x).expect("f depends on x").clone())
        };
        let h = 1e-5;
        let expected = gradient(h)?.sub(&gradient(-h)?)?.affine(0.5 / h, 0.0)?;
        let input = format!("{x}, v = {v}");
        check::near("the Hessian times v", input, &hessian_times(f, &x, &v)?, &expected, 1e-8);
        Ok(())
    }

    #[test]
    fn a_plane_has_no_curvature() -> Result<()> {
        let x = Tensor::from_slice(&[1.0, 2.0], &[2])?;
        let yours = hessian_times(|x| x.mul(&x.detach())?.sum_all(), &x, &x);
        // The gradient is a constant here, so there is nothing to differentiate: an error, not 0.
        assert!(yours.is_err(), "the gradient of Σ x·c does not depend on x, and backward says so");
        Ok(())
    }
}
