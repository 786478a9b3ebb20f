// Chapter 9, attention. Exercise 4: attention without the matrix of scores.
//
// The scores of n tokens are n² numbers. For a long text that is more memory than all weights
// together. With the online softmax a query needs only a block of scores at a time. It keeps m and s
// of exercise 3, and a third thing: the sum of the values so far, weighed by e^(score − m). When m
// grows, that sum is put right by the same factor:
//
//     o′ = o·e^(m − m′) + Σⱼ e^(scoreⱼ − m′)·vⱼ       and at the end  o / s
//
// The engine's kernels do this on the CPU and on GPUs, in both directions.
//
// Paper: Dao et al., arXiv:2205.14135 (FlashAttention). Read: tensor/cpu/src/attention.rs.

/// What one query takes from `keys` and `values` (rows of d numbers), in blocks of `block` keys.
fn attend(q: &[f64], keys: &[Vec<f64>], values: &[Vec<f64>], block: usize) -> Vec<f64> {
    let scale = 1.0 / (q.len() as f64).sqrt();
    let (mut largest, mut sum) = (f64::NEG_INFINITY, 0.0);
    let mut output = vec![0.0; q.len()];
    for (keys, values) in keys.chunks(block).zip(values.chunks(block)) {
        let dot = |k: &Vec<f64>| q.iter().zip(k).map(|(a, b)| a * b).sum::<f64>();
        let scores: Vec<f64> = keys.iter().map(|k| dot(k) * scale).collect();
        let before = largest;
        largest = scores.iter().fold(before, |m, &x| m.max(x));
        let factor = (before - largest).exp();
        sum *= factor;
        output.iter_mut().for_each(|o| *o *= factor);
        for (score, value) in scores.iter().zip(values) {
            let weight = (score - largest).exp();
            sum += weight;
            output.iter_mut().zip(value).for_each(|(o, v)| *o += weight * v);
        }
    }
    output.iter().map(|o| o / sum).collect()
}

fn main() {
    let rows = vec![vec![1.0, 0.0], vec![0.0, 1.0], vec![1.0, 1.0]];
    println!("{:?}", attend(&rows[0], &rows, &rows, 2));
}

#[cfg(test)]
mod tests {
    use super::*;
    use gradus::prelude::*;
    use gradus::tensor::ops::attention::Attention;

    fn rows(x: &Tensor) -> Vec<Vec<f64>> {
        x.to_f64_vec().chunks(x.shape()[1]).map(<[f64]>::to_vec).collect()
    }

    /// Every query of a sequence, beside the engine's fused kernel.
    fn beside_the_engine(n: usize, d: usize, block: usize, spread: f64) {
        let random = |x| Tensor::randn(&[n, d], DType::F64, RngKey::new(2).place(x)).unwrap();
        let [q, k, v] = ["q", "k", "v"].map(random);
        let k = k.mul_scalar(spread).unwrap();
        let yours: Vec<f64> = rows(&q)
            .iter()
            .flat_map(|q| {
                let output = attend(q, &rows(&k), &rows(&v), block);
                assert_eq!(output.len(), d, "a query's output has d numbers");
                output
            })
            .collect();
        let offsets = Tensor::from_slice(&[0u32, n as u32], &[2]).unwrap();
        let options = Attention { scale: 1.0 / (d as f64).sqrt(), ..Attention::default() };
        let (expected, _) = q.attention(&k, &v, None, &offsets, &options).unwrap();
        let yours = Tensor::from_slice(&yours, &[n, d]).unwrap();
        let input = format!("blocks of {block}\nq = {q:?}\nk = {k:?}\nv = {v:?}");
        check::near(&format!("attention of {n} tokens"), input, &yours, &expected, 1e-9);
    }

    #[test]
    fn all_keys_in_one_block() {
        beside_the_engine(3, 2, 8, 1.0);
    }

    #[test]
    fn a_key_at_a_time() {
        beside_the_engine(3, 2, 1, 1.0);
    }

    #[test]
    fn blocks_that_do_not_divide_the_keys() {
        beside_the_engine(5, 2, 2, 1.0);
        beside_the_engine(9, 4, 4, 1.0);
    }

    #[test]
    fn large_scores_do_not_overflow() {
        beside_the_engine(4, 2, 2, 1000.0);
    }
}
