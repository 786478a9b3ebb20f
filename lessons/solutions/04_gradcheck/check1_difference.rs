// Chapter 4, is it right? Exercise 1: differences for tensors.
//
// A backward rule that is wrong gives no error. Training still works, a little worse, and nobody
// knows why. So every rule is compared with differences, as in chapter 1:
//
//     slope by element e of x ≈ (L(x + h·e) − L(x − h·e)) / 2h
//
// L must be a single number, while an operation returns a tensor. The sum of its elements would be
// one, but a poor one, as exercise 3 will show. Take fixed random numbers u, one for each element
// of the output, and let L = Σ u · f(x). The backward pass then begins with u instead of ones.
//
// Numbers are f64 here. In f32 a difference keeps three digits at best.
//
// In the engine: autograd/src/gradcheck.rs.

use gradus::prelude::{Result, Tensor};

const H: f64 = 1e-5;

/// The gradient of Σ u · f(x), by differences.
fn numeric_gradient(
    f: impl Fn(&Tensor) -> Result<Tensor>,
    x: &Tensor,
    u: &Tensor,
) -> Result<Tensor> {
    let loss = |numbers: &[f64]| -> Result<f64> {
        let x = Tensor::from_slice(numbers, x.shape())?;
        f(&x)?.mul(u)?.sum_all()?.item()
    };
    let numbers = x.to_f64_vec();
    let mut slopes: Vec<f64> = Vec::with_capacity(numbers.len());
    for at in 0..numbers.len() {
        let mut moved = numbers.clone();
        moved[at] = numbers[at] + H;
        let right = loss(&moved)?;
        moved[at] = numbers[at] - H;
        let left = loss(&moved)?;
        slopes.push((right - left) / (2.0 * H));
    }
    Tensor::from_slice(&slopes, x.shape())
}

fn demo() -> Result<()> {
    let x = Tensor::from_slice(&[0.0, 1.0, 2.0], &[3])?;
    let slopes = numeric_gradient(|x| x.square(), &x, &x.ones_like()?)?;
    println!("the slopes of Σx² at {x}: {slopes}");
    Ok(())
}

fn main() {
    demo().expect("the shapes fit");
}

#[cfg(test)]
mod tests {
    use super::*;
    use gradus::autograd::BackwardOptions;
    use gradus::prelude::{DType, RngKey, Var};

    /// Compares your differences with the engine's backward pass.
    fn marks(
        what: &str,
        x: &Tensor,
        f: fn(&Tensor) -> Result<Tensor>,
        recorded: fn(&Var) -> Result<Var>,
    ) -> Result<()> {
        let leaf = Var::leaf(x.clone());
        let y = recorded(&leaf)?;
        let u = Tensor::randn(y.shape(), DType::F64, RngKey::new(5))?;
        let grads = y.backward_with(Some(u.clone()), BackwardOptions::default())?;
        let expected = grads.get(&leaf).expect("y depends on x");
        let yours = numeric_gradient(f, x, &u)?;
        check::near(what, format!("{x:?}\nu = {u:?}"), &yours, expected, 1e-7);
        Ok(())
    }

    #[test]
    fn elements_of_a_list() -> Result<()> {
        let x = Tensor::from_slice(&[0.5, -1.0, 2.0], &[3])?;
        marks("the slopes of tanh", &x, |x| x.tanh(), |x| x.tanh())
    }

    #[test]
    fn a_matrix_in_and_a_column_out() -> Result<()> {
        let x = Tensor::randn(&[3, 4], DType::F64, RngKey::new(1))?;
        marks("the slopes of mean", &x, |x| x.mean(&[1], true), |x| x.mean(&[1], true))?;
        marks("the slopes of softmax", &x, |x| x.softmax(-1), |x| x.softmax(-1))
    }

    #[test]
    fn one_element_and_none() -> Result<()> {
        marks("the slope of exp", &Tensor::scalar(1.5), |x| x.exp(), |x| x.exp())?;
        let none = Tensor::zeros(&[0, 3], DType::F64)?;
        marks("the slopes of exp", &none, |x| x.exp(), |x| x.exp())
    }
}
