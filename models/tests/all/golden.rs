//! Agreement with PyTorch: the reference results in `$GRADUS_SHARED/golden`, made by `transformers`
//! in f32.
//!
//! Without `GRADUS_SHARED` these tests say that they are skipped.

use std::fs;
use std::path::Path;

use gradus_autograd::{Gradients, Var, no_grad};
use gradus_models::encoder::normalize;
use gradus_models::pipelines::{self, TextEmbedder};
use gradus_models::{
    Checkpoint, Encoder, EncoderConfig, EncoderInput, MaskedLm, PackedBatch, Pooling, Pretrained,
};
use gradus_nn::{CrossEntropy, Forward, Parameter, Precision, Source, Store};
use gradus_tensor::Tensor;
use gradus_testing::shared;
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
fn batch(file: &SafeTensors, config: &EncoderConfig) -> (PackedBatch, Vec<i64>) {
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

/// MiniLM with its pooler.
fn minilm(shared: &Path) -> (Pretrained, Store, Encoder) {
    let model = shared.join("models/minilm");
    let pretrained = Pretrained::open(model.to_str().unwrap()).unwrap();
    let store = pretrained.store(0);
    let bert = Encoder::new(&store.root().join("bert"), &pretrained.config, true).unwrap();
    (pretrained, store, bert)
}

/// In 8 or 16 bits the embeddings are those of PyTorch in f32 except for rounding. In 8 bits the
/// rounding is larger where the processor rounds the inputs of layers to 8 bits too.
#[test]
fn eight_sentences_in_8_and_16_bits() {
    let Some(shared) = shared() else { return };
    let bytes = fs::read(shared.join("golden/a_embed.safetensors")).unwrap();
    let golden = SafeTensors::deserialize(&bytes).unwrap();
    let (pretrained, _, bert) = minilm(&shared);
    let input = EncoderInput::new(&batch(&golden, &pretrained.config).0).unwrap();
    let embed = || {
        let hidden = bert.forward(&input, &Forward::inference())?;
        normalize(&bert.pool(&hidden, &input, Pooling::Mean)?)
    };
    let (shape, theirs) = floats(&golden, "sentence_embeddings");
    for (precision, least) in [(Precision::Int8, 0.99), (Precision::Bf16, 0.9998)] {
        let unit = no_grad(|| precision.run(embed)).unwrap();
        let ours = unit.tensor().to_vec::<f32>().unwrap();
        let mut exact = true;
        for (i, (a, b)) in ours.chunks(shape[1]).zip(theirs.chunks(shape[1])).enumerate() {
            let cosine: f64 = a.iter().zip(b).map(|(a, b)| (a * b) as f64).sum();
            eprintln!("{precision}, sentence {i}: cosine {cosine:.5}");
            assert!(cosine > least, "{precision}, sentence {i}: {cosine}");
            exact &= a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5);
        }
        // Some processors compute bf16 in f32.
        assert!(!exact || precision == Precision::Bf16, "nothing was rounded");
    }
    // Weights in 8 bits have no gradient.
    let Err(error) = Precision::Int8.run(embed) else { panic!("it is refused") };
    assert!(error.to_string().contains("no_grad"), "{error}");
}

#[test]
fn eight_sentences_through_every_layer() {
    let Some(shared) = shared() else { return };
    let bytes = fs::read(shared.join("golden/a_embed.safetensors")).unwrap();
    let golden = SafeTensors::deserialize(&bytes).unwrap();
    let (pretrained, store, bert) = minilm(&shared);
    assert_eq!(store.missing(), Vec::<String>::new());
    assert_eq!(pretrained.checkpoint.unexpected(), Vec::<String>::new());

    let (batch, mask) = batch(&golden, &pretrained.config);
    let input = EncoderInput::new(&batch).unwrap();
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
    let config: EncoderConfig = serde_json::from_value(about["config"].clone()).unwrap();
    config.validate().unwrap();
    let weights = Checkpoint::open(shared.join("golden/c_mlm_weights.safetensors")).unwrap();
    let store = Store::with_source(0, weights.clone());
    let model = MaskedLm::new(&store.root(), &config).unwrap();
    assert_eq!(store.missing(), Vec::<String>::new());
    assert_eq!(weights.unexpected(), Vec::<String>::new());

    let (batch, mask) = batch(&golden, &config);
    let input = EncoderInput::new(&batch).unwrap();
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
    gradients_agree(&parameters, &grads, &golden);
}

/// Compares the gradients of all parameters with PyTorch's.
fn gradients_agree(parameters: &[Parameter], grads: &Gradients, golden: &SafeTensors) {
    let mut worst = (0.0, String::new());
    for parameter in parameters {
        let name = parameter.name();
        let ours = parameter.grad(grads).unwrap_or_else(|| panic!("{name} has no gradient"));
        let (shape, theirs) = floats(golden, &format!("grad.{name}"));
        assert_eq!(ours.shape(), shape, "{name}");
        let distance = distance(&ours.to_vec::<f32>().unwrap(), &theirs);
        if name.ends_with("attention.self.key.bias") {
            // The true value is exactly 0: softmax ignores a shift.
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

/// Layer by layer: the probabilities times the values, followed by the rest of the layer written
/// out, give the output of the layer, whose attention is one fused kernel. Inputs and results are
/// PyTorch's.
#[test]
fn attention_probabilities_are_those_that_the_layers_use() {
    let Some(shared) = shared() else { return };
    let bytes = fs::read(shared.join("golden/a_embed.safetensors")).unwrap();
    let golden = SafeTensors::deserialize(&bytes).unwrap();
    let model = shared.join("models/minilm");
    let pretrained = Pretrained::open(model.to_str().unwrap()).unwrap();
    let weight = |name: &str| Var::constant(pretrained.checkpoint.tensor(name).unwrap().unwrap());
    let embedder = pipelines::open(model.to_str().unwrap()).unwrap();
    let about = json(&shared.join("golden/a_embed.json"));
    let (mut worst, mut uneven) = (0.0f64, 0.0f64);
    for (row, sentence) in about["sentences"].as_array().unwrap().iter().enumerate() {
        let encoding =
            embedder.tokenizer().encode(sentence.as_str().unwrap(), None, usize::MAX).unwrap();
        let (n, heads, h) = (encoding.len(), 12, 384);
        let shown = embedder.attentions(&encoding, 0..6).unwrap();
        assert_eq!(embedder.attentions(&encoding, 4..5).unwrap(), shown[4..5]);
        let state = |i: usize| {
            let (shape, values) = floats(&golden, &format!("hidden_states.{i}"));
            let start = row * shape[1] * shape[2];
            values[start..start + n * h].to_vec()
        };
        for (i, probabilities) in shown.iter().enumerate() {
            for sums in probabilities.chunks(n) {
                uneven = uneven.max((sums.iter().sum::<f32>() - 1.0).abs().into());
            }
            let at = |name: &str| weight(&format!("encoder.layer.{i}.{name}"));
            let linear = |x: &Var, name: &str| {
                x.linear(&at(&format!("{name}.weight")), Some(&at(&format!("{name}.bias"))))
                    .unwrap()
            };
            let norm = |x: &Var, name: &str| {
                x.layer_norm(
                    &at(&format!("{name}.weight")),
                    Some(&at(&format!("{name}.bias"))),
                    1e-12,
                )
                .unwrap()
            };
            let x = Var::constant(Tensor::from_slice(&state(i), &[n, h]).unwrap());
            let p = Var::constant(Tensor::from_slice(probabilities, &[heads, n, n]).unwrap());
            let v = linear(&x, "attention.self.value").reshape(&[n, heads, h / heads]).unwrap();
            let context = p.matmul(&v.permute(&[1, 0, 2]).unwrap()).unwrap();
            let context = context.permute(&[1, 0, 2]).unwrap().reshape(&[n, h]).unwrap();
            let y = linear(&context, "attention.output.dense").add(&x).unwrap();
            let attended = norm(&y, "attention.output.LayerNorm");
            let between = linear(&attended, "intermediate.dense").gelu().unwrap();
            let y = linear(&between, "output.dense").add(&attended).unwrap();
            let y = norm(&y, "output.LayerNorm").tensor().to_vec::<f32>().unwrap();
            worst = worst.max(distance(&y, &state(i + 1)));
        }
    }
    eprintln!("layers from probabilities: {worst:.2e}; rows sum to 1 within {uneven:.2e}");
    assert!(worst <= 1e-5, "{worst:e}");
    assert!(uneven <= 1e-6, "{uneven:e}");
    let encoding = embedder.tokenizer().encode("hi", None, 8).unwrap();
    for layers in [3..7, 7..8] {
        let error = embedder.attentions(&encoding, layers).unwrap_err().to_string();
        assert!(error.contains("0..6"), "{error}");
    }
}
