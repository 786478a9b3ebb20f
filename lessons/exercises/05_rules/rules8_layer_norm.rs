// Chapter 5, backward rules. Exercise 8: layer norm.
//
// Layer norm brings every row to mean 0 and variance 1, and then scales and shifts each column:
//
//     x̂ = (x − mean) · rstd,   rstd = 1 / √(variance + ε)
//     y = x̂ · w + b
//
// Composed of ten operations, it would keep many tensors for backward. Fused, it keeps the input,
// and a mean and an rstd for each row. The rule, by hand: w and b are easy,
//
//     b gets Σ g,   w gets Σ g · x̂        added up over the rows
//
// For x, let gw = g · w, the gradient of x̂. The mean and the variance depend on every x of the
// row, and each takes something back:
//
//     x gets rstd · ( gw − mean(gw) − x̂ · mean(gw · x̂) )
//
// The first correction says: adding the same number to the whole row changes nothing. The second:
// nor does stretching the row. A gradient along these two directions has no effect, so it is
// removed.
//
// In the engine: autograd/src/ops/layer_norm.rs, and the kernel in tensor/cpu/src/layer_norm.rs.

use gradus::prelude::{Result, Var};

/// x̂ and rstd of the rows of x.
fn normalise(x: &Var, eps: f64) -> Result<(Var, Var)> {
    let centred = x.sub(&x.mean(&[-1], true)?)?;
    let rstd = centred.square()?.mean(&[-1], true)?.add_scalar(eps)?.rsqrt()?;
    Ok((centred.mul(&rstd)?, rstd))
}

fn my_layer_norm(x: &Var, w: &Var, b: &Var, eps: f64) -> Result<Var> {
    let value = x.tensor().layer_norm(w.tensor(), Some(b.tensor()), eps)?.output;
    Var::custom("my_layer_norm", value, &[x, w, b], move |c| {
        let (g, w) = (c.grad(), c.input(1));
        let (norm, rstd) = normalise(c.input(0), eps)?;
        // TODO: the gradients of x, w and b.
        todo!("the rule of layer norm")
    })
}

fn demo() -> Result<()> {
    use gradus::prelude::{DType, Tensor};
    let x = Var::leaf(Tensor::from_slice(&[1.0, 2.0, 6.0], &[1, 3])?);
    let (w, b) = (Tensor::ones(&[3], DType::F64)?, Tensor::zeros(&[3], DType::F64)?);
    let (w, b) = (Var::constant(w), Var::constant(b));
    let y = my_layer_norm(&x, &w, &b, 1e-12)?;
    let grads = y.square()?.mul(&y)?.sum_all()?.backward()?;
    let dx = grads.get(&x).expect("a leaf");
    println!("the gradient {dx} adds up to {:.6}", dx.sum_all()?.item()?);
    Ok(())
}

fn main() {
    demo().expect("the shapes fit");
}

#[cfg(test)]
mod tests {
    use super::*;
    use gradus::autograd::Op;
    use gradus::autograd::ops::layer_norm::layer_norm_composed;
    use gradus::prelude::Tensor;

    /// Makes rows of one or two elements smooth enough for differences.
    const EPS: f64 = 0.5;

    /// The registry's inputs with w and b, apart from empty rows.
    fn inputs() -> Vec<Vec<Tensor>> {
        let all = check::inputs_of(Op::LayerNorm).into_iter();
        all.filter(|v| v.len() == 3 && v[0].shape().last() != Some(&0)).collect()
    }

    fn yours(v: &[Var]) -> Result<Var> {
        my_layer_norm(&v[0], &v[1], &v[2], EPS)
    }

    #[test]
    fn gradients() {
        assert!(inputs().len() > 2);
        for inputs in inputs() {
            check::gradient("my_layer_norm", yours, &inputs);
        }
    }

    #[test]
    fn as_the_fused_kernel_and_as_the_composed_form() {
        let composed = |v: &[Var]| layer_norm_composed(&v[0], &v[1], Some(&v[2]), EPS);
        for inputs in inputs() {
            let engine = |v: &[Var]| v[0].layer_norm(&v[1], Some(&v[2]), EPS);
            check::agrees("layer_norm", yours, engine, &inputs);
            check::agrees("layer_norm, composed", yours, composed, &inputs);
        }
    }

    #[test]
    fn second_gradients() {
        for inputs in inputs() {
            check::second_gradient("my_layer_norm", yours, &inputs);
        }
    }
}
