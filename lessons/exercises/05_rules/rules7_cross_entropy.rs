// Chapter 5, backward rules. Exercise 7: cross-entropy, fused.
//
// A classifier gives a row of numbers (logits) for each example, one number a class. Softmax makes
// probabilities of them, and the loss is −ln of the probability of the right class, averaged over n
// examples. Three operations after each other: softmax, log, pick. Two reasons to make one of them:
//
//   * A probability can be so small that it is 0 in f32, and then its logarithm is infinite. The
//     logarithm of a quotient is a difference, and safe: with t the right class,
//
//         −ln pₜ = −ln(e^xₜ / Σ e^x) = ln Σ e^x − xₜ
//
//   * The gradient becomes simple. The slope of ln Σ e^x by xᵢ is pᵢ; that of xₜ by xᵢ is 1 if
//     i = t, else 0:
//
//         gradient of xᵢ = (pᵢ − (1 if i = t, else 0)) / n · g
//
//     The probability that the model gave, minus the one that it should have given.
//
// In the engine: autograd/src/ops/cross_entropy.rs, whose kernels store no probabilities at all.

use gradus::prelude::{DType, Result, Tensor, Var};

/// The mean of ln Σ e^x − xₜ over the rows; `targets` (u32) has the right class of each.
fn value(logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
    // The logit of the right class of each row, [n, 1].
    let picked = logits.gather(-1, &targets.unsqueeze(-1)?)?;
    // TODO: the mean over the rows. `logits.logsumexp(&[-1], true)?` is ln Σ e^x, as [n, 1].
    todo!("the loss, with {picked}")
}

/// 1 for the right class of each row, and 0 for the others.
fn onehot(targets: &Tensor, classes: usize) -> Result<Tensor> {
    Tensor::eye(classes, DType::F64)?.index_select(0, targets)
}

fn my_cross_entropy(logits: &Var, targets: &Tensor) -> Result<Var> {
    let right = onehot(targets, logits.size(-1)?)?;
    let value = value(logits.tensor(), targets)?;
    Var::custom("my_cross_entropy", value, &[logits], move |c| {
        let n = c.input_shape(0)[0] as f64;
        // TODO: the gradient of the logits.
        todo!("the rule, with {right} and {n}")
    })
}

fn demo() -> Result<()> {
    let logits = Var::leaf(Tensor::from_slice(&[2.0, 0.0, 0.0], &[1, 3])?);
    let targets = Tensor::from_slice(&[1u32], &[1])?;
    let loss = my_cross_entropy(&logits, &targets)?;
    println!("the loss {loss}, the gradient {}", loss.backward()?.get(&logits).expect("a leaf"));
    Ok(())
}

fn main() {
    demo().expect("the shapes fit");
}

#[cfg(test)]
mod tests {
    use super::*;
    use gradus::prelude::{CrossEntropy, RngKey};

    fn examples() -> Result<Vec<(Tensor, Tensor)>> {
        [(1, 1), (1, 4), (5, 3), (3, 7)]
            .into_iter()
            .map(|(n, classes)| {
                let key = RngKey::new(n as u64);
                let logits = Tensor::randn(&[n, classes], DType::F64, key)?;
                Ok((logits, Tensor::randint(0, classes as u32, &[n], key.place("targets"))?))
            })
            .collect()
    }

    #[test]
    fn the_loss() -> Result<()> {
        for (logits, targets) in examples()? {
            let expected = Var::constant(logits.clone())
                .cross_entropy(&targets, &CrossEntropy::default())?
                .into_tensor();
            let input = format!("{logits}\ntargets {targets}");
            check::near("the loss", input, &value(&logits, &targets)?, &expected, 1e-12);
        }
        Ok(())
    }

    #[test]
    fn a_hopeless_example_has_a_finite_loss() -> Result<()> {
        let logits = Tensor::from_slice(&[1000.0, -1000.0], &[1, 2])?;
        let targets = Tensor::from_slice(&[1u32], &[1])?;
        let expected = Tensor::scalar(2000.0);
        check::near("the loss", &logits, &value(&logits, &targets)?, &expected, 1e-12);
        Ok(())
    }

    #[test]
    fn the_gradient() -> Result<()> {
        for (logits, targets) in examples()? {
            let yours = |v: &[Var]| my_cross_entropy(&v[0], &targets);
            check::gradient("my_cross_entropy", yours, std::slice::from_ref(&logits));
            check::second_gradient("my_cross_entropy", yours, std::slice::from_ref(&logits));
            let engine = |v: &[Var]| v[0].cross_entropy(&targets, &CrossEntropy::default());
            check::agrees("cross_entropy", yours, engine, &[logits]);
        }
        Ok(())
    }
}
