// Chapter 9, attention. Exercise 5: backward.
//
// Forward: S = scale·Q·Kᵀ, P = softmax(S), O = P·V. Let G be the gradient of O. Going back, step by
// step, by the rules of a product and of a softmax:
//
//     dV = Pᵀ·G
//     dP = G·Vᵀ
//     dS = P ∘ (dP − δ),  δᵢ = Σⱼ dPᵢⱼ·Pᵢⱼ       (∘: element by element; δ: one number a row)
//     dQ = scale·dS·K
//     dK = scale·dSᵀ·Q
//
// Everything here is computed again from Q and K; only the five lines are yours. The fused kernel of
// the engine does not even store P: from one number a row, log s + m, it computes blocks of P again.
//
// Read: autograd/src/ops/attention.rs, `Var::attention`; shaders/src/attention.wgsl, backward.

use gradus::prelude::*;

/// The gradients of query, key and value, from the probabilities `p` and the gradient `g` of the
/// output.
fn backward([q, k, v]: [&Var; 3], p: &Var, g: &Var, scale: f64) -> Result<[Var; 3]> {
    let dv = p.t()?.matmul(g)?;
    let dp = g.matmul(&v.t()?)?;
    let delta = dp.mul(p)?.sum(&[-1], true)?;
    let ds = p.mul(&dp.sub(&delta)?)?;
    let dq = ds.matmul(k)?.mul_scalar(scale)?;
    let dk = ds.t()?.matmul(q)?.mul_scalar(scale)?;
    Ok([dq, dk, dv])
}

/// Attention of one sequence and one head, with your rule.
fn attention(q: &Var, k: &Var, v: &Var) -> Result<Var> {
    let scale = 1.0 / (q.size(-1)? as f64).sqrt();
    let value = {
        let scores = q.tensor().matmul(&k.tensor().t()?)?.mul_scalar(scale)?;
        scores.softmax(-1)?.matmul(v.tensor())?
    };
    Var::custom("attention", value, &[q, k, v], move |context| {
        let qkv = [0, 1, 2].map(|i| context.input(i));
        let p = qkv[0].matmul(&qkv[1].t()?)?.mul_scalar(scale)?.softmax(-1)?;
        Ok(backward(qkv, &p, context.grad(), scale)?.map(Some).to_vec())
    })
}

fn main() -> Result<()> {
    let x = Var::leaf(Tensor::from_slice(&[1f64, 0.0, 0.0, 1.0, 1.0, 1.0], &[3, 2])?);
    let grads = attention(&x, &x, &x)?.square()?.sum_all()?.backward()?;
    println!("{}", grads.get(&x).expect("used three times"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use gradus::tensor::ops::attention::Attention;

    fn qkv(n: usize, d: usize) -> Vec<Tensor> {
        let key = RngKey::new(n as u64);
        ["q", "k", "v"].map(|x| Tensor::randn(&[n, d], DType::F64, key.place(x)).unwrap()).to_vec()
    }

    fn yours(v: &[Var]) -> Result<Var> {
        attention(&v[0], &v[1], &v[2])
    }

    #[test]
    fn agrees_with_finite_differences() {
        check::gradient("attention", yours, &qkv(3, 2));
        check::gradient("attention", yours, &qkv(1, 4));
    }

    #[test]
    fn agrees_with_the_fused_kernel() {
        for (n, d) in [(2, 2), (5, 3), (7, 8)] {
            let offsets = Tensor::from_slice(&[0, n as u32], &[2]).unwrap();
            let options = Attention { scale: 1.0 / (d as f64).sqrt(), ..Attention::default() };
            let engine = |v: &[Var]| v[0].attention(&v[1], &v[2], None, &offsets, &options);
            check::agrees("attention", yours, engine, &qkv(n, d));
        }
    }

    #[test]
    fn the_gradient_has_a_gradient() {
        check::second_gradient("attention", yours, &qkv(2, 3));
    }
}
