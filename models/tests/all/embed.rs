//! Training of embeddings beside PyTorch: fifty steps of every loss, negatives of whole steps,
//! dropout, texts of zeros. `models/tests/golden/embed.py` makes the values.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use gradus_autograd::Var;
use gradus_models::data::{PairForm, TextPair};
use gradus_models::evaluation::Examiner;
use gradus_models::folder::{Prompts, SentenceSettings};
use gradus_models::tasks::{
    Embedding, EmbeddingOptions, EncodedPairs, PairEncoder, PairLoss, PairScores,
};
use gradus_models::training::{Evaluation, Metric, Recipe, StepLoss, Task, Trainer};
use gradus_models::{EncoderConfig, Error, Result, SentenceEncoder, Split, Tokenizer};
use gradus_nn::{Forward, Store, clip_grad_norm};
use gradus_tensor::io::safetensors::SafeTensors;

const VOCABULARY: usize = 50;

pub fn golden() -> SafeTensors {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/embed.safetensors");
    SafeTensors::open(path).unwrap()
}

fn numbers(golden: &SafeTensors, name: &str) -> Vec<f64> {
    golden.tensor(name).unwrap().to_f64_vec()
}

fn config(dropout: f64) -> EncoderConfig {
    let mut config = EncoderConfig::new(VOCABULARY, 2, 16, 2, 32);
    config.max_position_embeddings = 24;
    config.hidden_dropout_prob = dropout;
    config.attention_probs_dropout_prob = dropout;
    config
}

/// A tokenizer whose token `i` is the word `wi`.
fn tokenizer() -> Tokenizer {
    let folder = tempfile::tempdir().unwrap();
    let words = (3..VOCABULARY).map(|i| format!("w{i}"));
    let all = ["[PAD]", "[CLS]", "[SEP]"].map(String::from).into_iter().chain(words);
    let all: Vec<String> = all.chain(["[UNK]".into(), "[MASK]".into()]).collect();
    std::fs::write(folder.path().join("vocab.txt"), all.join("\n")).unwrap();
    Tokenizer::from_folder(folder.path()).unwrap()
}

/// The texts of a column.
fn column(golden: &SafeTensors, i: usize) -> Vec<String> {
    let mut ids = numbers(golden, &format!("ids.{i}")).into_iter();
    let lengths = numbers(golden, &format!("lengths.{i}")).into_iter();
    lengths
        .map(|length| {
            let row: Vec<f64> = ids.by_ref().take(length as usize).collect();
            let words = row[1..row.len() - 1].iter().map(|id| format!("w{id}"));
            words.collect::<Vec<_>>().join(" ")
        })
        .collect()
}

/// Pairs with the first `negatives` columns of negatives.
pub fn pairs(golden: &SafeTensors, negatives: usize, scored: bool) -> Vec<TextPair> {
    let columns: Vec<Vec<String>> = (0..4).map(|i| column(golden, i)).collect();
    let scores = numbers(golden, "scores");
    let pair = |i: usize| TextPair {
        anchor: columns[0][i].clone(),
        positive: columns[1][i].clone(),
        negatives: columns[2..2 + negatives].iter().map(|column| column[i].clone()).collect(),
        score: scored.then(|| scores[i].to_string()),
        line: i as u64,
    };
    (0..scores.len()).map(pair).collect()
}

fn encode(examples: Vec<TextPair>) -> Result<EncodedPairs> {
    let (tokenizer, prompts) = (tokenizer(), Prompts::default());
    let encoder = PairEncoder {
        tokenizer: &tokenizer,
        prompts: &prompts,
        max_length: 24,
        score_scale: Some(1.0),
    };
    encoder.encode(&Split { path: "pairs.csv".into(), examples })
}

fn options(loss: PairLoss, cached_negatives: bool, evaluated: PairForm) -> EmbeddingOptions {
    let settings = SentenceSettings::default();
    EmbeddingOptions { loss, cached_negatives, evaluated, batch_size: 12, settings }
}

/// The task, with PyTorch's first weights.
pub fn task(
    examples: Vec<TextPair>,
    loss: PairLoss,
    cached: bool,
    dropout: f64,
) -> (Embedding, Store) {
    let golden = golden();
    let store = Store::new(0);
    let settings = SentenceSettings::default();
    let model = SentenceEncoder::new(&store.root(), &config(dropout), &settings).unwrap();
    for parameter in store.parameters() {
        parameter.set(golden.tensor(&format!("weights.{}", parameter.name())).unwrap()).unwrap();
    }
    let set = encode(examples).unwrap();
    let options = options(loss, cached, set.form());
    (Embedding::new(model, set, options).unwrap(), store)
}

/// A task whose batches are those of PyTorch: the first examples of each step's order.
struct Ordered {
    inner: Embedding,
    lengths: Vec<usize>,
    order: Vec<usize>,
    step: AtomicUsize,
}

impl Task for Ordered {
    type Set = EncodedPairs;
    type Findings = PairScores;

    fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    fn loss(&self, batch: &[usize], forward: &Forward) -> Result<Var> {
        let step = self.step.fetch_add(1, Ordering::Relaxed);
        let all = self.inner.lengths().len();
        let batch: Vec<usize> = batch.iter().map(|&i| self.order[step * all + i]).collect();
        self.inner.loss(&batch, forward)
    }

    fn is_head(&self, name: &str) -> bool {
        self.inner.is_head(name)
    }

    fn metrics(&self) -> &'static [Metric] {
        self.inner.metrics()
    }

    fn examine(
        &self,
        set: &EncodedPairs,
        examiner: &mut dyn Examiner,
    ) -> Result<(Evaluation, PairScores)> {
        self.inner.examine(set, examiner)
    }
}

fn recipe(batch_size: usize, accumulate: usize) -> Recipe {
    Recipe { steps: Some(50), batch_size, accumulate, lr: 2e-3, ..Recipe::default() }
}

/// Compares the loss and the norm of every step.
fn compare<T: Task>(name: &str, golden: &SafeTensors, mut trainer: Trainer<T>) {
    let (losses, norms) =
        (numbers(golden, &format!("{name}.losses")), numbers(golden, &format!("{name}.norms")));
    for (at, (loss, norm)) in losses.iter().zip(&norms).enumerate() {
        let step = trainer.step().unwrap().unwrap();
        let (ours, our_norm) = (step.loss.item().unwrap(), step.grad_norm.item().unwrap());
        let what = format!("{name}, step {at}");
        assert!((ours - loss).abs() < 1e-4, "{what}: loss {ours}, PyTorch's is {loss}");
        assert!((our_norm / norm - 1.0).abs() < 1e-3, "{what}: norm {our_norm}, not {norm}");
    }
}

/// Fifty steps of twelve examples each, in PyTorch's order.
fn fifty_steps(name: &str, examples: Vec<TextPair>, loss: PairLoss) {
    let golden = golden();
    let (inner, store) = task(examples, loss, false, 0.0);
    let order = numbers(&golden, "order").into_iter().map(|i| i as usize).collect();
    let ordered = Ordered { inner, lengths: vec![1; 12], order, step: AtomicUsize::new(0) };
    compare(name, &golden, Trainer::new(ordered, store, recipe(12, 1)).unwrap());
}

#[test]
fn pairs_and_triplets() {
    let golden = golden();
    fifty_steps("pairs", pairs(&golden, 0, false), PairLoss::default());
    fifty_steps("triplets", pairs(&golden, 2, false), PairLoss::default());
}

#[test]
fn scored_pairs() {
    fifty_steps("scored", pairs(&golden(), 0, true), PairLoss::default());
}

#[test]
fn the_first_numbers_of_vectors() {
    let dimensions = vec![(16, 1.0), (8, 0.5), (4, 2.0)];
    let loss = PairLoss { dimensions, ..PairLoss::default() };
    fifty_steps("matryoshka", pairs(&golden(), 1, false), loss);
}

#[test]
fn duplicates_are_no_negatives() {
    let golden = golden();
    let (anchors, positives) = (column(&golden, 0), column(&golden, 1));
    let examples = numbers(&golden, "first").into_iter().zip(numbers(&golden, "second"));
    let pair = |(first, second): (f64, f64)| TextPair {
        anchor: anchors[first as usize].clone(),
        positive: match second < 0.0 {
            true => anchors[-second as usize].clone(),
            false => positives[second as usize].clone(),
        },
        negatives: Vec::new(),
        score: None,
        line: 0,
    };
    fifty_steps("duplicates", examples.map(pair).collect(), PairLoss::default());
}

/// A step of all 24 pairs, in one batch and in several.
#[test]
fn negatives_of_a_whole_step() {
    let golden = golden();
    for (batch_size, accumulate) in [(24, 1), (12, 2), (5, 5), (2, 12)] {
        let (task, store) = task(pairs(&golden, 1, false), PairLoss::default(), true, 0.0);
        crate::trace::tells_what_is_read(&task);
        let trainer = Trainer::new(task, store, recipe(batch_size, accumulate)).unwrap();
        compare("cached", &golden, trainer);
    }
}

/// The first step's loss and norm of the gradients.
fn first_step(task: Embedding, store: Store, recipe: Recipe) -> (f64, f64) {
    let step = Trainer::new(task, store, recipe).unwrap().step().unwrap().unwrap();
    (step.loss.item().unwrap(), step.grad_norm.item().unwrap())
}

#[test]
fn several_batches_with_cached_negatives_are_one() {
    let golden = golden();
    let dimensions = vec![(16, 1.0), (8, 0.5)];
    let loss = PairLoss { dimensions, ..PairLoss::default() };
    let step = |batch_size, accumulate| {
        let (task, store) = task(pairs(&golden, 2, false), loss.clone(), true, 0.0);
        first_step(task, store, recipe(batch_size, accumulate))
    };
    let (loss, norm) = step(24, 1);
    for (batch_size, accumulate) in [(12, 2), (7, 4), (3, 8)] {
        let (ours, our_norm) = step(batch_size, accumulate);
        let what = format!("{accumulate} batches of {batch_size}");
        assert!((ours - loss).abs() < 1e-6, "{what}: loss {ours}, not {loss}");
        assert!((our_norm / norm - 1.0).abs() < 1e-6, "{what}: norm {our_norm}, not {norm}");
    }
}

/// Without cached negatives a small batch has fewer of them.
#[test]
fn several_batches_have_their_own_negatives() {
    let golden = golden();
    let step = |cached, batch_size, accumulate| {
        let (task, store) = task(pairs(&golden, 0, false), PairLoss::default(), cached, 0.0);
        first_step(task, store, recipe(batch_size, accumulate)).0
    };
    let (apart, together) = (step(false, 6, 4), step(true, 6, 4));
    assert!(together > apart + 0.5, "{together} and {apart}");
}

/// Both passes over a batch have the same dropout: the step is that of one graph over all batches.
#[test]
fn cached_negatives_with_dropout() {
    let golden = golden();
    let make = || task(pairs(&golden, 1, false), PairLoss::default(), true, 0.2);
    let (embedding, store) = make();
    let batches: Vec<Vec<usize>> = gradus_models::batch::shuffled_batches(
        embedding.lengths().len(),
        6,
        Recipe::default().seed,
        0,
    )
    .unwrap();
    let represented: Vec<Var> = (0..4)
        .map(|i| embedding.represent(&batches[i], &Forward::training(0, i as u64)).unwrap())
        .collect();
    let parts: Vec<&[usize]> = batches.iter().map(Vec::as_slice).collect();
    let loss = embedding.loss_of(&parts, &represented).unwrap();
    let grads = loss.backward().unwrap();
    let norm = clip_grad_norm(&grads, &store.parameters(), 1.0).unwrap().norm.item().unwrap();

    let (embedding, store) = make();
    let (ours, our_norm) = first_step(embedding, store, recipe(6, 4));
    let loss = loss.item().unwrap();
    assert!((ours - loss).abs() < 1e-6, "loss {ours}, not {loss}");
    assert!((our_norm / norm - 1.0).abs() < 1e-5, "norm {our_norm}, not {norm}");
    let still = first_step(make().0, make().1, recipe(24, 1)).0;
    assert!((still - loss).abs() > 1e-3, "dropout changes nothing");
}

/// Vectors of zeros have no direction: losses and gradients are finite all the same.
#[test]
fn vectors_of_zeros() {
    let golden = golden();
    for (negatives, scored) in [(1, false), (0, true)] {
        let (task, store) =
            task(pairs(&golden, negatives, scored), PairLoss::default(), false, 0.0);
        for parameter in store.parameters() {
            if parameter.name().contains("layer.1.output.LayerNorm") {
                parameter.set(parameter.tensor().zeros_like().unwrap()).unwrap();
            }
        }
        let set = encode(pairs(&golden, negatives, scored)).unwrap();
        let result = task.evaluate(&set, &mut |_, _| ()).unwrap();
        assert!(result.loss.is_finite());
        // All are equally similar: finding the right one is chance.
        if let Some(recall) = result.get("recall_at_1") {
            assert!((recall - 1.0 / 24.0).abs() < 1e-9, "{recall}");
            assert_eq!(result.get("triplet_accuracy"), Some(0.5));
        } else {
            assert!(result.get("spearman").unwrap().is_nan());
        }
        let (loss, norm) = first_step(task, store, recipe(12, 1));
        assert!(loss.is_finite() && norm.is_finite(), "{loss}, {norm}");
    }
}

#[test]
fn a_batch_of_one_pair_is_avoided_or_refused() {
    let golden = golden();
    let of = |negatives, count, recipe| {
        let mut examples = pairs(&golden, negatives, false);
        examples.truncate(count);
        let (task, store) = task(examples, PairLoss::default(), false, 0.0);
        Trainer::new(task, store, recipe)
    };
    let said = of(0, 24, recipe(1, 1)).err().unwrap().to_string();
    assert!(said.contains("batch_size is 1; it must be 2 or more"), "{said}");
    let said = of(0, 1, recipe(4, 1)).err().unwrap().to_string();
    assert!(said.contains("needs 2 of them, but the training set has 1"), "{said}");
    // Each pair has negatives of its own.
    assert!(of(1, 24, recipe(1, 1)).is_ok());
    // Thirteen pairs are batches of 6, 5 and 2, not 6, 6 and 1.
    let mut trainer = of(0, 13, Recipe { steps: Some(3), ..recipe(6, 1) }).unwrap();
    let mut sizes = Vec::new();
    while let Some(step) = trainer.step().unwrap() {
        assert!(step.loss.item().unwrap() > 0.0);
        sizes.push(step.examples);
    }
    sizes.sort_unstable();
    assert_eq!(sizes, [2, 5, 6]);
}

#[test]
fn options_out_of_range_are_refused_by_name() {
    let golden = golden();
    let set = |scored| encode(pairs(&golden, 0, scored)).unwrap();
    let said = |loss: PairLoss, cached: bool, scored: bool| {
        let model =
            SentenceEncoder::new(&Store::new(0).root(), &config(0.0), &SentenceSettings::default());
        let options = options(loss, cached, PairForm::Pairs);
        let error = Embedding::new(model.unwrap(), set(scored), options).err().unwrap();
        assert!(matches!(error, Error::Recipe { .. }), "{error}");
        error.to_string()
    };
    let loss = |temperature, dimensions: &[(usize, f64)]| PairLoss {
        temperature,
        dimensions: dimensions.to_vec(),
    };
    assert!(said(loss(0.0, &[]), false, false).contains("temperature is 0"));
    assert!(said(loss(f64::NAN, &[]), false, false).contains("temperature"));
    assert!(said(loss(0.05, &[(17, 1.0)]), false, false).contains("within 1 and 16"));
    assert!(said(loss(0.05, &[(0, 1.0)]), false, false).contains("dimensions is 0"));
    assert!(said(loss(0.05, &[(8, 1.0), (8, 1.0)]), false, false).contains("once"));
    assert!(said(loss(0.05, &[(8, 0.0)]), false, false).contains("dimension_weights is 0"));
    assert!(said(loss(0.05, &[]), true, true).contains("have no negatives"));
    let mut high = pairs(&golden, 0, true);
    high[3].score = Some("5".into());
    let said = encode(high).unwrap_err().to_string();
    assert!(said.contains("pairs.csv:3: the score is 5"), "{said}");
}

/// The files of sentence-transformers that a run writes are read as they were set.
#[test]
fn settings_survive_their_files() {
    use gradus_models::{Pooling, Pretrained, save_folder};

    let folder = tempfile::tempdir().unwrap();
    let path: &Path = folder.path();
    let tokenizer = Tokenizer::train_wordpiece(&["some text"], 40).unwrap();
    let mut config = EncoderConfig::new(tokenizer.vocab_size(), 1, 8, 2, 16);
    config.architectures = vec!["BertModel".into()];
    let store = Store::new(0);
    let mut prompts = Prompts::default();
    prompts.named.insert("query".into(), "find: ".into());
    prompts.named.insert("document".into(), String::new());
    prompts.named.insert("topic".into(), "topic: ".into());
    prompts.default = Some("topic".into());
    for (pooling, normalize) in [
        (vec![Pooling::Mean], true),
        (vec![Pooling::Cls], false),
        (vec![Pooling::LastToken], true),
        (vec![Pooling::Max, Pooling::Cls], true),
    ] {
        let settings = SentenceSettings {
            pooling,
            include_prompt: false,
            normalize,
            max_length: Some(48),
            truncate_dim: Some(6),
            prompts: prompts.clone(),
        };
        SentenceEncoder::new(&store.root(), &config, &settings).unwrap();
        settings.write(path, 8).unwrap();
        save_folder(path, &config, &tokenizer, &store).unwrap();
        let mut opened = Pretrained::open(path.to_str().unwrap()).unwrap();
        assert_eq!(opened.sentence_settings().unwrap(), settings);
        assert!(opened.notes.is_empty(), "{:?}", opened.notes);
    }
}
