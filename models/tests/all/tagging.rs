//! Training of a tagger: PyTorch's losses; accumulation; words that reach no token.

use gradus_models::data::{TaggedColumns, TaggedSentence};
use gradus_models::evaluation::Scheme;
use gradus_models::tasks::{TaggedEncoding, Tagging, encode_tagged};
use gradus_models::training::{OptimizerKind, Recipe, Task, Trainer};
use gradus_models::{
    Dataset, EncoderConfig, EncoderInput, Encoding, Labels, PackedBatch, Split, TokenClassifier,
    Tokenizer,
};
use gradus_nn::{AdamW, Forward, Optimizer, Schedule, Store, clip_grad_norm, param_groups};
use gradus_tensor::Tensor;
use gradus_tensor::io::safetensors::SafeTensors;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/tagging.safetensors");

fn labels(count: usize) -> Labels {
    let names = (0..count).map(|i| if i == 0 { "O".into() } else { format!("B-K{i}") });
    Labels::from_names(names.collect()).unwrap()
}

/// The sentences of the file, of `tags` tags.
fn sentences(golden: &SafeTensors, tags: u32) -> Vec<TaggedEncoding> {
    let integers = |name: &str| golden.tensor(name).unwrap().to_vec::<u32>().unwrap();
    let (ids, targets, lengths) = (integers("ids"), integers("targets"), integers("lengths"));
    let longest = ids.len() / lengths.len();
    let sentence = |(i, &length): (usize, &u32)| {
        let tokens = i * longest..i * longest + length as usize;
        let encoding = Encoding {
            ids: ids[tokens.clone()].to_vec(),
            type_ids: vec![0; length as usize],
            ..Encoding::default()
        };
        let tagged = targets[tokens].iter().enumerate().filter(|(_, tag)| **tag < tags);
        let (firsts, tags) = tagged.map(|(at, &tag)| (Some(at), tag)).unzip();
        TaggedEncoding { encoding, firsts, tags }
    };
    lengths.iter().enumerate().map(sentence).collect()
}

/// The run of `golden/tagging.py`: loss and norm of 50 steps, and the logits after them.
#[test]
fn fifty_steps_beside_pytorch() {
    let golden = SafeTensors::open(GOLDEN).unwrap();
    let mut config = EncoderConfig::new(60, 2, 32, 4, 64);
    config.max_position_embeddings = 16;
    config.hidden_dropout_prob = 0.0;
    config.attention_probs_dropout_prob = 0.0;
    let store = Store::new(0);
    let model = TokenClassifier::new(&store.root(), &config, 5).unwrap();
    for parameter in store.parameters() {
        parameter.set(golden.tensor(&format!("before.{}", parameter.name())).unwrap()).unwrap();
    }
    let sentences = sentences(&golden, 5);
    let task = Tagging::new(model, sentences.clone(), labels(5), Scheme::Conll, 0.0).unwrap();
    crate::trace::tells_what_is_read(&task);
    let groups = param_groups(&store.parameters(), 1e-3, None, |_| false, 0.01);
    let mut optimizer = AdamW::with_groups(groups).unwrap();
    let schedule = Schedule::linear(5, 50);
    let batches = golden.tensor("batches").unwrap().to_vec::<u32>().unwrap();
    let losses = golden.tensor("loss").unwrap().to_f64_vec();
    let norms = golden.tensor("grad_norm").unwrap().to_f64_vec();
    let mut worst = 0f64;
    for (step, batch) in batches.chunks(6).enumerate() {
        let batch: Vec<usize> = batch.iter().map(|&i| i as usize).collect();
        let loss = task.loss(&batch, &Forward::training(0, step as u64)).unwrap();
        let grads = loss.backward().unwrap();
        let clip = clip_grad_norm(&grads, &store.parameters(), 1.0).unwrap();
        let (loss, norm) = (loss.item().unwrap(), clip.norm.item().unwrap());
        worst = worst.max((loss - losses[step]).abs());
        assert!((loss - losses[step]).abs() < 1e-4, "step {step}: {loss} and {}", losses[step]);
        assert!((norm / norms[step] - 1.0).abs() < 1e-3, "step {step}: {norm} and {}", norms[step]);
        optimizer.step_scaled(&grads, schedule.factor(step as u64), Some(&clip.scale)).unwrap();
    }
    eprintln!("50 steps: loss within {worst:.1e}");
    logits_agree(&task, &config, &sentences[..6], &golden.tensor("logits").unwrap());
}

/// Compares the logits of some sentences with PyTorch's, which are padded.
fn logits_agree(task: &Tagging, config: &EncoderConfig, all: &[TaggedEncoding], theirs: &Tensor) {
    let packed = PackedBatch::new(all.iter().map(|s| &s.encoding), config).unwrap();
    let input = EncoderInput::new(&packed).unwrap();
    let ours = task.model().forward(&input, &Forward::inference()).unwrap();
    let ours = ours.tensor().to_vec::<f32>().unwrap();
    let (longest, tags) = (theirs.shape()[1], theirs.shape()[2]);
    let theirs = theirs.to_vec::<f32>().unwrap();
    for (i, range) in packed.ranges().enumerate() {
        let row = i * longest * tags;
        let theirs = &theirs[row..row + range.len() * tags];
        for (a, b) in ours[range.start * tags..range.end * tags].iter().zip(theirs) {
            assert!((a - b).abs() < 1e-4, "sentence {i}: {a} and {b}");
        }
    }
}

/// With SGD, whose step is the gradient. The sentences have unequal numbers of words.
#[test]
fn accumulation_equals_a_large_batch() {
    let golden = SafeTensors::open(GOLDEN).unwrap();
    let run = |batch_size, accumulate| {
        let mut config = EncoderConfig::new(60, 2, 32, 4, 64);
        config.hidden_dropout_prob = 0.0;
        config.attention_probs_dropout_prob = 0.0;
        let store = Store::new(0);
        let model = TokenClassifier::new(&store.root(), &config, 5).unwrap();
        let sentences = sentences(&golden, 5);
        let counts: Vec<usize> = sentences.iter().map(TaggedEncoding::tagged).collect();
        assert!(counts.iter().max() > counts.iter().min());
        let task = Tagging::new(model, sentences, labels(5), Scheme::Conll, 0.1).unwrap();
        let recipe = Recipe {
            steps: Some(1),
            batch_size,
            accumulate,
            optimizer: OptimizerKind::Sgd,
            lr: 1.0,
            warmup: 0.0,
            ..Recipe::default()
        };
        let mut trainer = Trainer::new(task, store, recipe).unwrap();
        let step = trainer.step().unwrap().unwrap();
        assert_eq!((step.examples, step.ends_epoch), (40, true));
        let weights: Vec<f64> =
            trainer.store().parameters().iter().flat_map(|p| p.tensor().to_f64_vec()).collect();
        (step.loss.item().unwrap(), step.grad_norm.item().unwrap(), weights)
    };
    let (loss, norm, weights) = run(40, 1);
    for (batch_size, accumulate) in [(10, 4), (16, 3), (1, 40)] {
        let (parts_loss, parts_norm, parts) = run(batch_size, accumulate);
        assert!((loss - parts_loss).abs() < 1e-6, "{loss} and {parts_loss}");
        assert!((norm / parts_norm - 1.0).abs() < 1e-5, "{norm} and {parts_norm}");
        let worst = weights.iter().zip(&parts).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(worst < 1e-6, "{batch_size}·{accumulate}: {worst:.1e}");
    }
}

/// A data set of one CoNLL file.
fn dataset(text: &str) -> Dataset<TaggedSentence> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("train.conll");
    std::fs::write(&path, text).unwrap();
    Dataset::open_tagged(path, &TaggedColumns::default()).unwrap()
}

fn encoded(split: &Split<TaggedSentence>, labels: &Labels, length: usize) -> Vec<TaggedEncoding> {
    let tokenizer = Tokenizer::train_wordpiece(&["ada meets bo in u . s ."; 2], 200).unwrap();
    encode_tagged(split, labels, &tokenizer, length).unwrap()
}

/// The first token of each word has the tag. Words that are cut off, and words of nothing, have no
/// token, and evaluations take them for `O`.
#[test]
fn words_without_a_token_are_counted_and_taken_for_o() {
    let data = dataset("ada\tB-PER\n\u{200b}\tB-LOC\nU.S.\tB-LOC\nbo\tB-PER\nin\tO\n");
    let labels = data.tags().unwrap();
    assert_eq!(labels.names(), ["B-LOC", "B-PER", "O"]);
    let whole = &encoded(&data.train, &labels, 32)[0];
    let word = |place: Option<usize>| place.map(|at| whole.encoding.tokens[at].as_str());
    let words: Vec<_> = whole.firsts.iter().map(|&place| word(place)).collect();
    assert_eq!(words, [Some("ada"), None, Some("u"), Some("bo"), Some("in")]);
    assert_eq!((whole.tagged(), whole.cut(), whole.tags.clone()), (4, 0, vec![1, 0, 0, 1, 2]));
    // [CLS] ada u . s . [SEP]
    let cut = &encoded(&data.train, &labels, 7)[0];
    assert_eq!((cut.tagged(), cut.cut(), cut.encoding.truncated), (2, 2, true));

    let config = EncoderConfig::new(200, 1, 32, 2, 64);
    let task = |sentences: Vec<TaggedEncoding>, zero: bool| {
        let store = Store::new(0);
        let model = TokenClassifier::new(&store.root(), &config, 3).unwrap();
        let bias = store.get("classifier.bias").unwrap();
        let weight = store.get("classifier.weight").unwrap();
        if zero {
            weight.set(weight.tensor().zeros_like().unwrap()).unwrap();
            bias.set(Tensor::from_slice(&[1f32, 0.0, 0.0], &[3]).unwrap()).unwrap();
        }
        Tagging::new(model, sentences, labels.clone(), Scheme::Conll, 0.0).unwrap()
    };
    // A model that always says B-LOC.
    let task = task(vec![cut.clone()], true);
    assert_eq!(task.terms(&[0]), 2.0);
    let result = task.evaluate(&vec![cut.clone()], &mut |_, _| {}).unwrap();
    // Right are U.S. of the two B-LOC, and `in`, which was cut off.
    assert_eq!(result.get("accuracy"), Some(0.4));
    assert_eq!(result.get("recall"), Some(0.25));
    assert_eq!(result.get("precision"), Some(0.5));
    // ln(e + 2) − 1 for B-LOC, ln(e + 2) for B-PER.
    let expected = (1f64.exp() + 2.0).ln() - 0.5;
    assert!((result.loss - expected).abs() < 1e-6, "{} and {expected}", result.loss);
}

/// A cut on the left may go through a word, whose first token is then gone.
#[test]
fn a_word_cut_in_two_on_the_left_has_no_tag() {
    let tokenizer = Tokenizer::train_wordpiece(&["ada meets bo in u . s ."; 2], 200).unwrap();
    let dir = tempfile::tempdir().unwrap();
    tokenizer.save(dir.path()).unwrap();
    let path = dir.path().join("tokenizer_config.json");
    let config = std::fs::read_to_string(&path).unwrap();
    let config = config.replacen('{', "{\"truncation_side\": \"left\",", 1);
    std::fs::write(&path, config).unwrap();
    let left = Tokenizer::from_folder(dir.path()).unwrap();
    let words = ["ada", "U.S.", "bo"];
    let encoding = left.encode_words(&words, 5).unwrap();
    assert_eq!(encoding.tokens, ["[CLS]", "s", ".", "bo", "[SEP]"]);
    assert_eq!(encoding.first_tokens(3), [None, None, Some(3)]);
    let tagged = TaggedEncoding { firsts: encoding.first_tokens(3), tags: vec![0; 3], encoding };
    assert_eq!(tagged.cut(), 2);
}
