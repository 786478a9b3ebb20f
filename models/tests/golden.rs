//! Agreement with PyTorch: the reference results in `$GRADUS_SHARED/golden`, made by `transformers` in f32.
//!
//! Without `GRADUS_SHARED` these tests say that they are skipped.

mod common;

use std::fs;
use std::path::Path;

use common::shared;
use gradus_autograd::no_grad;
use gradus_models::bert::normalize;
use gradus_models::pipelines::TextEmbedder;
use gradus_models::{
    Bert, BertConfig, BertInput, Checkpoint, MaskedLm, PackedBatch, Pooling, Pretrained,
};
use gradus_nn::{CrossEntropy, Forward, Store};
use gradus_tensor::Tensor;
use safetensors::SafeTensors;
use serde_json::Value;

fn floats(file: &SafeTensors, name: &str) -> (Vec<usize>, Vec<f32>) {
    let view = file.tensor(name).unwrap();
    let values = view.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()));
    (view.shape().to_vec(), values.collect())
}

/// Integers of type I64, which may be negative.
fn integers(file: &SafeTensors, name: &str) -> (Vec<usize>, Vec<i64>) {
    let view = file.tensor(name).unwrap();
    let values = view.data().chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap()));
    (view.shape().to_vec(), values.collect())
}

/// The rows of a padded `[batch, length, …]` tensor where the mask is 1, end to end.
fn packed<T: Copy>(shape: &[usize], values: &[T], mask: &[i64]) -> Vec<T> {
    let width: usize = shape[2..].iter().product();
    let rows = values.chunks(width).zip(mask);
    rows.filter(|&(_, &m)| m == 1).flat_map(|(row, _)| row.iter().copied()).collect()
}

/// The packed batch of a padded one.
fn batch(file: &SafeTensors, config: &BertConfig) -> (PackedBatch, Vec<i64>) {
    let (shape, ids) = integers(file, "input_ids");
    let (_, mask) = integers(file, "attention_mask");
    let (_, types) = integers(file, "token_type_ids");
    let u32s = |values: &[i64]| -> Vec<u32> { values.iter().map(|&v| v as u32).collect() };
    let parts: Vec<(Vec<u32>, Vec<u32>)> = (0..shape[0])
        .map(|i| {
            let row = i * shape[1]..(i + 1) * shape[1];
            let length = mask[row.clone()].iter().sum::<i64>() as usize;
            let row = row.start..row.start + length;
            (u32s(&ids[row.clone()]), u32s(&types[row]))
        })
        .collect();
    let parts = parts.iter().map(|(ids, types)| (ids.as_slice(), types.as_slice()));
    (PackedBatch::from_parts(parts, config).unwrap(), mask)
}

/// The largest absolute difference.
fn distance(ours: &[f32], theirs: &[f32]) -> f64 {
    assert_eq!(ours.len(), theirs.len());
    assert!(ours.iter().all(|v| v.is_finite()));
    ours.iter().zip(theirs).map(|(a, b)| f64::from((a - b).abs())).fold(0.0, f64::max)
}

/// The largest absolute difference within `bound`; the figure is printed.
fn close(what: &str, ours: &Tensor, theirs: &[f32], bound: f64) {
    let distance = distance(&ours.to_vec::<f32>().unwrap(), theirs);
    eprintln!("{what}: {distance:.2e}");
    assert!(distance <= bound, "{what}: {distance:.3e} is above {bound:e}");
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn eight_sentences_through_every_layer() {
    let Some(shared) = shared() else { return };
    let bytes = fs::read(shared.join("golden/a_embed.safetensors")).unwrap();
    let golden = SafeTensors::deserialize(&bytes).unwrap();
    let model = shared.join("models/minilm");
    let pretrained = Pretrained::open(model.to_str().unwrap()).unwrap();
    let store = pretrained.store(0);
    let bert = Bert::new(&store.root().join("bert"), &pretrained.config, true).unwrap();
    assert_eq!(store.missing(), Vec::<String>::new());
    assert_eq!(pretrained.checkpoint.unexpected(), Vec::<String>::new());

    let (batch, mask) = batch(&golden, &pretrained.config);
    let input = BertInput::new(&batch).unwrap();
    let forward = Forward::inference();
    let states = no_grad(|| bert.hidden_states(&input, &forward)).unwrap();
    assert_eq!(states.len(), 7);
    for (i, state) in states.iter().enumerate() {
        let (shape, theirs) = floats(&golden, &format!("hidden_states.{i}"));
        close(&format!("hidden state {i}"), state.tensor(), &packed(&shape, &theirs, &mask), 1e-5);
    }
    let last = no_grad(|| bert.forward(&input, &forward)).unwrap();
    let (shape, theirs) = floats(&golden, "last_hidden_state");
    close("last hidden state", last.tensor(), &packed(&shape, &theirs, &mask), 1e-5);
    let cls = no_grad(|| bert.pool(&last, &input, Pooling::Cls)).unwrap();
    close("pooler output", cls.tensor(), &floats(&golden, "pooler_output").1, 1e-5);
    let mean = no_grad(|| bert.pool(&last, &input, Pooling::Mean)).unwrap();
    close("mean", mean.tensor(), &floats(&golden, "mean_pooled").1, 1e-5);
    let unit = normalize(&mean).unwrap();
    close("embeddings", unit.tensor(), &floats(&golden, "sentence_embeddings").1, 1e-5);
}

#[test]
fn eight_sentences_through_the_pipeline() {
    let Some(shared) = shared() else { return };
    let bytes = fs::read(shared.join("golden/a_embed.safetensors")).unwrap();
    let golden = SafeTensors::deserialize(&bytes).unwrap();
    let about = json(&shared.join("golden/a_embed.json"));
    let sentences: Vec<&str> =
        about["sentences"].as_array().unwrap().iter().map(|s| s.as_str().unwrap()).collect();
    let theirs = floats(&golden, "sentence_embeddings").1;

    let model = shared.join("models/minilm");
    let embedder = TextEmbedder::open(model.to_str().unwrap(), None, true).unwrap();
    let together = embedder.embed(&sentences).unwrap();
    assert_eq!(together.shape(), [8, 384]);
    close("embeddings, together", &together, &theirs, 1e-5);
    let alone: Vec<f32> = sentences
        .iter()
        .flat_map(|s| embedder.embed(&[s]).unwrap().to_vec::<f32>().unwrap())
        .collect();
    close("embeddings, alone against together", &together, &alone, 1e-6);
}

#[test]
fn the_masked_language_model_and_its_gradients() {
    let Some(shared) = shared() else { return };
    let bytes = fs::read(shared.join("golden/c_mlm_golden.safetensors")).unwrap();
    let golden = SafeTensors::deserialize(&bytes).unwrap();
    let about = json(&shared.join("golden/c_mlm.json"));
    let config: BertConfig = serde_json::from_value(about["config"].clone()).unwrap();
    config.validate().unwrap();
    let weights = Checkpoint::open(shared.join("golden/c_mlm_weights.safetensors")).unwrap();
    let store = Store::with_source(0, weights.clone());
    let model = MaskedLm::new(&store.root(), &config).unwrap();
    assert_eq!(store.missing(), Vec::<String>::new());
    assert_eq!(weights.unexpected(), Vec::<String>::new());

    let (batch, mask) = batch(&golden, &config);
    let input = BertInput::new(&batch).unwrap();
    let forward = Forward::training(0, 0);

    let all: Vec<u32> = (0..batch.tokens() as u32).collect();
    let all = Tensor::from_slice(&all, &[all.len()]).unwrap();
    let logits = no_grad(|| model.forward(&input, &all, &forward)).unwrap();
    let (shape, theirs) = floats(&golden, "logits");
    close("logits", logits.tensor(), &packed(&shape, &theirs, &mask), 1e-5);

    let (shape, labels) = integers(&golden, "labels");
    let labels = packed(&[shape[0], shape[1]], &labels, &mask);
    let masked = |&(_, &label): &(u32, &i64)| label != -100;
    let (at, targets): (Vec<u32>, Vec<u32>) =
        (0..).zip(&labels).filter(masked).map(|(i, &label)| (i, label as u32)).unzip();
    assert_eq!(Some(at.len() as u64), about["n_masked"].as_u64());
    let at = Tensor::from_slice(&at, &[at.len()]).unwrap();
    let targets = Tensor::from_slice(&targets, &[targets.len()]).unwrap();
    let logits = model.forward(&input, &at, &forward).unwrap();
    let loss = logits.cross_entropy(&targets, &CrossEntropy::default()).unwrap();
    close("loss", loss.tensor(), &floats(&golden, "loss").1, 1e-5);
    let fused = model.loss(&input, &at, &targets, &CrossEntropy::default(), &forward).unwrap();
    close("loss, a part at a time", fused.tensor(), &floats(&golden, "loss").1, 1e-5);

    let grads = loss.backward().unwrap();
    let parameters = store.parameters();
    assert_eq!(Some(parameters.len()), about["weights"].as_array().map(Vec::len));
    let mut worst = (0.0, String::new());
    for parameter in &parameters {
        let name = parameter.name();
        let ours = parameter.grad(&grads).unwrap_or_else(|| panic!("{name} has no gradient"));
        let (shape, theirs) = floats(&golden, &format!("grad.{name}"));
        assert_eq!(ours.shape(), shape, "{name}");
        let distance = distance(&ours.to_vec::<f32>().unwrap(), &theirs);
        if name.ends_with("attention.self.key.bias") {
            // Exactly 0 in truth: softmax does not see a shift.
            assert!(distance < 1e-6, "{name}: {distance:e}");
            continue;
        }
        let largest = theirs.iter().fold(0f32, |m, v| m.max(v.abs()));
        let relative = distance / f64::from(largest);
        if relative > worst.0 {
            worst = (relative, name.to_string());
        }
        assert!(relative <= 1e-4, "{name}: relative error {relative:e}");
    }
    eprintln!("worst gradient: {:.2e} ({})", worst.0, worst.1);
}
