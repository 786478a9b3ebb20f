// Chapter 11, BERT. Exercise 4: your own BERT.
//
// All parts are there, and they are yours: this file uses the functions that you wrote in
// bert1_embeddings.rs, bert2_layer.rs and bert3_loading.rs. What remains is the stack, and one vector
// a text: the mean of the last states of its tokens, scaled to length 1. The product of two such
// vectors is the cosine of the angle between them, and says how alike two texts are.
//
// The tests compare with the engine's encoder, at 1e-5, on a tiny BERT with random weights. With a
// trained model they do it on that as well: set MODEL_DIR to a folder in Hugging Face's layout, such
// as a clone of https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2.
//
// Read: models/src/encoder/mod.rs, `Encoder::encode`, `mean_pool` and `normalize`.

use check::models::{Model, Weights};
use gradus::models::encoder::mean_pool;
use gradus::models::{EncoderConfig, EncoderInput};
use gradus::prelude::*;
use gradus::tensor::io::safetensors::SafeTensors;

// Your own files.
#[path = "bert1_embeddings.rs"]
mod bert1;
#[path = "bert2_layer.rs"]
mod bert2;
#[path = "bert3_loading.rs"]
mod bert3;

struct Bert {
    weights: Weights,
    config: EncoderConfig,
}

impl Bert {
    /// Loads the encoder of a checkpoint.
    fn load(file: &SafeTensors, config: &EncoderConfig) -> Result<Bert, String> {
        let tensors = bert3::load(file, &bert3::names(config.num_hidden_layers))?;
        Ok(Bert { weights: Weights::new(tensors), config: config.clone() })
    }

    /// The last states, [tokens, hidden].
    fn forward(&self, input: &EncoderInput) -> Result<Var> {
        let mut x = bert1::embed(&self.weights, input, self.config.layer_norm_eps)?;
        for number in 0..self.config.num_hidden_layers {
            let path = format!("encoder.layer.{number}");
            x = bert2::layer(&self.weights, &path, &x, &input.offsets, &self.config)?;
        }
        Ok(x)
    }

    /// A vector of length 1 for each text, [texts, hidden].
    fn embed(&self, input: &EncoderInput) -> Result<Var> {
        let means = mean_pool(&self.forward(input)?, input).expect("the batch is the input's");
        let length = means.square()?.sum(&[-1], true)?.sqrt()?;
        means.div(&length)
    }
}

fn main() -> Result<()> {
    let texts = [
        "I have lost my bank card.",
        "My debit card is missing.",
        "The weather is lovely in Lisbon today.",
    ];
    let model = Model::pretrained().unwrap_or_else(Model::tiny);
    let bert = Bert::load(&model.file(), &model.config).expect("the checkpoint is whole");
    let vectors = no_grad(|| bert.embed(&model.input(&texts)))?;
    println!("{}", vectors.matmul(&vectors.t()?)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use check::models::{same_states, same_vectors};
    use gradus::models::encoder::normalize;

    const TEXTS: [&str; 4] = [
        "I have lost my bank card.",
        "hi",
        "How do I get my money back, and how long will it take until it is here?",
        "The weather is lovely in Lisbon today.",
    ];

    fn beside_the_engine(model: &Model) {
        let bert = Bert::load(&model.file(), &model.config).unwrap_or_else(|e| panic!("load: {e}"));
        let input = model.input(&TEXTS);
        no_grad(|| {
            let yours = bert.forward(&input).unwrap_or_else(|e| panic!("forward: {e}"));
            let expected = model.encoder.forward(&input, &Forward::inference()).unwrap();
            same_states("the last states", model, &TEXTS, &yours, &expected);
            let yours = bert.embed(&input).unwrap_or_else(|e| panic!("embed: {e}"));
            let expected = normalize(&mean_pool(&expected, &input).unwrap()).unwrap();
            same_vectors("the vectors", &TEXTS, &yours, &expected);
        });
    }

    #[test]
    fn a_tiny_bert() {
        beside_the_engine(&Model::tiny());
    }

    #[test]
    fn a_trained_bert() {
        let Some(model) = Model::pretrained() else { return };
        beside_the_engine(&model);
    }
}
