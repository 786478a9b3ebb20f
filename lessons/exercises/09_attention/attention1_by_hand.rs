// Chapter 9, attention. Exercise 1: by hand.
//
// A text is a list of tokens, each a row of d numbers. Attention lets every token take something from
// every other one. Each token has three rows, made by three linear layers: a query (what it looks
// for), a key (what it offers) and a value (what it gives). With Q, K and V [n, d]:
//
//     S = Q·Kᵀ / √d         [n, n]: how well query i fits key j
//     P = softmax of each row of S: the row of token i says how much it takes from each token
//     O = P·V               [n, d]: the mean of the values, weighed by P
//
// Why √d: a product of two random rows of d numbers has a spread of √d. Without the division the
// softmax would be all on one token at first, where its slope is 0.
//
// Paper: Vaswani et al., arXiv:1706.03762. Read: autograd/src/ops/attention.rs,
// `attention_probabilities`; run example 06_attention.

use gradus::prelude::*;

/// Attention of one sequence and one head: query, key and value [n, d] → [n, d].
fn attention(q: &Var, k: &Var, v: &Var) -> Result<Var> {
    // TODO: `matmul`, `t` (the transpose), `mul_scalar` and `softmax(-1)` (along the last dimension)
    // are methods of `Var`.
    todo!("softmax(Q·Kᵀ / √d)·V")
}

fn main() -> Result<()> {
    let x = Var::constant(Tensor::from_slice(&[1f32, 0.0, 0.0, 1.0, 1.0, 1.0], &[3, 2])?);
    println!("{}", attention(&x, &x, &x)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use gradus::tensor::ops::attention::Attention;

    /// The engine's fused attention, of one sequence.
    fn engine(v: &[Var]) -> Result<Var> {
        let (n, d) = (v[0].size(0)? as u32, v[0].size(1)?);
        let offsets = Tensor::from_slice(&[0, n], &[2])?;
        let options = Attention { scale: 1.0 / (d as f64).sqrt(), ..Attention::default() };
        v[0].attention(&v[1], &v[2], None, &offsets, &options)
    }

    fn qkv(n: usize, d: usize) -> Vec<Tensor> {
        let key = RngKey::new(n as u64);
        ["q", "k", "v"].map(|x| Tensor::randn(&[n, d], DType::F64, key.place(x)).unwrap()).to_vec()
    }

    #[test]
    fn equal_scores_give_the_mean() {
        let zeros = Var::constant(Tensor::zeros(&[2, 3], DType::F64).unwrap());
        let v = Tensor::from_slice(&[1.0, 2.0, 3.0, 5.0, 6.0, 7.0], &[2, 3]).unwrap();
        let o = attention(&zeros, &zeros, &Var::constant(v)).unwrap();
        let expected = [3.0, 4.0, 5.0, 3.0, 4.0, 5.0];
        check::near(
            "attention with queries of 0",
            "V = [[1, 2, 3], [5, 6, 7]]",
            o.tensor(),
            &expected[..],
            1e-12,
        );
    }

    #[test]
    fn agrees_with_the_fused_kernel() {
        for (n, d) in [(1, 1), (3, 2), (5, 8), (2, 16)] {
            check::agrees("attention", |v| attention(&v[0], &v[1], &v[2]), engine, &qkv(n, d));
        }
    }

    #[test]
    fn its_gradient_is_right() {
        check::gradient("attention", |v| attention(&v[0], &v[1], &v[2]), &qkv(4, 3));
    }
}
