//! The parts of the models between their layers: embeddings and their dropout, the beginnings of
//! sequences, pooling, heads, and evaluation. Each is compared with a formula in single operations.

use gradus_autograd::{Var, no_grad};
use gradus_models::encoder::{mean_pool, normalize};
use gradus_models::tasks::Classification;
use gradus_models::training::Task;
use gradus_models::{
    Encoder, EncoderConfig, EncoderInput, Encoding, MaskedLm, PackedBatch, Pooling,
    SequenceClassifier, TokenClassifier,
};
use gradus_nn::{CrossEntropy, Forward, Store};
use gradus_tensor::Tensor;

const TRAINING: Forward = Forward::training(3, 8);
const WIDTH: usize = 8;

fn config(hidden: f64, attention: f64, head: Option<f64>) -> EncoderConfig {
    let mut config = EncoderConfig::new(30, 2, WIDTH, 2, 16);
    config.max_position_embeddings = 80;
    config.hidden_dropout_prob = hidden;
    config.attention_probs_dropout_prob = attention;
    config.classifier_dropout = head;
    config.initializer_range = 0.5;
    config
}

/// Two sequences, the second longer than a block of attention; both token types.
fn batch(config: &EncoderConfig) -> EncoderInput {
    let lengths = [5usize, 60];
    let ids: Vec<Vec<u32>> =
        lengths.iter().map(|&n| (0..n).map(|i| ((i * i + n) % 30) as u32).collect()).collect();
    let types: Vec<Vec<u32>> =
        lengths.iter().map(|&n| (0..n).map(|i| (i > n / 2) as u32).collect()).collect();
    let parts = ids.iter().zip(&types).map(|(i, t)| (i.as_slice(), t.as_slice()));
    EncoderInput::new(&PackedBatch::from_parts(parts, config).unwrap()).unwrap()
}

fn values(x: &Var) -> Vec<f64> {
    x.tensor().to_f64_vec()
}

fn near(a: &[f64], b: &[f64]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 2e-5)
}

/// Asserts that `dropped` is `plain` with a share `p` of zeros, the rest scaled.
fn assert_dropped(dropped: &[f64], plain: &[f64], p: f64) {
    let kept =
        dropped.iter().zip(plain).filter(|(d, x)| (*d - *x / (1.0 - p)).abs() < 1e-5).count();
    let zeros = dropped.iter().filter(|d| **d == 0.0).count();
    assert_eq!(kept + zeros, plain.len(), "every element is kept and scaled, or 0");
    let share = zeros as f64 / plain.len() as f64;
    assert!((share - p).abs() < 0.12, "{share} of the elements are 0, should be {p}");
}

/// Word, position and type, summed and normalised; positions start at 0 in every sequence.
#[test]
fn embeddings_are_their_formula_and_drop_out() {
    let config = config(0.4, 0.0, None);
    let store = Store::new(1);
    let bert = Encoder::new(&store.root().join("bert"), &config, false).unwrap();
    let input = batch(&config);
    let inference = bert.hidden_states(&input, &Forward::inference()).unwrap();
    let table = |name: &str, ids: &Tensor| {
        let name = format!("bert.embeddings.{name}_embeddings.weight");
        store.get(&name).unwrap().var().embedding(ids).unwrap()
    };
    let positions: Vec<u32> = (0..5).chain(0..60).collect();
    let positions = Tensor::from_slice(&positions, &[65]).unwrap();
    let sum = table("word", &input.ids).add(&table("position", &positions)).unwrap();
    let sum = sum.add(&table("token_type", &input.type_ids)).unwrap();
    let centred = sum.sub(&sum.mean(&[1], true).unwrap()).unwrap();
    let variance = centred.square().unwrap().mean(&[1], true).unwrap();
    let deviation = variance.add_scalar(config.layer_norm_eps).unwrap().sqrt().unwrap();
    assert!(near(&values(&inference[0]), &values(&centred.div(&deviation).unwrap())));
    // In training with dropout, of its own in every pass.
    let training = bert.hidden_states(&input, &TRAINING).unwrap();
    assert_dropped(&values(&training[0]), &values(&inference[0]), 0.4);
    let next = bert.hidden_states(&input, &Forward::training(3, 9)).unwrap();
    assert_ne!(values(&training[0]), values(&next[0]));
    // The last of the states is what forward gives.
    assert_eq!(values(&training[2]), values(&bert.forward(&input, &TRAINING).unwrap()));
    assert_eq!(training.len(), 3);
}

/// Every rate of the configuration acts at its own places, in training alone.
#[test]
fn each_dropout_acts_alone() {
    let run = |hidden, attention, head, forward: &Forward| {
        let config = config(hidden, attention, Some(head));
        let store = Store::new(1);
        let model = SequenceClassifier::new(&store.root(), &config, Pooling::Mean, 3).unwrap();
        values(&model.forward(&batch(&config), forward).unwrap())
    };
    let plain = run(0.0, 0.0, 0.0, &TRAINING);
    for (hidden, attention, head) in [(0.5, 0.0, 0.0), (0.0, 0.5, 0.0), (0.0, 0.0, 0.5)] {
        assert_ne!(run(hidden, attention, head, &TRAINING), plain, "{hidden} {attention} {head}");
        assert_eq!(run(hidden, attention, head, &Forward::inference()), plain);
    }
    // The rate of attention leaves embeddings alone, that of the head all hidden states.
    let states = |hidden, attention, head| {
        let config = config(hidden, attention, Some(head));
        let bert = Encoder::new(&Store::new(1).root().join("bert"), &config, false).unwrap();
        let states = bert.hidden_states(&batch(&config), &TRAINING).unwrap();
        states.iter().map(values).collect::<Vec<_>>()
    };
    let plain = states(0.0, 0.0, 0.0);
    let attention = states(0.0, 0.5, 0.0);
    assert_eq!((&attention[0], attention[1] != plain[1]), (&plain[0], true));
    assert_eq!(states(0.0, 0.0, 0.5), plain);
    // Each layer has its own random stream; otherwise layers with equal weights would drop the same
    // elements.
    let hidden = states(0.5, 0.0, 0.0);
    assert!(hidden.iter().zip(&plain).all(|(a, b)| a != b));
}

/// A head with identity weights shows its input: the pooled vector, with dropout at the head's
/// rate.
#[test]
fn heads_see_pooled_vectors_dropped_out() {
    let identity = |store: &Store| {
        let eye: Vec<f32> =
            (0..WIDTH * WIDTH).map(|i| (i % (WIDTH + 1) == 0) as u32 as f32).collect();
        let eye = Tensor::from_slice(&eye, &[WIDTH, WIDTH]).unwrap();
        store.get("classifier.weight").unwrap().set(eye).unwrap();
    };
    let config = config(0.0, 0.0, Some(0.5));
    let input = batch(&config);
    let inference = Forward::inference();
    for pooling in [Pooling::Mean, Pooling::Cls] {
        let store = Store::new(2);
        let model = SequenceClassifier::new(&store.root(), &config, pooling, WIDTH).unwrap();
        identity(&store);
        let hidden = model.encoder().forward(&input, &inference).unwrap();
        // By hand: the mean of each sequence's tokens; or the first token, dense and tanh.
        let pooled: Vec<Var> = [(0, 5), (5, 60)]
            .map(|(start, length)| match pooling == Pooling::Mean {
                true => hidden.narrow(0, start, length).unwrap().mean(&[0], true).unwrap(),
                false => {
                    let dense =
                        |name: &str| store.get(&format!("bert.pooler.dense.{name}")).unwrap().var();
                    let first = hidden.narrow(0, start, 1).unwrap();
                    first.linear(&dense("weight"), Some(&dense("bias"))).unwrap().tanh().unwrap()
                }
            })
            .to_vec();
        let pooled = values(&Var::cat(&pooled.iter().collect::<Vec<_>>(), 0).unwrap());
        let logits = values(&model.forward(&input, &inference).unwrap());
        assert!(near(&logits, &pooled), "{pooling:?}");
        let many: Vec<f64> = (0..20)
            .flat_map(|step| values(&model.forward(&input, &Forward::training(1, step)).unwrap()))
            .collect();
        assert_dropped(&many, &pooled.repeat(20), 0.5);
    }
    // A token classifier has logits for each token.
    let store = Store::new(2);
    let model = TokenClassifier::new(&store.root(), &config, WIDTH).unwrap();
    identity(&store);
    let hidden = values(&model.encoder().forward(&input, &inference).unwrap());
    assert!(near(&values(&model.forward(&input, &inference).unwrap()), &hidden));
    assert_dropped(&values(&model.forward(&input, &TRAINING).unwrap()), &hidden, 0.5);
}

/// The other sequences of a batch change neither a sequence's output nor its gradients.
#[test]
fn sequences_do_not_see_each_other() {
    let config = config(0.0, 0.0, None);
    let store = Store::new(4);
    let bert = Encoder::new(&store.root().join("bert"), &config, false).unwrap();
    let run = |sequences: &[&[u32]]| {
        let types = [0u32; 80];
        let parts = sequences.iter().map(|ids| (*ids, &types[..ids.len()]));
        let input = EncoderInput::new(&PackedBatch::from_parts(parts, &config).unwrap()).unwrap();
        let hidden = bert.forward(&input, &TRAINING).unwrap();
        let own = hidden.narrow(0, 0, sequences[0].len()).unwrap();
        let loss = mean_pool(&hidden, &input).unwrap().narrow(0, 0, 1).unwrap();
        let grads = loss.square().unwrap().sum_all().unwrap().backward().unwrap();
        let grads: Vec<f64> =
            store.parameters().iter().flat_map(|p| p.grad(&grads).unwrap().to_f64_vec()).collect();
        (values(&own), grads)
    };
    let first: Vec<u32> = (0..70).map(|i| i * 7 % 30).collect();
    let (others, more): (Vec<u32>, Vec<u32>) = ((0..50).map(|i| i % 30).collect(), vec![1; 3]);
    let (alone, alone_grads) = run(&[&first]);
    let (beside, beside_grads) = run(&[&first, &others, &more]);
    assert!(near(&alone, &beside) && near(&alone_grads, &beside_grads));
    let (changed, _) = run(&[&others, &first]);
    assert!(!near(&alone[..8], &changed[..8]));
}

/// The decoder is the table of words; the loss is the cross-entropy of the logits.
#[test]
fn a_masked_language_model_predicts_words() {
    let config = config(0.1, 0.1, None);
    let store = Store::new(5);
    let model = MaskedLm::new(&store.root(), &config).unwrap();
    let input = batch(&config);
    let positions = Tensor::from_slice(&[1u32, 7, 40], &[3]).unwrap();
    let targets = Tensor::from_slice(&[4u32, 0, 29], &[3]).unwrap();
    for forward in [Forward::inference(), TRAINING] {
        let logits = model.forward(&input, &positions, &forward).unwrap();
        assert_eq!(logits.shape(), [3, 30]);
        let hidden = model.encoder().forward(&input, &forward).unwrap();
        let parameter = |name: &str| store.get(name).unwrap().var();
        let at = |name: &str| parameter(&format!("cls.predictions.transform.{name}"));
        let x = hidden.index_select(0, &positions).unwrap();
        let x = x.linear(&at("dense.weight"), Some(&at("dense.bias"))).unwrap().gelu().unwrap();
        let eps = config.layer_norm_eps;
        let x = x.layer_norm(&at("LayerNorm.weight"), Some(&at("LayerNorm.bias")), eps).unwrap();
        let words = parameter("bert.embeddings.word_embeddings.weight");
        let bias = parameter("cls.predictions.bias");
        let truth = x.linear(&words, Some(&bias)).unwrap();
        assert!(near(&values(&logits), &values(&truth)));
        let options = CrossEntropy::default();
        let loss = model.loss(&input, &positions, &targets, &options, &forward).unwrap();
        let truth = truth.cross_entropy(&targets, &options).unwrap();
        assert!(near(&values(&loss), &values(&truth)));
        let (ours, truth) = (loss.backward().unwrap(), truth.backward().unwrap());
        for p in store.parameters() {
            let [a, b] = [&ours, &truth].map(|g| p.grad(g).unwrap().to_f64_vec());
            assert!(near(&a, &b), "{}", p.name());
        }
    }
}

/// As `F.normalize`, whose gradient of a row of zeros is that of x/1e-12.
#[test]
fn rows_are_scaled_to_length_one() {
    let x = Var::leaf(Tensor::from_slice(&[3f64, 4.0, 0.0, 0.0, 1e-13, 0.0], &[3, 2]).unwrap());
    let y = normalize(&x).unwrap();
    let close = |ours: Vec<f64>, truth: [f64; 6]| {
        let near = ours.iter().zip(truth).all(|(a, b)| (a - b).abs() <= 1e-12 * b.abs().max(1.0));
        assert!(near, "{ours:?}");
    };
    close(values(&y), [0.6, 0.8, 0.0, 0.0, 0.1, 0.0]);
    let weights = Var::constant(Tensor::from_slice(&[1f64, 2.0], &[2]).unwrap());
    let grads = y.mul(&weights).unwrap().sum_all().unwrap().backward().unwrap();
    close(grads.get(&x).unwrap().to_f64_vec(), [-0.064, 0.048, 1e12, 2e12, 1e12, 2e12]);
}

/// A model that always predicts the same label: its figures are known.
#[test]
fn figures_of_an_evaluation() {
    let config = {
        let mut config = config(0.5, 0.5, Some(0.5));
        let names = (0..3).map(|i| format!("label {i}")).collect();
        config.set_labels(&gradus_models::Labels::from_names(names).unwrap());
        config
    };
    let store = Store::new(6);
    let model = SequenceClassifier::new(&store.root(), &config, Pooling::Mean, 3).unwrap();
    let set = |name: &str, values: &[f32], shape: &[usize]| {
        store.get(name).unwrap().set(Tensor::from_slice(values, shape).unwrap()).unwrap();
    };
    set("classifier.weight", &[0.0; 3 * WIDTH], &[3, WIDTH]);
    set("classifier.bias", &[0.0, 2.0, 0.0], &[3]);
    let encoding =
        |n: usize| Encoding { ids: vec![1; n], type_ids: vec![0; n], ..Encoding::default() };
    let encodings: Vec<Encoding> = (1..=100).map(|n| encoding(1 + n % 7)).collect();
    // 60 of label 1, 40 of label 0, none of label 2.
    let labels: Vec<u32> = (0..100).map(|i| u32::from(i % 5 < 3)).collect();
    let task = Classification::new(model, (encodings.clone(), labels.clone()))
        .label_smoothing(0.3)
        .unwrap();
    let figures = no_grad(|| task.evaluate(&(encodings, labels).into(), &mut |_, _| ())).unwrap();
    assert_eq!((figures.get("accuracy"), figures.examples), (Some(0.6), 100));
    // F1 of label 1: 2·60/(100 + 60); of label 0: 0; label 2 does not occur.
    assert!((figures.get("macro_f1").unwrap() - (120.0 / 160.0) / 2.0).abs() < 1e-12);
    let lse = (2.0 + 2f64.exp()).ln();
    // Without label smoothing, and without dropout.
    assert!((figures.loss - (0.6 * (lse - 2.0) + 0.4 * lse)).abs() < 1e-6, "{}", figures.loss);
}

/// A head of random weights, with dropout in its configuration: the loss is that of the logits of
/// inference.
#[test]
fn an_evaluation_drops_nothing() {
    let config = config(0.5, 0.5, Some(0.5));
    let store = Store::new(6);
    let model = SequenceClassifier::new(&store.root(), &config, Pooling::Mean, 3).unwrap();
    let encodings: Vec<Encoding> = (1..=20u32)
        .map(|n| {
            let ids: Vec<u32> = (0..1 + n % 7).map(|i| 1 + (n * 5 + i) % 8).collect();
            Encoding { type_ids: vec![0; ids.len()], ids, ..Encoding::default() }
        })
        .collect();
    let labels: Vec<u32> = (0..20).map(|i| i % 3).collect();
    let (mut loss, mut right) = (0.0, 0);
    for (encoding, &label) in encodings.iter().zip(&labels) {
        let packed = PackedBatch::new([encoding], &config).unwrap();
        let input = EncoderInput::new(&packed).unwrap();
        let logits = model.forward(&input, &Forward::inference()).unwrap().tensor().to_f64_vec();
        let best = (0..3).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap();
        right += usize::from(best == label as usize);
        loss += logits.iter().map(|z| z.exp()).sum::<f64>().ln() - logits[label as usize];
    }
    let task = Classification::new(model, (encodings.clone(), labels.clone()));
    let figures = no_grad(|| task.evaluate(&(encodings, labels).into(), &mut |_, _| ())).unwrap();
    assert!((figures.loss - loss / 20.0).abs() < 1e-5, "{} and {}", figures.loss, loss / 20.0);
    assert_eq!(figures.get("accuracy"), Some(right as f64 / 20.0));
}
