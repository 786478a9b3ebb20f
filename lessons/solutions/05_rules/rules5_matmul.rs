// Chapter 5, backward rules. Exercise 5: a matrix product.
//
// Y = A·B, with A of shape [m, k], B of [k, n] and Y of [m, n]:
//
//     Y[i, j] = Σₚ A[i, p] · B[p, j]
//
// How does A[i, p] reach the loss? It is in every element of row i of Y, each time multiplied by
// B[p, j]. So its gradient is Σⱼ g[i, j] · B[p, j]: row i of g times row p of B, which is a matrix
// product again, with B transposed. And the same for B:
//
//     A gets g · Bᵀ       [m, n] · [n, k] = [m, k]
//     B gets Aᵀ · g       [k, m] · [m, n] = [k, n]
//
// If you forget which is which, the shapes tell you. So a backward pass costs twice the forward
// pass: two products for one. A transposed matrix is a view and costs nothing; chapter 2.
//
// In the engine: `matmul` in autograd/src/ops/matmul.rs, with batches of matrices.

use gradus::prelude::{Result, Var};

fn my_matmul(a: &Var, b: &Var) -> Result<Var> {
    Var::custom("my_matmul", a.tensor().matmul(b.tensor())?, &[a, b], |c| {
        let (g, a, b) = (c.grad(), c.input(0), c.input(1));
        c.each(&[&|| g.matmul(&b.t()?), &|| a.t()?.matmul(g)])
    })
}

fn demo() -> Result<()> {
    use gradus::prelude::Tensor;
    let a = Var::leaf(Tensor::from_slice(&[1.0, 2.0], &[1, 2])?);
    let b = Var::leaf(Tensor::from_slice(&[3.0, 4.0, 5.0, 6.0], &[2, 2])?);
    let grads = my_matmul(&a, &b)?.sum_all()?.backward()?;
    println!("the gradient of A: {}", grads.get(&a).expect("a leaf"));
    println!("the gradient of B:\n{}", grads.get(&b).expect("a leaf"));
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

    /// The registry's pairs of matrices, some without rows or columns; not its batches.
    fn pairs() -> Vec<Vec<Tensor>> {
        let all = check::inputs_of(Op::Matmul).into_iter();
        all.filter(|inputs| inputs.iter().all(|x| x.rank() == 2)).collect()
    }

    #[test]
    fn gradients() {
        assert!(pairs().len() > 2);
        for inputs in pairs() {
            check::gradient("my_matmul", |v| my_matmul(&v[0], &v[1]), &inputs);
            check::agrees("matmul", |v| my_matmul(&v[0], &v[1]), |v| v[0].matmul(&v[1]), &inputs);
        }
    }

    #[test]
    fn second_gradients() {
        for inputs in pairs() {
            check::second_gradient("my_matmul", |v| my_matmul(&v[0], &v[1]), &inputs);
        }
    }
}
