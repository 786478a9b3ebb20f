//! A tiny BERT, or GPT-2, with random weights, for the tests of the programs.

use std::path::Path;

use gradus_models::{
    CausalLm, EncoderConfig, MaskedLm, Pooling, SequenceClassifier, SpanPredictor, TokenClassifier,
    Tokenizer, save_folder,
};
use gradus_nn::Store;
use gradus_tensor::Tensor;

/// Texts of several lengths.
pub const TEXTS: [&str; 5] = [
    "how do i locate my card",
    "my card was stolen",
    "the exchange rate is wrong, and the fee for the cash that i withdrew abroad is far too high",
    "hi",
    "why was i charged a fee",
];

/// The head of a model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Head {
    /// No head: an encoder.
    None,
    /// A classifier of texts with three labels.
    Sequence(Pooling),
    /// A masked language model.
    Masked,
    /// A classifier of tokens with three tags.
    Tokens,
    /// A predictor of answers to questions.
    Answers,
    /// A classifier of texts with one label, a relevance.
    Rank,
    /// A causal language model: a GPT-2, whose tokens are bytes.
    Causal,
}

/// The configuration of the model with `head`.
pub fn config(tokenizer: &Tokenizer, head: Head) -> EncoderConfig {
    let mut config = match head {
        Head::Causal => EncoderConfig::gpt2_preset("tiny", tokenizer.vocab_size()).unwrap(),
        _ => EncoderConfig::new(tokenizer.vocab_size(), 2, 32, 2, 64),
    };
    config.max_position_embeddings = 64;
    // With large weights the answers differ from text to text.
    config.initializer_range = 0.3;
    let (architecture, labels): (_, &[&str]) = match head {
        Head::None => ("BertModel", &[]),
        Head::Sequence(_) => ("BertForSequenceClassification", &["card", "fee", "rate"]),
        Head::Rank => ("BertForSequenceClassification", &["relevance"]),
        Head::Masked => ("BertForMaskedLM", &[]),
        Head::Answers => ("BertForQuestionAnswering", &[]),
        Head::Tokens => ("BertForTokenClassification", &["O", "B-THING", "I-THING"]),
        Head::Causal => ("GPT2LMHeadModel", &[]),
    };
    config.architectures = vec![architecture.into()];
    config.id2label = labels.iter().map(|l| l.to_string()).collect();
    config.pooling = match head {
        Head::Sequence(pooling) => Some(pooling),
        Head::Rank => Some(Pooling::Mean),
        _ => config.pooling,
    };
    config
}

/// Writes a model folder.
pub fn write_model(folder: &Path, head: Head) -> Store {
    let tokenizer = match head {
        Head::Causal => Tokenizer::train_byte_level([Ok(TEXTS.join("\n"))], 257),
        _ => Tokenizer::train_wordpiece(&TEXTS, 200),
    };
    let tokenizer = tokenizer.unwrap();
    let config = config(&tokenizer, head);
    let store = Store::new(1);
    let root = store.root();
    match head {
        Head::None => {
            drop(gradus_models::Encoder::new(&root.join("bert"), &config, false).unwrap())
        }
        Head::Sequence(pooling) => {
            drop(SequenceClassifier::new(&root, &config, pooling, 3).unwrap())
        }
        Head::Rank => drop(SequenceClassifier::new(&root, &config, Pooling::Mean, 1).unwrap()),
        Head::Masked => drop(MaskedLm::new(&root, &config).unwrap()),
        Head::Answers => drop(SpanPredictor::new(&root, &config).unwrap()),
        Head::Tokens => drop(TokenClassifier::new(&root, &config, 3).unwrap()),
        Head::Causal => drop(CausalLm::new(&root, &config).unwrap()),
    }
    // Biases are random too, because an error in a zero bias would not show.
    for parameter in store.parameters().iter().filter(|p| p.name().ends_with("bias")) {
        let shape = parameter.shape().to_vec();
        let values: Vec<f32> =
            (0..parameter.numel()).map(|i| ((i * 7 % 11) as f32 - 5.0) / 20.0).collect();
        parameter.set(Tensor::from_slice(&values, &shape).unwrap()).unwrap();
    }
    save_folder(folder, &config, &tokenizer, &store).unwrap();
    store
}
