//! Every model type beside PyTorch: hidden states, heads, losses and gradients of the tiny models
//! of `golden/family.py`, which have the switches of their type on, in a batch of odd lengths.
//!
//! On the CPU, and on the GPU where there is one.

use std::collections::BTreeMap;
use std::path::PathBuf;

use gradus_autograd::{Var, no_grad};
use gradus_models::generation::{GenerationConfig, Sampler};
use gradus_models::{
    CausalLm, Checkpoint, Encoder, EncoderConfig, EncoderInput, KeyValueCache, MaskedLm,
    PackedBatch, Pooling, Result, SequenceClassifier, SpanPredictor, TokenClassifier,
};
use gradus_nn::{CrossEntropy, Forward, Path, Store};
use gradus_tensor::io::safetensors::SafeTensors;
use gradus_tensor::{Device, Tensor};
use gradus_testing::{assert_near, devices};

/// The folders of `golden/family`.
const TYPES: [&str; 13] = [
    "bert",
    "roberta",
    "xlm-roberta",
    "camembert",
    "distilbert",
    "electra",
    "mpnet",
    "nomic_bert",
    "gte",
    "modernbert",
    "modernbert-biases",
    "gpt2",
    "gpt2-scores",
];

/// A golden model, and a batch with what PyTorch computes of it.
struct Golden {
    config: EncoderConfig,
    checkpoint: Checkpoint,
    expected: SafeTensors,
    batch: PackedBatch,
    /// The rows of the packed tokens in a padded batch.
    rows: Vec<u32>,
}

impl Golden {
    fn open(model_type: &str) -> Golden {
        let golden = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/family");
        let folder = golden.join(model_type);
        let config = EncoderConfig::load(&folder).unwrap();
        assert!(model_type.starts_with(&config.model_type));
        let expected = SafeTensors::open(folder.join("expected.safetensors")).unwrap();
        let words = |name: &str| expected.tensor(name).unwrap().to_vec::<u32>().unwrap();
        let (ids, types, mask) = (words("ids"), words("types"), words("mask"));
        let longest = expected.info("ids").unwrap().1[1];
        let length = |row: &[u32]| row.iter().filter(|&&real| real == 1).count();
        let lengths: Vec<usize> = mask.chunks(longest).map(length).collect();
        let ranges = lengths.iter().enumerate().map(|(i, n)| i * longest..i * longest + n);
        let parts = ranges.clone().map(|range| (&ids[range.clone()], &types[range]));
        let batch = PackedBatch::from_parts(parts, &config).unwrap();
        let rows = ranges.flatten().map(|row| row as u32).collect();
        let checkpoint = Checkpoint::open(folder).unwrap();
        Golden { config, checkpoint, expected, batch, rows }
    }

    fn store(&self, device: Device) -> Store {
        let store = Store::with_source(0, self.checkpoint.clone());
        store.to_device(device).unwrap();
        store
    }

    fn input(&self, device: Device) -> EncoderInput {
        EncoderInput::new(&self.batch).unwrap().to_device(device).unwrap()
    }

    /// A tensor of the file: `[sequences, longest, …]` without the padding, `[tokens, …]`.
    fn packed(&self, name: &str) -> Tensor {
        let padded = self.expected.tensor(name).unwrap();
        let shape = padded.shape();
        let flat = [&[shape[0] * shape[1]], &shape[2..]].concat();
        let rows = Tensor::from_slice(&self.rows, &[self.rows.len()]).unwrap();
        padded.reshape(&flat).unwrap().index_select(0, &rows).unwrap()
    }

    fn near(&self, what: &str, got: &Var, want: &Tensor) {
        let what = format!("{} {what}", self.config.model_type);
        let got = got.tensor().to_device(Device::Cpu).unwrap();
        assert_eq!(got.shape(), want.shape(), "{what}");
        assert_near(&what, &got.to_f64_vec(), &want.to_f64_vec(), |x| 1e-5 * x.abs().max(1.0));
    }

    /// The outputs, the loss and every parameter's gradient of a head.
    fn head(&self, head: &str, store: &Store, logits: &Var, want: &Tensor, loss: &Var) {
        assert!(store.missing().is_empty(), "{head}: {:?}", store.missing());
        self.near(&format!("{head} logits"), logits, want);
        let value = self.expected.tensor(&format!("{head}.loss")).unwrap().item().unwrap();
        assert!((loss.item().unwrap() - value).abs() < 1e-5, "{head}: {loss} and {value}");
        let gradients = loss.backward().unwrap();
        let parameters: BTreeMap<String, _> =
            store.parameters().into_iter().map(|p| (p.name().to_string(), p)).collect();
        let mut compared = 0;
        for name in self.expected.names() {
            let Some(parameter) = name.strip_prefix(&format!("{head}.grad.")) else { continue };
            let want = self.expected.tensor(&name).unwrap();
            // GPT-2's class in `transformers` has weights as [in, out].
            let conv = parameter.contains(".c_") && want.rank() == 2;
            let want = if conv { want.transpose(0, 1).unwrap() } else { want };
            let want = want.to_f64_vec();
            let found = parameters.get(parameter).unwrap_or_else(|| panic!("{name}"));
            let Some(gradient) = found.grad(&gradients) else {
                assert!(want.iter().all(|&x| x == 0.0), "{name} has no gradient");
                continue;
            };
            let got = gradient.to_device(Device::Cpu).unwrap().to_f64_vec();
            let largest = want.iter().fold(1e-2f64, |most, x| most.max(x.abs()));
            assert_near(&name, &got, &want, |_| 1e-4 * largest);
            compared += 1;
        }
        assert_eq!(compared, parameters.len(), "{head}: every parameter has a gradient");
    }
}

/// Runs `check` for every type on every device.
fn every(check: impl Fn(&Golden, Device) -> Result<()>) {
    for device in devices() {
        for model_type in TYPES {
            check(&Golden::open(model_type), device)
                .unwrap_or_else(|error| panic!("{model_type} on {device}: {error}"));
        }
    }
}

#[test]
fn hidden_states_are_those_of_transformers() {
    every(|golden, device| {
        let store = golden.store(device);
        let path = golden.config.encoder_path(&store.root());
        let bert = Encoder::new(&path, &golden.config, false)?;
        let states = bert.hidden_states(&golden.input(device), &Forward::inference())?;
        for (i, state) in states.iter().enumerate() {
            let name = format!("hidden.{i}");
            golden.near(&name, state, &golden.packed(&name));
        }
        assert_eq!(states.len(), golden.config.num_hidden_layers + 1);
        Ok(())
    });
}

#[test]
fn texts() {
    every(|golden, device| {
        let store = golden.store(device);
        let (config, labels) = (&golden.config, golden.config.num_labels().unwrap_or(2));
        let pooling = config.pooling.unwrap_or(Pooling::Cls);
        let model = SequenceClassifier::new(&store.root(), config, pooling, labels)?;
        let logits = model.forward(&golden.input(device), &Forward::training(0, 0))?;
        let labels = golden.expected.tensor("labels")?.to_device(device)?;
        let loss = logits.cross_entropy(&labels, &CrossEntropy::default())?;
        golden.head(
            "classify",
            &store,
            &logits,
            &golden.expected.tensor("classify.logits")?,
            &loss,
        );
        Ok(())
    });
}

/// Also with layers that backward runs again.
#[test]
fn words() {
    every(|golden, device| {
        for checkpointing in [false, true] {
            let store = golden.store(device);
            let labels = golden.config.num_labels().unwrap_or(2);
            let model = TokenClassifier::new(&store.root(), &golden.config, labels)?;
            let forward = Forward::training(0, 0).with_checkpointing(checkpointing);
            let logits = model.forward(&golden.input(device), &forward)?;
            let tags = golden.packed("tags").to_device(device)?;
            let loss = logits.cross_entropy(&tags, &CrossEntropy::default())?;
            golden.head("tag", &store, &logits, &golden.packed("tag.logits"), &loss);
        }
        Ok(())
    });
}

#[test]
fn masked_words() {
    vocabulary("fill_mask", MaskedLm::new, MaskedLm::forward, MaskedLm::loss);
}

#[test]
fn next_words() {
    vocabulary("generate", CausalLm::new, CausalLm::forward, CausalLm::loss);
}

type Logits<M> = fn(&M, &EncoderInput, &Tensor, &Forward) -> Result<Var>;
type Loss<M> = fn(&M, &EncoderInput, &Tensor, &Tensor, &CrossEntropy, &Forward) -> Result<Var>;

/// The head that gives logits over the vocabulary; a type without it refuses to be built.
fn vocabulary<M>(
    head: &str,
    new: fn(&Path, &EncoderConfig) -> Result<M>,
    forward: Logits<M>,
    loss: Loss<M>,
) {
    every(|golden, device| {
        let store = golden.store(device);
        if golden.expected.info(&format!("{head}.loss")).is_none() {
            let error = new(&store.root(), &golden.config).err().unwrap();
            assert!(error.to_string().contains("no model of type"), "{error}");
            return Ok(());
        }
        let model = new(&store.root(), &golden.config)?;
        let (input, mode) = (golden.input(device), Forward::training(0, 0));
        let all: Vec<u32> = (0..golden.rows.len() as u32).collect();
        let all = Tensor::from_slice(&all, &[all.len()])?.to_device(device)?;
        let logits = forward(&model, &input, &all, &mode)?;
        let words = golden.packed("words").to_device(device)?;
        let loss = loss(&model, &input, &all, &words, &CrossEntropy::default(), &mode)?;
        golden.head(head, &store, &logits, &golden.packed(&format!("{head}.logits")), &loss);
        Ok(())
    });
}

/// Token by token, as `generate` of `transformers`.
#[test]
fn generated_words() {
    for device in devices() {
        for model_type in ["gpt2", "gpt2-scores"] {
            let golden = Golden::open(model_type);
            let model = CausalLm::new(&golden.store(device).root(), &golden.config).unwrap();
            for (name, repetition_penalty) in [("greedy", 1.0), ("penalised", 1.4)] {
                let want = golden.expected.tensor(name).unwrap().to_vec::<u32>().unwrap();
                let settings = GenerationConfig { repetition_penalty, ..Default::default() };
                let sampler = Sampler::new(&settings, 0);
                let mut seen = KeyValueCache::new(&golden.config);
                let (mut ids, mut next) = (want[..3].to_vec(), want[..3].to_vec());
                while ids.len() < want.len() {
                    let logits = no_grad(|| model.step(&next, &mut seen)).unwrap();
                    let logits = logits.tensor().to_vec::<f32>().unwrap();
                    next = vec![sampler.next(logits, &ids, 0)];
                    ids.extend(&next);
                }
                assert_eq!(ids, want, "{model_type} {name} on {device}");
            }
        }
    }
}

/// Several tokens at once after those that are cached, and one after the other.
#[test]
fn a_cache_changes_no_logits() {
    for device in devices() {
        let golden = Golden::open("gpt2-scores");
        let model = CausalLm::new(&golden.store(device).root(), &golden.config).unwrap();
        let ids = [3u32, 9, 27, 5, 5, 14, 30];
        let batch = PackedBatch::from_parts([(&ids[..], &[0; 7][..])], &golden.config).unwrap();
        let input = EncoderInput::new(&batch).unwrap().to_device(device).unwrap();
        let last = Tensor::from_slice(&[6u32], &[1]).unwrap().to_device(device).unwrap();
        let want = model.forward(&input, &last, &Forward::inference()).unwrap();
        for cuts in [vec![7], vec![3, 7], vec![1, 6, 7], vec![1, 2, 3, 4, 5, 6, 7]] {
            let (mut seen, mut start, mut got) = (KeyValueCache::new(&golden.config), 0, None);
            for end in cuts {
                got = Some(model.step(&ids[start..end], &mut seen).unwrap());
                start = end;
            }
            golden.near(
                "logits of a cache",
                &got.unwrap(),
                &want.tensor().to_device(Device::Cpu).unwrap(),
            );
        }
        let mut seen = KeyValueCache::new(&golden.config);
        let error = model.step(&[1; 13], &mut seen).err().unwrap().to_string();
        assert!(error.contains("13 tokens, the model takes at most 12"), "{error}");
    }
}

#[test]
fn answers() {
    every(|golden, device| {
        let store = golden.store(device);
        if golden.expected.info("answer.loss").is_none() {
            let error = SpanPredictor::new(&store.root(), &golden.config).err().unwrap();
            assert!(error.to_string().contains("no model of type"), "{error}");
            return Ok(());
        }
        let model = SpanPredictor::new(&store.root(), &golden.config)?;
        let logits = model.forward(&golden.input(device), &Forward::training(0, 0))?;
        let ends = |name: &str| golden.expected.tensor(name)?.to_vec::<u32>();
        let (starts, ends) = (ends("starts")?, ends("ends")?);
        let mut losses = Vec::new();
        for (i, range) in golden.batch.ranges().enumerate() {
            let rows = logits.narrow(0, range.start, range.len())?.transpose(0, 1)?;
            let place = Tensor::from_slice(&[starts[i], ends[i]], &[2])?.to_device(device)?;
            losses.push(rows.cross_entropy(&place, &CrossEntropy::default())?);
        }
        let loss = Var::stack(&losses.iter().collect::<Vec<_>>(), 0)?.mean(&[0], false)?;
        golden.head("answer", &store, &logits, &golden.packed("answer.logits"), &loss);
        Ok(())
    });
}

/// The file that Gradus writes is read back, and has the type's own keys.
#[test]
fn configurations_keep_their_own_keys() {
    let dir = tempfile::tempdir().unwrap();
    for model_type in TYPES {
        let golden = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/family");
        let read = |folder: &std::path::Path| -> serde_json::Value {
            serde_json::from_slice(&std::fs::read(folder.join("config.json")).unwrap()).unwrap()
        };
        let theirs = read(&golden.join(model_type));
        let config = EncoderConfig::load(golden.join(model_type)).unwrap();
        assert_eq!(config.notes(), [""; 0], "{model_type}");
        config.save(dir.path()).unwrap();
        let ours = read(dir.path());
        for (key, value) in theirs.as_object().unwrap() {
            // Keys that the file need not have may be left out where they are null.
            assert!(ours[key] == *value || value.is_null(), "{model_type} {key}: {}", ours[key]);
        }
        if model_type == "distilbert" {
            for key in ["hidden_size", "num_hidden_layers", "type_vocab_size", "layer_norm_eps"] {
                assert!(ours.get(key).is_none(), "{key}");
            }
        }
        assert_eq!(EncoderConfig::load(dir.path()).unwrap(), config);
    }
}

/// RoBERTa's positions begin after the row of padding, and a padding token has that row.
#[test]
fn positions_after_padding() {
    let golden = Golden::open("roberta");
    let (config, pad) = (&golden.config, golden.config.pad_token_id.unwrap());
    assert_eq!((pad, config.max_tokens()), (3, 12));
    let ids = [9, pad, 8];
    let packed = |n: usize| PackedBatch::from_parts([(&vec![9; n][..], &vec![0; n][..])], config);
    let batch = PackedBatch::from_parts([(&ids[..], &[0; 3][..])], config).unwrap();
    assert_eq!(batch.position_ids, [4, 3, 5]);
    assert!(packed(12).is_ok());
    let error = packed(13).unwrap_err().to_string();
    assert!(error.contains("13 tokens, the model takes at most 12"), "{error}");
}
