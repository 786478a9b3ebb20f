// Chapter 9, attention. Exercise 2: packed sequences and heads.
//
// Texts have different lengths. Other engines fill them up with padding to one length and then hide
// the padding with a mask. Gradus lays them end to end, without padding: two texts of 3 and 4 tokens
// are 7 rows, and the offsets [0, 3, 7] say where each begins (and where the last ends). Every token
// attends to the tokens of its own sequence.
//
// Heads: the d_all numbers of a row are `heads` pieces of d = d_all / heads numbers. Each head does
// its own attention on its piece, with its own softmax, and the results lie side by side again. The
// scale is 1/√d, with the d of a head.
//
// Read: autograd/src/ops/attention.rs, `attention_composed`; tensor/cpu/src/attention.rs, the kernel.

use gradus::prelude::*;

/// Attention of one sequence and one head, from exercise 1.
fn one_head(q: &Var, k: &Var, v: &Var) -> Result<Var> {
    let scale = 1.0 / (q.size(-1)? as f64).sqrt();
    q.matmul(&k.t()?)?.mul_scalar(scale)?.softmax(-1)?.matmul(v)
}

/// Attention over packed sequences: query, key and value [tokens, hidden] → [tokens, hidden].
fn attention(q: &Var, k: &Var, v: &Var, offsets: &[usize], heads: usize) -> Result<Var> {
    let d = q.size(-1)? / heads;
    let mut sequences = Vec::new();
    for bounds in offsets.windows(2) {
        let (start, n) = (bounds[0], bounds[1] - bounds[0]);
        let mut pieces = Vec::new();
        for head in 0..heads {
            let piece = |x: &Var| x.narrow(0, start, n)?.narrow(1, head * d, d);
            pieces.push(one_head(&piece(q)?, &piece(k)?, &piece(v)?)?);
        }
        sequences.push(Var::cat(&pieces.iter().collect::<Vec<_>>(), 1)?);
    }
    Var::cat(&sequences.iter().collect::<Vec<_>>(), 0)
}

fn main() -> Result<()> {
    let x = Var::constant(Tensor::randn(&[7, 4], DType::F32, RngKey::new(1))?);
    println!("{}", attention(&x, &x, &x, &[0, 3, 7], 2)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use gradus::tensor::ops::attention::Attention;

    fn qkv(tokens: usize, hidden: usize) -> Vec<Tensor> {
        let random = |x| Tensor::randn(&[tokens, hidden], DType::F64, RngKey::new(5).place(x));
        ["q", "k", "v"].map(|x| random(x).unwrap()).to_vec()
    }

    fn beside_the_engine(lengths: &[usize], heads: usize, hidden: usize) {
        let mut offsets = vec![0];
        lengths.iter().for_each(|n| offsets.push(offsets[offsets.len() - 1] + n));
        let tokens = offsets[lengths.len()];
        let ids: Vec<u32> = offsets.iter().map(|&at| at as u32).collect();
        let ids = Tensor::from_slice(&ids, &[ids.len()]).unwrap();
        let scale = 1.0 / ((hidden / heads) as f64).sqrt();
        let options = Attention { heads, scale, ..Attention::default() };
        check::agrees(
            &format!("attention, offsets {offsets:?}, {heads} heads"),
            |v| attention(&v[0], &v[1], &v[2], &offsets, heads),
            |v| v[0].attention(&v[1], &v[2], None, &ids, &options),
            &qkv(tokens, hidden),
        );
    }

    #[test]
    fn one_head_and_two_sequences() {
        beside_the_engine(&[3, 4], 1, 2);
    }

    #[test]
    fn two_heads() {
        beside_the_engine(&[4], 2, 6);
    }

    #[test]
    fn several_of_both() {
        beside_the_engine(&[1, 5, 2], 4, 8);
    }

    #[test]
    fn its_gradient_is_right() {
        let f = |v: &[Var]| attention(&v[0], &v[1], &v[2], &[0, 2, 5], 2);
        check::gradient("packed attention", f, &qkv(5, 4));
    }
}
