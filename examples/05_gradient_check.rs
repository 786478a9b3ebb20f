//! A custom operation, checked against finite differences, and a Hessian-vector product.
//!
//! `cargo run --release --example 05_gradient_check`

use gradus::autograd::{BackwardOptions, GradCheck, gradcheck, gradgradcheck};
use gradus::prelude::*;

/// Mish, x·tanh(ln(1 + eˣ)) (Misra, arXiv:1908.08681), with a hand-written backward rule:
/// f′ = t + x·(1 − t²)·σ(x), where t = tanh(softplus x).
fn mish(x: &Var) -> Result<Var> {
    let value = x.tensor().mul(&x.tensor().softplus()?.tanh()?)?;
    Var::custom("mish", value, &[x], |c| {
        let x = c.input(0);
        let t = x.softplus()?.tanh()?;
        let slope = x.mul(&t.square()?.affine(-1.0, 1.0)?)?.mul(&x.sigmoid()?)?;
        Ok(vec![Some(c.grad().mul(&t.add(&slope)?)?)])
    })
}

/// The same with a mistake: the rule lacks the factor x.
fn wrong(x: &Var) -> Result<Var> {
    let value = x.tensor().mul(&x.tensor().softplus()?.tanh()?)?;
    Var::custom("mish (wrong)", value, &[x], |c| {
        let x = c.input(0);
        let t = x.softplus()?.tanh()?;
        let slope = t.square()?.affine(-1.0, 1.0)?.mul(&x.sigmoid()?)?;
        Ok(vec![Some(c.grad().mul(&t.add(&slope)?)?)])
    })
}

fn main() -> Result<()> {
    let x = Tensor::randn(&[3, 4], DType::F64, RngKey::new(1))?;
    gradcheck(|v| mish(&v[0]), std::slice::from_ref(&x), &GradCheck::new("mish", 1))?;
    gradgradcheck(|v| mish(&v[0]), std::slice::from_ref(&x), &GradCheck::new("mish", 1))?;
    println!("mish: first and second derivatives agree with finite differences\n");

    let found = gradcheck(|v| wrong(&v[0]), std::slice::from_ref(&x), &GradCheck::new("wrong", 1));
    println!("a wrong rule is found:\n{}\n", found.expect_err("the rule is wrong"));

    // A Hessian-vector product without the Hessian (Pearlmutter, 1994): H·v = ∇(∇f · v).
    // f(x) = Σx⁴ has the Hessian diag(12x²).
    let x = Var::leaf(Tensor::from_slice(&[1f64, 2.0, 3.0], &[3])?);
    let v = Var::constant(Tensor::from_slice(&[1f64, 0.5, -1.0], &[3])?);
    let f = x.powf(4.0)?.sum_all()?;
    let options = BackwardOptions { create_graph: true, ..Default::default() };
    let gradient =
        grad(&[f], std::slice::from_ref(&x), None, options)?.remove(0).expect("f depends on x");
    let product = gradient.mul(&v)?.sum_all()?.backward()?;
    let product = product.get(&x).expect("the gradient depends on x");
    println!("Hessian of Σx⁴ times v: {product}");
    assert_eq!(product.to_vec::<f64>()?, [12.0, 24.0, -108.0]);
    Ok(())
}
