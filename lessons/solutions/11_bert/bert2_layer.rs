// Chapter 11, BERT. Exercise 2: one layer of the encoder.
//
// BERT is a stack of equal layers. A layer has two blocks, and each block has a way around it: its
// input is added to its output (the residual), and the sum is normalised.
//
//     attended = norm(x + dense(attention(x)))
//     output   = norm(attended + dense(gelu(intermediate(attended))))
//
// where attention takes query, key and value from three linear layers of x. The parts and their
// names, below `encoder.layer.N`, each with `.weight` and `.bias`:
//
//     attention.self.query, attention.self.key, attention.self.value     hidden → hidden
//     attention.output.dense, attention.output.LayerNorm                 hidden → hidden
//     intermediate.dense                                                 hidden → 4·hidden, about
//     output.dense, output.LayerNorm                                     4·hidden → hidden
//
// Dropout stands before each sum in training; in inference it does nothing, so it is left out here.
//
// Read: nn/src/layers/encoder.rs and nn/src/layers/attention.rs. There the residual sum, dropout and
// the norm are one pass over memory, and query, key and value come from one product.

use check::models::{Model, Weights};
use gradus::models::EncoderConfig;
use gradus::prelude::*;
use gradus::tensor::ops::attention::Attention;

/// A linear layer: x·Wᵀ + b.
fn linear(weights: &Weights, name: &str, x: &Var) -> Result<Var> {
    let weight = weights.get(&format!("{name}.weight"))?;
    x.linear(&weight, Some(&weights.get(&format!("{name}.bias"))?))
}

/// A layer norm.
fn norm(weights: &Weights, name: &str, x: &Var, eps: f64) -> Result<Var> {
    let weight = weights.get(&format!("{name}.weight"))?;
    x.layer_norm(&weight, Some(&weights.get(&format!("{name}.bias"))?), eps)
}

/// The layer at `path` (`encoder.layer.0`): [tokens, hidden] → [tokens, hidden].
pub fn layer(
    weights: &Weights,
    path: &str,
    x: &Var,
    offsets: &Tensor,
    config: &EncoderConfig,
) -> Result<Var> {
    let linear = |name: &str, x: &Var| linear(weights, &format!("{path}.{name}"), x);
    let norm =
        |name: &str, x: &Var| norm(weights, &format!("{path}.{name}"), x, config.layer_norm_eps);
    let heads = config.num_attention_heads;
    let scale = 1.0 / ((config.hidden_size / heads) as f64).sqrt();
    let options = Attention { heads, scale, ..Attention::default() };
    let q = linear("attention.self.query", x)?;
    let k = linear("attention.self.key", x)?;
    let v = linear("attention.self.value", x)?;
    let context = q.attention(&k, &v, None, offsets, &options)?;
    let dense = linear("attention.output.dense", &context)?;
    let attended = norm("attention.output.LayerNorm", &dense.add(x)?)?;
    let between = linear("intermediate.dense", &attended)?.gelu()?;
    let dense = linear("output.dense", &between)?;
    norm("output.LayerNorm", &dense.add(&attended)?)
}

fn main() -> Result<()> {
    let model = Model::tiny();
    let x =
        Var::constant(Tensor::randn(&[3, model.config.hidden_size], DType::F32, RngKey::new(1))?);
    let offsets = Tensor::from_slice(&[0u32, 3], &[2])?;
    let y = layer(&model.weights(), "encoder.layer.0", &x, &offsets, &model.config)?;
    println!("{:?} numbers became {:?}", x.shape(), y.shape());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use check::models::same_states;

    /// Runs each layer on the engine's own input of that layer.
    fn beside_the_engine(texts: &[&str]) {
        let model = Model::tiny();
        let (input, weights) = (model.input(texts), model.weights());
        let states = model.encoder.hidden_states(&input, &Forward::inference()).unwrap();
        for number in 0..model.config.num_hidden_layers {
            let path = format!("encoder.layer.{number}");
            let x = &states[number];
            let yours = layer(&weights, &path, x, &input.offsets, &model.config);
            let yours = yours.unwrap_or_else(|error| panic!("{error}"));
            let what = format!("the output of {path}");
            same_states(&what, &model, texts, &yours, &states[number + 1]);
        }
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
