//! Every task beside PyTorch: fifty steps from the same weights and texts, in one batch and in
//! several. `models/tests/golden/tasks.py` makes the values.

use gradus_models::data::Corpus;
use gradus_models::masking::Masking;
use gradus_models::tasks::{Answers, Classification, Encoded, Masked, MaskedLanguageModel};
use gradus_models::training::{Recipe, Task, Trainer};
use gradus_models::{EncoderConfig, Encoding, MaskedLm, Pooling, SequenceClassifier, Tokenizer};
use gradus_nn::Store;
use gradus_tensor::Tensor;
use gradus_tensor::io::safetensors::{self, SafeTensors};

/// How the twelve texts of a step are divided: texts of a batch, batches of a step.
const DIVISIONS: [(usize, usize); 3] = [(12, 1), (3, 4), (5, 3)];

pub fn golden() -> SafeTensors {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/tasks.safetensors");
    SafeTensors::open(path).unwrap()
}

pub fn config(vocabulary: usize) -> EncoderConfig {
    let mut config = EncoderConfig::new(vocabulary, 2, 16, 2, 32);
    config.max_position_embeddings = 24;
    config.hidden_dropout_prob = 0.0;
    config.attention_probs_dropout_prob = 0.0;
    config
}

pub fn encodings(golden: &SafeTensors) -> Vec<Encoding> {
    let numbers = |name: &str| golden.tensor(name).unwrap().to_f64_vec();
    let mut ids = numbers("ids").into_iter().map(|id| id as u32);
    let lengths = numbers("lengths").into_iter().map(|length| length as usize);
    lengths
        .map(|length| {
            let ids: Vec<u32> = ids.by_ref().take(length).collect();
            Encoding { type_ids: vec![0; length], ids, ..Encoding::default() }
        })
        .collect()
}

/// Trains from the weights of `name`, and compares every loss and norm.
pub fn fifty_steps<T: Task>(name: &str, golden: &SafeTensors, task: impl Fn(&Store) -> T) {
    let numbers = |key: &str| golden.tensor(&format!("{name}.{key}")).unwrap().to_f64_vec();
    let (losses, norms) = (numbers("losses"), numbers("norms"));
    for (batch_size, accumulate) in DIVISIONS {
        let store = Store::new(0);
        let task = task(&store);
        crate::trace::tells_what_is_read(&task);
        let beside = task.beside().map(Store::parameters).unwrap_or_default();
        for parameter in store.parameters().into_iter().chain(beside) {
            parameter.set(golden.tensor(&format!("{name}.{}", parameter.name())).unwrap()).unwrap();
        }
        let recipe =
            Recipe { steps: Some(50), batch_size, accumulate, lr: 2e-3, ..Recipe::default() };
        let mut trainer = Trainer::new(task, store, recipe).unwrap();
        for (at, (loss, norm)) in losses.iter().zip(&norms).enumerate() {
            let step = trainer.step().unwrap().unwrap();
            let (ours, our_norm) = (step.loss.item().unwrap(), step.grad_norm.item().unwrap());
            let what = format!("{name}, {accumulate} batches of {batch_size}, step {at}");
            assert!((ours - loss).abs() < 1e-4, "{what}: loss {ours}, PyTorch's is {loss}");
            assert!((our_norm / norm - 1.0).abs() < 1e-3, "{what}: norm {our_norm}, not {norm}");
        }
    }
}

fn classifier(
    store: &Store,
    answers: Answers,
    labels: usize,
    golden: &SafeTensors,
) -> Classification {
    let model = SequenceClassifier::new(&store.root(), &config(50), Pooling::Cls, labels).unwrap();
    Classification::new(model, Encoded { encodings: encodings(golden), answers })
}

fn weights(golden: &SafeTensors) -> Vec<f32> {
    golden.tensor("weights").unwrap().to_vec().unwrap()
}

#[test]
fn one_label() {
    let golden = golden();
    let labels = golden.tensor("single").unwrap().to_f64_vec();
    let labels: Vec<u32> = labels.into_iter().map(|label| label as u32).collect();
    fifty_steps("single", &golden, |store| {
        let task = classifier(store, Answers::Single(labels.clone()), 3, &golden);
        task.label_smoothing(0.1).unwrap().class_weights(weights(&golden)).unwrap()
    });
}

#[test]
fn several_labels() {
    let golden = golden();
    let rows = golden.tensor("multi").unwrap().to_f64_vec();
    let set = |row: &[f64]| (0..3u32).filter(|&label| row[label as usize] == 1.0).collect();
    let sets: Vec<Vec<u32>> = rows.chunks(3).map(set).collect();
    fifty_steps("multi", &golden, |store| {
        let task = classifier(store, Answers::Multi(sets.clone()), 3, &golden);
        task.class_weights(weights(&golden)).unwrap()
    });
}

#[test]
fn a_number() {
    let golden = golden();
    let numbers: Vec<f32> = golden.tensor("regression").unwrap().to_vec().unwrap();
    fifty_steps("regression", &golden, |store| {
        classifier(store, Answers::Numbers(numbers.clone()), 1, &golden)
    });
}

#[test]
fn what_a_problem_has_not_is_refused_by_name() {
    let golden = golden();
    let of = |answers| classifier(&Store::new(0), answers, 3, &golden);
    let numbers = || Answers::Numbers(vec![0.0; 12]);
    let said = |result: gradus_models::Result<Classification>| result.err().unwrap().to_string();
    assert!(said(of(numbers()).label_smoothing(0.1)).contains("label_smoothing is 0.1"));
    assert!(said(of(numbers()).class_weights(vec![1.0])).contains("no classes"));
    let single = of(Answers::Single(vec![0; 12]));
    assert!(said(single.class_weights(vec![1.0, 0.0, 2.0])).contains("above 0"));
    assert!(of(numbers()).label_smoothing(0.0).is_ok());
}

const TEXT: &str = "Tyger Tyger, burning bright,\nIn the forests of the night;\nWhat immortal hand or \
eye,\nCould frame thy fearful symmetry?\n\nIn what distant deeps or skies.\nBurnt the fire of thine \
eyes?\nOn what wings dare he aspire?\nWhat the hand, dare seize the fire?\n";

/// Masked words of a short text: twelve blocks or fewer, which are one step and one epoch.
pub fn masked_words(store: &Store, whole_words: bool) -> MaskedLanguageModel {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), TEXT).unwrap();
    let tokenizer = Tokenizer::train_wordpiece(&[TEXT], 60).unwrap();
    let config = config(tokenizer.vocab_size());
    let masking = Masking {
        vocab_size: config.vocab_size,
        mask_id: tokenizer.mask_id().unwrap(),
        probability: 0.3,
        whole_words,
        seed: 0,
    };
    let model = MaskedLm::new(&store.root(), &config).unwrap();
    let masked = Masked { tokenizer, max_length: 20, masking };
    MaskedLanguageModel::new(model, Corpus::open(file.path()).unwrap(), masked).unwrap()
}

/// Writes the blocks and masks of fifty epochs, from which `tasks.py` makes PyTorch's values.
#[test]
#[ignore = "writes models/tests/golden/masks.safetensors, for tasks.py"]
fn write_masks() {
    let mut out = Vec::new();
    for whole_words in [false, true] {
        let mut task = masked_words(&Store::new(0), whole_words);
        assert!(task.lengths().len() <= 12, "{} blocks", task.lengths().len());
        let (mut lengths, mut ids, mut labels) = (Vec::new(), Vec::new(), Vec::new());
        for epoch in 0..50 {
            task.open_window(epoch, 0).unwrap();
            for block in task.masked() {
                lengths.push(block.ids.len() as u32);
                ids.extend_from_slice(&block.ids);
                let mut targets = vec![u32::MAX; block.ids.len()];
                for (&place, &label) in block.positions.iter().zip(&block.labels) {
                    targets[place as usize] = label;
                }
                labels.extend(targets);
            }
        }
        for (name, values) in [("lengths", lengths), ("ids", ids), ("labels", labels)] {
            let tensor = Tensor::from_slice(&values, &[values.len()]).unwrap();
            out.push((format!("{}.{name}", masks_of(whole_words)), tensor));
        }
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/masks.safetensors");
    safetensors::save(path, out, None).unwrap();
}

fn masks_of(whole_words: bool) -> &'static str {
    if whole_words { "mlm_words" } else { "mlm" }
}

#[test]
fn masked_tokens_and_words() {
    let golden = golden();
    for whole_words in [false, true] {
        fifty_steps(masks_of(whole_words), &golden, |store| masked_words(store, whole_words));
    }
}

/// The dev set has the same masks at every evaluation, and its loss is the mean over them.
#[test]
fn masked_words_are_evaluated() {
    let store = Store::new(0);
    let task = masked_words(&store, false);
    let set = task.settings().set(TEXT).unwrap();
    let first = task.evaluate(&set, &mut |_, _| ()).unwrap();
    assert_eq!(first, task.evaluate(&set, &mut |_, _| ()).unwrap());
    assert!((first.get("perplexity").unwrap() - first.loss.exp()).abs() < 1e-9);
    // A model of random weights knows nothing.
    let guess = (task.model().encoder().config().vocab_size as f64).ln();
    assert!((first.loss - guess).abs() < 0.2, "{} and {guess}", first.loss);
    assert_ne!(set[0], task.masked()[0]);
}
