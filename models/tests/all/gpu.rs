//! BERT on a GPU, compared with the CPU: embeddings, a fine-tuning run, runs that move between
//! devices.
//!
//! Without an adapter, or without what they need of `GRADUS_SHARED`, the tests say that they are
//! skipped; with `GRADUS_REQUIRE_GPU=1` there must be an adapter.

use crate::common::{load_weights, reference_embeddings, run, save, trainer_on};
use gradus_models::pipelines::TextEmbedder;
use gradus_models::tasks::Classification;
use gradus_models::training::{Recipe, Trainer};
use gradus_models::{
    Columns, Dataset, EncoderInput, Encoding, PackedBatch, Pooling, Pretrained, SequenceClassifier,
};
use gradus_nn::{AdamW, CrossEntropy, Forward, Optimizer, Schedule, clip_grad_norm, param_groups};
use gradus_tensor::io::safetensors::SafeTensors;
use gradus_tensor::{Device, Tensor};
use gradus_testing::{gpu, shared};

#[test]
fn embeddings_of_eight_sentences() {
    let (Some(shared), Some(gpu)) = (shared(), gpu()) else { return };
    let (sentences, theirs) = reference_embeddings(&shared);

    let model = shared.join("models/minilm");
    let mut embedder = TextEmbedder::open(model.to_str().unwrap(), None, true).unwrap();
    embedder.to_device(gpu).unwrap();
    let ours = embedder.embed(&sentences.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
    assert_eq!(ours.shape(), [8, 384]);
    let distance = ours.sub(&theirs).unwrap().abs().unwrap().max(&[], false).unwrap();
    eprintln!("embeddings: within {:.1e}", distance.item().unwrap());
    assert!(distance.item().unwrap() < 1e-5);
}

/// Texts of each batch of 32 that are used: software Vulkan takes seconds for a text.
const TEXTS: usize = 2;

/// Losses and gradient norms of the first steps of the fine-tuning run of `finetune.rs`, with the
/// first two layers of the encoder, the first texts of each batch, and with dropout.
fn fine_tuning(shared: &std::path::Path, device: Device, steps: usize) -> Vec<(f64, f64)> {
    let init = SafeTensors::open(shared.join("golden/b_init.safetensors")).unwrap();
    let model = shared.join("models/minilm");
    let pretrained = Pretrained::open(model.to_str().unwrap()).unwrap();
    let mut config = pretrained.config.clone();
    config.num_hidden_layers = 2;
    assert_eq!((config.hidden_dropout_prob, config.attention_probs_dropout_prob), (0.1, 0.1));
    let data = Dataset::open(shared.join("data/banking77"), &Columns::default()).unwrap();
    let encode = |i: u32| {
        let text = &data.train.examples[i as usize].text;
        pretrained.tokenizer.encode(text, None, 64).unwrap()
    };

    let store = pretrained.store(0);
    store.to_device(device).unwrap();
    let model = SequenceClassifier::new(&store.root(), &config, Pooling::Cls, 77).unwrap();
    for name in ["classifier.weight", "classifier.bias"] {
        store.get(name).unwrap().set(init.tensor(name).unwrap()).unwrap();
    }
    // 11.7 M numbers, most of whose gradients are 0: half of the time. The small task below trains
    // them.
    store.get("bert.embeddings.word_embeddings.weight").unwrap().set_trainable(false);
    let mut optimizer =
        AdamW::with_groups(param_groups(&store.parameters(), 5e-5, None, |_| false, 0.01)).unwrap();
    let schedule = Schedule::linear(10, 100);
    let indices = init.tensor("batch_indices").unwrap().to_vec::<u32>().unwrap();
    let labels = init.tensor("batch_labels").unwrap().to_vec::<u32>().unwrap();
    (0..steps)
        .map(|step| {
            let rows = step * 32..step * 32 + TEXTS;
            let batch: Vec<Encoding> = indices[rows.clone()].iter().map(|&i| encode(i)).collect();
            let input = EncoderInput::new(&PackedBatch::new(&batch, &config).unwrap()).unwrap();
            let input = input.to_device(device).unwrap();
            let targets = Tensor::from_slice(&labels[rows], &[TEXTS]).unwrap();
            let targets = targets.to_device(device).unwrap();
            let logits = model.forward(&input, &Forward::training(0, step as u64)).unwrap();
            let loss = logits.cross_entropy(&targets, &CrossEntropy::default()).unwrap();
            drop(logits);
            let grads = loss.backward().unwrap();
            let clip = clip_grad_norm(&grads, &store.parameters(), 1.0).unwrap();
            optimizer.step_scaled(&grads, schedule.factor(step as u64), Some(&clip.scale)).unwrap();
            (loss.item().unwrap(), clip.norm.item().unwrap())
        })
        .collect()
}

#[test]
fn twenty_steps_of_fine_tuning() {
    let (Some(shared), Some(gpu)) = (shared(), gpu()) else { return };
    let cpu = fine_tuning(&shared, Device::Cpu, 20);
    let gpu = fine_tuning(&shared, gpu, 20);
    let (mut worst_loss, mut worst_norm) = (0f64, 0f64);
    for (step, ((loss, norm), (gpu_loss, gpu_norm))) in cpu.iter().zip(&gpu).enumerate() {
        let relative = (gpu_loss / loss - 1.0).abs();
        worst_loss = worst_loss.max(relative);
        worst_norm = worst_norm.max((gpu_norm / norm - 1.0).abs());
        assert!(relative < 1e-4, "step {step}: {loss} on the CPU, {gpu_loss} on the GPU");
    }
    assert!(worst_norm < 1e-3, "gradient norms differ by {worst_norm:.1e}");
    eprintln!("20 steps: loss within {worst_loss:.1e}, norm within {worst_norm:.1e}, relative");
}

fn recipe() -> Recipe {
    Recipe { steps: Some(8), batch_size: 16, lr: 1e-3, ..Recipe::default() }
}

fn task(device: Device) -> Trainer<Classification> {
    trainer_on(device, recipe(), 96, 0.1)
}

/// The losses of some steps.
fn losses(trainer: &mut Trainer<Classification>, steps: usize) -> Vec<f64> {
    (0..steps).map(|_| trainer.step().unwrap().unwrap().loss.item().unwrap()).collect()
}

/// A run that changes from one device to the other half-way follows one that does not.
fn resumed(from: Device, to: Device, truth: &[f64]) {
    let folder = tempfile::tempdir().unwrap();
    let mut first = task(from);
    run(&mut first, 4);
    let checkpoint = save(&first, folder.path());

    let mut second = task(to);
    load_weights(&second, &checkpoint);
    for parameter in second.store().parameters() {
        // The files hold the weights that were on the device.
        let there = first.store().get(parameter.name()).unwrap().tensor();
        let (a, b) = (there.to_vec::<f32>().unwrap(), parameter.tensor().to_vec::<f32>().unwrap());
        assert!(a == b && parameter.device() == to, "{}", parameter.name());
    }
    drop(first);
    second.resume(&checkpoint).unwrap();
    let after = losses(&mut second, 4);
    for (step, (loss, truth)) in after.iter().zip(&truth[4..]).enumerate() {
        let error = (loss / truth - 1.0).abs();
        assert!(error < 1e-4, "{from} to {to}, step {}: {loss}, not {truth}", step + 5);
    }
}

#[test]
fn a_run_resumed_on_the_other_device_goes_on() {
    let Some(gpu) = gpu() else { return };
    let truth = losses(&mut task(Device::Cpu), 8);
    resumed(Device::Cpu, gpu, &truth);
    resumed(gpu, Device::Cpu, &truth);
}
