// Chapter 10, from text to numbers. Exercise 3: the mean of each sequence.
//
// A sentence embedding is often the mean of its tokens' states. With padding one has to multiply by
// a mask and divide by the mask's sum; here there is nothing to mask. The rows of `hidden` are added
// into one row for each sequence, and that is divided by the sequence's number of tokens:
//
//     out[s] = 1/nₛ · Σ hidden[t] over the tokens t of sequence s
//
// `index_add` adds rows at given places: `zeros.index_add(0, &ids, &rows)` adds row t of `rows` to
// row ids[t] of `zeros`, and knows its gradient.
//
// Read: models/src/encoder/mod.rs, `mean_pool`; tensor/cpu/src/index.rs.

use gradus::prelude::*;

/// The mean of the rows of each sequence: [tokens, width] → [sequences, width].
fn mean_pool(hidden: &Var, offsets: &[u32]) -> Result<Var> {
    let (sequences, width) = (offsets.len() - 1, hidden.size(-1)?);
    let zeros = Var::constant(Tensor::zeros(&[sequences, width], hidden.dtype())?);
    let lengths: Vec<u32> = offsets.windows(2).map(|w| w[1] - w[0]).collect();
    let ids: Vec<u32> = (0..).zip(&lengths).flat_map(|(s, &n)| vec![s; n as usize]).collect();
    let ids = Tensor::from_slice(&ids, &[ids.len()])?;
    let inverse: Vec<f64> = lengths.iter().map(|&n| 1.0 / f64::from(n)).collect();
    let inverse = Tensor::from_slice(&inverse, &[sequences, 1])?.to_dtype(hidden.dtype())?;
    zeros.index_add(0, &ids, hidden)?.mul(&Var::constant(inverse))
}

fn main() -> Result<()> {
    let hidden = Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0, 10.0, 20.0], &[3, 2])?;
    println!("{}", mean_pool(&Var::constant(hidden), &[0, 2, 3])?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use gradus::models::encoder::mean_pool as engine;
    use gradus::models::{EncoderConfig, EncoderInput, PackedBatch};

    fn beside_the_engine(lengths: &[usize], width: usize) {
        let config = EncoderConfig::new(50, 1, 8, 2, 16);
        let zeros = vec![0; 100];
        let parts = lengths.iter().map(|&n| (&zeros[..n], &zeros[..n]));
        let batch = PackedBatch::from_parts(parts, &config).unwrap();
        let input = EncoderInput::new(&batch).unwrap();
        let shape = [batch.tokens(), width];
        let hidden = Tensor::randn(&shape, DType::F32, RngKey::new(4)).unwrap();
        let hidden = Var::constant(hidden);
        let yours = mean_pool(&hidden, &batch.offsets).unwrap();
        let expected = engine(&hidden, &input).unwrap();
        let input = format!("offsets {:?}\nhidden = {}", batch.offsets, hidden.tensor());
        check::near("the means", input, yours.tensor(), expected.tensor(), 1e-6);
    }

    #[test]
    fn one_sequence() {
        beside_the_engine(&[3], 2);
    }

    #[test]
    fn several_sequences() {
        beside_the_engine(&[2, 1, 4], 3);
    }

    #[test]
    fn its_gradient_is_right() {
        let hidden = Tensor::randn(&[5, 2], DType::F64, RngKey::new(4)).unwrap();
        check::gradient("mean_pool", |v| mean_pool(&v[0], &[0, 3, 5]), &[hidden]);
    }
}
