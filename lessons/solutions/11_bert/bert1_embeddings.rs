// Chapter 11, BERT. Exercise 1: from ids to vectors.
//
// In this chapter you build BERT from the engine's operations, and it will give the numbers of the
// shipped one. The first part turns each token into a row of `hidden` numbers, the sum of three rows
// from three tables, which training has filled:
//
//     word_embeddings[id] + position_embeddings[place] + token_type_embeddings[type]
//
// The position is the token's place in its own sequence, because attention itself does not see an
// order. The type says to which text of a pair the token belongs. Then layer norm brings each row
// to mean 0 and spread 1, and scales and shifts it by a learnt weight and bias:
//
//     y = (x − mean x) / √(var x + ε) · weight + bias
//
// The weights have the names of Hugging Face's checkpoints, below `embeddings`:
// `embeddings.word_embeddings.weight`, `embeddings.LayerNorm.bias`, ….
//
// Paper: Devlin et al., arXiv:1810.04805. Read: models/src/encoder/embeddings.rs.

use check::models::{Model, Weights};
use gradus::models::EncoderInput;
use gradus::prelude::*;

/// The input of the first layer, [tokens, hidden].
pub fn embed(weights: &Weights, input: &EncoderInput, eps: f64) -> Result<Var> {
    let rows = |table: &str, ids: &Tensor| {
        weights.get(&format!("embeddings.{table}.weight"))?.embedding(ids)
    };
    let words = rows("word_embeddings", &input.ids)?;
    let positions = rows("position_embeddings", &input.position_ids)?;
    let types = rows("token_type_embeddings", &input.type_ids)?;
    let weight = weights.get("embeddings.LayerNorm.weight")?;
    let bias = weights.get("embeddings.LayerNorm.bias")?;
    words.add(&positions)?.add(&types)?.layer_norm(&weight, Some(&bias), eps)
}

fn main() -> Result<()> {
    let model = Model::tiny();
    let input = model.input(&["where is my card"]);
    let x = embed(&model.weights(), &input, model.config.layer_norm_eps)?;
    println!("{} tokens became {:?} numbers", input.tokens(), x.shape());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use check::models::same_states;

    fn beside_the_engine(texts: &[&str]) {
        let model = Model::tiny();
        let input = model.input(texts);
        let yours = embed(&model.weights(), &input, model.config.layer_norm_eps);
        let yours = yours.unwrap_or_else(|error| panic!("{error}"));
        let expected = model.encoder.hidden_states(&input, &Forward::inference()).unwrap();
        same_states("the embeddings", &model, texts, &yours, &expected[0]);
    }

    #[test]
    fn one_text() {
        beside_the_engine(&["where is my card"]);
    }

    #[test]
    fn several_texts() {
        beside_the_engine(&["my card was stolen", "hi", "the exchange rate is wrong"]);
    }
}
