//! Causal language models: fifty steps beside PyTorch, evaluation, generated texts.
//! `models/tests/golden/causal.py` makes the values.

use gradus_models::data::Corpus;
use gradus_models::generation::{FinishReason, GenerationConfig};
use gradus_models::pipelines::{TextGenerator, open};
use gradus_models::tasks::{Blocks, CausalLanguageModel};
use gradus_models::training::Task as _;
use gradus_models::{CausalLm, EncoderConfig, Task, Tokenizer, save_folder};
use gradus_nn::Store;
use gradus_tensor::Tensor;
use gradus_tensor::io::safetensors::{self, SafeTensors};

use crate::tasks::fifty_steps;

const TEXT: &str = "Tyger Tyger, burning bright,\nIn the forests of the night;\nWhat immortal hand or \
eye,\nCould frame thy fearful symmetry?\n\nIn what distant deeps or skies.\nBurnt the fire of thine \
eyes?\n";

fn tokenizer() -> Tokenizer {
    Tokenizer::train_byte_level([Ok(TEXT.to_string())], 280).unwrap()
}

fn config(tokenizer: &Tokenizer) -> EncoderConfig {
    let mut config = EncoderConfig::gpt2_preset("tiny", tokenizer.vocab_size()).unwrap();
    (config.hidden_size, config.intermediate_size, config.max_position_embeddings) = (16, 32, 24);
    config.set_dropout(0.0);
    config
}

/// Twelve blocks or fewer, which are one step and one epoch; they begin at other tokens in each.
fn task(store: &Store) -> CausalLanguageModel {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), TEXT).unwrap();
    let (corpus, tokenizer) = (Corpus::open(file.path()).unwrap(), tokenizer());
    let model = CausalLm::new(&store.root(), &config(&tokenizer)).unwrap();
    CausalLanguageModel::new(model, corpus, tokenizer, (16, 3)).unwrap()
}

/// Writes the blocks of fifty epochs, from which `causal.py` makes PyTorch's values.
#[test]
#[ignore = "writes models/tests/golden/causal_blocks.safetensors, for causal.py"]
fn write_blocks() {
    let (mut task, mut lengths, mut ids) = (task(&Store::new(0)), Vec::new(), Vec::new());
    let mut counts = Vec::new();
    for epoch in 0..50 {
        task.open_window(epoch, 0).unwrap();
        assert!(task.blocks().len() <= 12, "{} blocks", task.blocks().len());
        counts.push(task.blocks().len() as u32);
        for block in task.blocks() {
            lengths.push(block.len() as u32);
            ids.extend_from_slice(block);
        }
    }
    let tensor = |values: Vec<u32>| Tensor::from_slice(&values, &[values.len()]).unwrap();
    let out = [("counts", counts), ("lengths", lengths), ("ids", ids)];
    let out = out.map(|(name, values)| (name.to_string(), tensor(values)));
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/causal_blocks.safetensors");
    safetensors::save(path, out, None).unwrap();
}

#[test]
fn fifty_steps_beside_pytorch() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/causal.safetensors");
    fifty_steps("lm", &SafeTensors::open(path).unwrap(), task);
}

#[test]
fn an_evaluation_is_the_mean_over_all_tokens() {
    let store = Store::new(0);
    let (task, tokenizer) = (task(&store), tokenizer());
    crate::trace::tells_what_is_read(&task);
    let set = Blocks::of(TEXT, &tokenizer, 16).unwrap();
    let (found, guesses) = task.examine(&set, &mut |_, _| ()).unwrap();
    let ids = tokenizer.encode(TEXT, None, usize::MAX).unwrap().ids;
    let truth: Vec<u32> = guesses.iter().map(|guess| guess.truth).collect();
    assert_eq!(truth, ids[1..], "every token but the first, in order");
    let nats: f64 = guesses.iter().map(|guess| f64::from(guess.loss)).sum();
    let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-9, "{a} {b}");
    near(found.loss, nats / guesses.len() as f64);
    near(found.get("perplexity").unwrap(), found.loss.exp());
    near(found.get("bits_per_byte").unwrap(), nats / 2f64.ln() / TEXT.len() as f64);
    // A model of random weights knows nothing.
    let guess = (tokenizer.vocab_size() as f64).ln();
    assert!((found.loss - guess).abs() < 0.2, "{} and {guess}", found.loss);
}

/// A model that generates; its folder.
fn generator() -> (tempfile::TempDir, TextGenerator) {
    let dir = tempfile::tempdir().unwrap();
    let tokenizer = tokenizer();
    let mut config = config(&tokenizer);
    config.initializer_range = 0.3;
    config.architectures = vec![config.architecture(Task::Generate)];
    let store = Store::new(4);
    CausalLm::new(&store.root(), &config).unwrap();
    save_folder(dir.path(), &config, &tokenizer, &store).unwrap();
    let generator = TextGenerator::open(dir.path().to_str().unwrap()).unwrap();
    (dir, generator)
}

#[test]
fn pieces_make_the_text_and_a_seed_makes_it_again() {
    let (_dir, generator) = generator();
    let settings = |seed| GenerationConfig {
        do_sample: true,
        max_new_tokens: 15,
        temperature: 1.5,
        top_k: 0,
        eos_token_id: Vec::new(),
        seed,
        ..generator.settings().clone()
    };
    let text = |seed, number| {
        let mut pieces = Vec::new();
        let made = generator.generate("Tyger", &settings(seed), &[], number, |piece| {
            pieces.push(piece.to_string());
            true
        });
        let made = made.unwrap();
        assert_eq!(pieces.concat(), made.generated_text);
        assert!(pieces.len() > 3 && made.generated_tokens == 15);
        assert_eq!(made.finish_reason, FinishReason::Length);
        made.generated_text
    };
    assert_eq!(text(1, 0), text(1, 0));
    assert_ne!(text(1, 0), text(2, 0));
    assert_ne!(text(1, 0), text(1, 1), "each text of a prompt has its own draws");
}

#[test]
fn where_a_text_ends() {
    let (_dir, generator) = generator();
    let prompt = "In the forests of the night";
    let plain = GenerationConfig { eos_token_id: Vec::new(), ..generator.settings().clone() };
    let run = |settings: &GenerationConfig, stops: &[String]| {
        generator.generate(prompt, settings, stops, 0, |_| true).unwrap()
    };
    let whole = run(&plain, &[]);
    // The model has 24 positions; the last token needs none.
    assert_eq!(whole.prompt_tokens + whole.generated_tokens, 25);
    assert_eq!(whole.finish_reason, FinishReason::Length);

    // Any token but the first one ends it.
    let mut first = String::new();
    generator
        .generate(prompt, &plain, &[], 0, |piece| {
            first.push_str(piece);
            false
        })
        .unwrap();
    let ids = generator.tokenizer().encode(&first, None, usize::MAX).unwrap().ids;
    assert_eq!(ids.len(), 1, "{first}");
    let others = (0..280).filter(|id| *id != ids[0]).collect();
    let ended = run(&GenerationConfig { eos_token_id: others, ..plain.clone() }, &[]);
    assert_eq!(ended.finish_reason, FinishReason::EosToken);
    assert_eq!(ended.generated_text, first.repeat(ended.generated_tokens - 1));
    assert!(ended.generated_tokens > 1 && whole.generated_text.starts_with(&ended.generated_text));

    let stop: String = whole.generated_text.chars().skip(2).take(3).collect();
    let stopped = run(&plain, std::slice::from_ref(&stop));
    assert_eq!(stopped.finish_reason, FinishReason::StopSequence);
    assert_eq!(Some(stopped.generated_text.as_str()), whole.generated_text.split(&stop).next());

    let mut shown = 0;
    let cancelled = generator.generate(prompt, &plain, &[], 0, |_| {
        shown += 1;
        shown < 2
    });
    assert_eq!(cancelled.unwrap().finish_reason, FinishReason::Cancelled);
}

#[test]
fn what_cannot_be_generated_is_told() {
    let (dir, generator) = generator();
    let said = |prompt: &str, settings: &GenerationConfig| {
        generator.generate(prompt, settings, &[], 0, |_| true).err().unwrap().to_string()
    };
    let own = generator.settings().clone();
    let error = said(&TEXT[..150], &own);
    assert!(error.contains("the model has positions for 24"), "{error}");
    let error = said("", &GenerationConfig { bos_token_id: None, ..own.clone() });
    assert!(error.contains("no bos_token_id"), "{error}");
    assert!(generator.generate("", &own, &[], 0, |_| true).is_ok(), "a text from the beginning");
    let error = said("a", &GenerationConfig { temperature: 0.0, ..own });
    assert!(error.contains("temperature is 0"), "{error}");

    let folder = dir.path().to_str().unwrap();
    let error = open(folder).err().unwrap().to_string();
    assert!(error.contains("GPT2LMHeadModel"), "{error}");
    for (text, want) in [
        (r#"{"num_beams": 4}"#, "num_beams is 4"),
        (r#"{"top_p": 0}"#, "top_p is 0"),
        (r#"{"do_sample": "yes"}"#, "do_sample"),
        (r#"{"eos_token_id": [1, "a"]}"#, "eos_token_id is \"a\""),
        (r#"{"bad_words_ids": [[3]]}"#, "bad_words_ids"),
    ] {
        std::fs::write(dir.path().join("generation_config.json"), text).unwrap();
        let error = TextGenerator::open(folder).err().unwrap().to_string();
        assert!(error.contains(want) && error.contains("generation_config.json"), "{error}");
    }
    let text = r#"{"do_sample": true, "temperature": 0.7, "top_k": 9, "max_new_tokens": 5,
                   "eos_token_id": [3, 4], "new_key": 1}"#;
    std::fs::write(dir.path().join("generation_config.json"), text).unwrap();
    let generator = TextGenerator::open(folder).unwrap();
    let settings = generator.settings();
    assert_eq!((settings.temperature, settings.top_k, settings.max_new_tokens), (0.7, 9, 5));
    assert_eq!((&settings.eos_token_id[..], settings.do_sample), (&[3, 4][..], true));
    assert!(generator.notes().iter().any(|note| note.contains("`new_key`")));
}

/// Files may hold the decoder, as long as it is the word embeddings.
#[test]
fn a_decoder_of_its_own_is_refused() {
    let (dir, _) = generator();
    let path = dir.path().join("model.safetensors");
    let file = SafeTensors::open(&path).unwrap();
    let whole: Vec<(String, Tensor)> =
        file.names().into_iter().map(|name| (name.clone(), file.tensor(&name).unwrap())).collect();
    let words = file.tensor("transformer.wte.weight").unwrap();
    let opened = |decoder: Tensor| {
        let all = [&whole[..], &[("lm_head.weight".to_string(), decoder)]].concat();
        safetensors::save(&path, all, None).unwrap();
        TextGenerator::open(dir.path().to_str().unwrap())
    };
    assert!(opened(words.clone()).unwrap().unexpected().is_empty());
    let error = opened(words.mul_scalar(2.0).unwrap()).err().unwrap().to_string();
    assert!(error.contains("`lm_head.weight` differs"), "{error}");
}
