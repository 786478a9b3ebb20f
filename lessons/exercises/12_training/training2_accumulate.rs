// Chapter 12, training. Exercise 2: a large batch in pieces.
//
// A large batch may not fit in memory. Its gradient can be computed in pieces, micro-batches, because
// the gradient of a sum is the sum of the gradients. But a loss is usually a mean, over n terms:
//
//     L = 1/n · Σ over all terms = Σ over pieces (nₚ/n)·Lₚ
//
// with nₚ the terms of piece p and Lₚ its own mean. If all pieces had the same number of terms, nₚ/n
// would be 1/pieces. Texts have different lengths, and a term is often a token: then the plain mean
// of the pieces' losses gives the terms of short pieces too much weight. `transformers` had this
// mistake for years (its pull requests 34191 and 34198 correct it).
//
// Read: models/src/training/gradients.rs, `mean_sums`; models/src/training/task.rs, `terms`.

use check::training::Batch;
use gradus::prelude::*;

/// The mean loss over the tokens of a batch.
fn loss(layer: &Linear, batch: &Batch) -> Result<Var> {
    losses::cross_entropy(&layer.forward(&batch.x)?, &batch.labels, &CrossEntropy::default())
}

/// The gradients of the mean loss over the tokens of all pieces together.
fn gradients(layer: &Linear, pieces: &[Batch]) -> Result<Gradients> {
    // TODO: `Gradients::default()` is empty, `sum.accumulate(other)?` adds to it. A loss can be
    // multiplied by a number: `loss.mul_scalar(share)?`. `piece.labels.numel()` is the number of terms.
    todo!("one backward for each of {} pieces", pieces.len())
}

/// Pieces of these lengths, cut from the same random tokens.
fn cut(lengths: &[usize]) -> Result<Vec<Batch>> {
    let all: usize = lengths.iter().sum();
    let x = Tensor::randn(&[all, 3], DType::F32, RngKey::new(1))?;
    let labels = Tensor::randint(0, 4, &[all], RngKey::new(2))?;
    let mut start = 0;
    let mut piece = |&n: &usize| -> Result<Batch> {
        let x = Var::constant(x.narrow(0, start, n)?);
        let labels = labels.narrow(0, start, n)?;
        start += n;
        Ok(Batch { x, labels })
    };
    lengths.iter().map(&mut piece).collect()
}

fn main() -> Result<()> {
    let store = Store::new(0);
    let layer = Linear::new(&store.root().join("layer"), 3, 4, Init::Normal { std: 1.0 })?;
    let grads = gradients(&layer, &cut(&[5, 2, 9])?)?;
    println!("{}", layer.weight.grad(&grads).expect("the weight is used"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beside_one_batch(lengths: &[usize]) {
        let store = Store::new(0);
        let init = Init::Normal { std: 1.0 };
        let layer = Linear::new(&store.root().join("layer"), 3, 4, init).unwrap();
        let whole = cut(&[lengths.iter().sum()]).unwrap();
        let expected = loss(&layer, &whole[0]).unwrap().backward().unwrap();
        let yours = gradients(&layer, &cut(lengths).unwrap()).unwrap();
        for parameter in store.parameters() {
            let name = parameter.name();
            let mine = parameter.grad(&yours).unwrap_or_else(|| panic!("no gradient of {name}"));
            let input = format!("pieces of {lengths:?} tokens");
            let what = format!("the gradient of {name}");
            check::near(&what, input, mine, parameter.grad(&expected).unwrap(), 1e-5);
        }
    }

    #[test]
    fn one_piece() {
        beside_one_batch(&[6]);
    }

    #[test]
    fn equal_pieces() {
        beside_one_batch(&[4, 4, 4]);
    }

    #[test]
    fn pieces_of_different_lengths() {
        beside_one_batch(&[1, 12]);
        beside_one_batch(&[5, 2, 9]);
    }
}
