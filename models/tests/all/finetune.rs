//! Fine-tuning, step by step: PyTorch's gradients and losses; the same bits for every number of
//! threads; resuming.

use crate::common::{load_weights, run, save, small_trainer, trainer};
use gradus_autograd::Gradients;
use gradus_models::tasks::Classification;
use gradus_models::training::{OptimizerKind, Recipe, Trainer};
use gradus_models::{
    Columns, Dataset, EncoderConfig, EncoderInput, Encoding, PackedBatch, Pooling, Pretrained,
    SequenceClassifier,
};
use gradus_nn::{
    AdamW, CrossEntropy, Forward, Optimizer, Schedule, Store, clip_grad_norm, param_groups,
};
use gradus_tensor::Tensor;
use gradus_tensor::io::safetensors::SafeTensors;
use gradus_testing::shared;

/// ‖a − b‖ / ‖b‖.
fn relative(ours: &[f32], theirs: &[f32]) -> f64 {
    assert_eq!(ours.len(), theirs.len());
    let (mut difference, mut norm) = (0.0, 0.0);
    for (&a, &b) in ours.iter().zip(theirs) {
        difference += f64::from(a - b).powi(2);
        norm += f64::from(b).powi(2);
    }
    (difference / norm).sqrt()
}

/// The run of `golden_b_finetune.py`: MiniLM on Banking77 with the pooler's head, dropout 0, AdamW,
/// warm-up, clipping. Every gradient of step 0, then loss, norm and rate of 100 steps, then logits.
#[test]
fn a_hundred_steps_beside_pytorch() {
    let Some(shared) = shared() else { return };
    let open = |name: &str| SafeTensors::open(shared.join("golden").join(name)).unwrap();
    let (init, grads0) = (open("b_init.safetensors"), open("b_grads_step0.safetensors"));
    let truth = open("b_trajectory.safetensors");

    let model = shared.join("models/minilm");
    let pretrained = Pretrained::open(model.to_str().unwrap()).unwrap();
    let mut config = pretrained.config.clone();
    config.hidden_dropout_prob = 0.0;
    config.attention_probs_dropout_prob = 0.0;
    config.classifier_dropout = Some(0.0);
    let data = Dataset::open(shared.join("data/banking77"), &Columns::default()).unwrap();
    let encode = |text: &str| pretrained.tokenizer.encode(text, None, 64).unwrap();
    let train: Vec<Encoding> = data.train.examples.iter().map(|e| encode(&e.text)).collect();

    let store = pretrained.store(0);
    let model = SequenceClassifier::new(&store.root(), &config, Pooling::Cls, 77).unwrap();
    for name in ["classifier.weight", "classifier.bias"] {
        store.get(name).unwrap().set(init.tensor(name).unwrap()).unwrap();
    }
    let mut optimizer =
        AdamW::with_groups(param_groups(&store.parameters(), 5e-5, None, |_| false, 0.01)).unwrap();
    let schedule = Schedule::linear(10, 100);
    let indices = init.tensor("batch_indices").unwrap().to_vec::<u32>().unwrap();
    let labels = init.tensor("batch_labels").unwrap().to_vec::<u32>().unwrap();
    let (losses, norms) = (truth.tensor("loss").unwrap(), truth.tensor("grad_norm").unwrap());
    let (losses, norms) = (losses.to_f64_vec(), norms.to_f64_vec());

    let (mut worst_loss, mut worst_norm) = (0f64, 0f64);
    for step in 0..100 {
        let rows = step * 32..(step + 1) * 32;
        let batch = indices[rows.clone()].iter().map(|&i| &train[i as usize]);
        let input = EncoderInput::new(&PackedBatch::new(batch, &config).unwrap()).unwrap();
        let targets = Tensor::from_slice(&labels[rows], &[32]).unwrap();
        let logits = model.forward(&input, &Forward::training(0, step as u64)).unwrap();
        let loss = logits.cross_entropy(&targets, &CrossEntropy::default()).unwrap();
        let grads = loss.backward().unwrap();
        if step == 0 {
            gradients_agree(&store, &grads, &grads0);
        }
        let clip = clip_grad_norm(&grads, &store.parameters(), 1.0).unwrap();
        let (loss, norm) = (loss.item().unwrap(), clip.norm.item().unwrap());
        drop(logits);
        worst_loss = worst_loss.max((loss - losses[step]).abs());
        worst_norm = worst_norm.max((norm / norms[step] - 1.0).abs());
        assert!((loss - losses[step]).abs() < 1e-4, "step {step}: {loss} and {}", losses[step]);
        optimizer.step_scaled(&grads, schedule.factor(step as u64), Some(&clip.scale)).unwrap();
    }
    eprintln!("100 steps: loss within {worst_loss:.1e}, norm within {worst_norm:.1e} relative");
    assert!(worst_norm < 1e-3);
    logits_agree(&model, &config, &truth);
}

/// Compares the gradients of the first step with PyTorch's.
fn gradients_agree(store: &Store, grads: &Gradients, truth: &SafeTensors) {
    let mut worst = (0f64, String::new());
    for parameter in store.parameters() {
        let name = parameter.name();
        let ours = parameter.grad(grads).unwrap_or_else(|| panic!("no gradient: {name}"));
        let (ours, theirs) = if name.ends_with("word_embeddings.weight") {
            let rows = truth.tensor(&format!("grad_rows.{name}")).unwrap();
            let all = ours.abs().unwrap().sum(&[1], false).unwrap();
            let zero = Tensor::scalar(0f32);
            let count = all.ne(&zero).unwrap().sum(&[], false).unwrap().item().unwrap();
            assert_eq!(count as usize, rows.numel(), "rows with a gradient");
            let sparse = truth.tensor(&format!("grad_sparse.{name}")).unwrap();
            (ours.index_select(0, &rows).unwrap(), sparse)
        } else {
            (ours.clone(), truth.tensor(&format!("grad.{name}")).unwrap())
        };
        let (ours, theirs) = (ours.to_vec().unwrap(), theirs.to_vec::<f32>().unwrap());
        if name.ends_with("key.bias") {
            // Softmax ignores a shift: the true gradient is 0.
            assert!(ours.iter().all(|g: &f32| g.abs() < 1e-5), "{name}");
            continue;
        }
        let error = relative(&ours, &theirs);
        assert!(error < 1e-4, "{name}: relative error {error:.2e}");
        if error > worst.0 {
            worst = (error, name.to_string());
        }
    }
    let (worst, name) = worst;
    eprintln!("gradients of step 0: worst relative error {worst:.1e} ({name})");
}

/// Compares the logits of the trained model with PyTorch's.
fn logits_agree(model: &SequenceClassifier, config: &EncoderConfig, truth: &SafeTensors) {
    let ids = truth.tensor("test_input_ids").unwrap();
    let (shape, ids) = (ids.shape().to_vec(), ids.to_vec::<u32>().unwrap());
    let mask = truth.tensor("test_attention_mask").unwrap().to_vec::<u32>().unwrap();
    let types = vec![0u32; shape[1]];
    let parts: Vec<&[u32]> = (0..shape[0])
        .map(|i| {
            let length = mask[i * shape[1]..(i + 1) * shape[1]].iter().sum::<u32>() as usize;
            &ids[i * shape[1]..i * shape[1] + length]
        })
        .collect();
    let parts = parts.iter().map(|ids| (*ids, &types[..ids.len()]));
    let input = EncoderInput::new(&PackedBatch::from_parts(parts, config).unwrap()).unwrap();
    let logits = model.forward(&input, &Forward::inference()).unwrap();
    let theirs = truth.tensor("test_logits_after").unwrap();
    let worst = logits.tensor().sub(&theirs).unwrap().abs().unwrap().max(&[], false).unwrap();
    eprintln!("logits after 100 steps: within {:.1e}", worst.item().unwrap());
    assert!(worst.item().unwrap() < 1e-3);
}

fn bits(trainer: &Trainer<Classification>) -> Vec<(String, Vec<u32>)> {
    trainer
        .store()
        .parameters()
        .iter()
        .map(|p| {
            let values = p.tensor().to_vec::<f32>().unwrap();
            (p.name().to_string(), values.into_iter().map(f32::to_bits).collect())
        })
        .collect()
}

#[test]
fn the_same_bits_for_every_number_of_threads() {
    let train = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let recipe = Recipe { steps: Some(20), batch_size: 64, lr: 1e-3, ..Recipe::default() };
            let mut trainer = small_trainer(recipe);
            run(&mut trainer, 20);
            bits(&trainer)
        })
    };
    let one = train(1);
    for threads in [2, 3] {
        for ((name, a), (_, b)) in one.iter().zip(train(threads)) {
            assert!(*a == b, "{name} differs between 1 and {threads} threads");
        }
    }
}

/// With SGD, whose step is the gradient. Adam divides by the gradient's size, which for a gradient
/// near 0 is all rounding.
#[test]
fn accumulation_equals_a_large_batch() {
    // 30 examples are one step of both, the last batch of the second a short one.
    let run = |batch_size, accumulate| {
        let optimizer = OptimizerKind::Sgd;
        let (lr, warmup) = (1.0, 0.0);
        let recipe = Recipe {
            steps: Some(1),
            batch_size,
            accumulate,
            optimizer,
            lr,
            warmup,
            ..Recipe::default()
        };
        let mut trainer = trainer(recipe, 30, 0.0);
        let step = trainer.step().unwrap().unwrap();
        assert_eq!((step.examples, step.ends_epoch), (30, true));
        let weights: Vec<f64> =
            trainer.store().parameters().iter().flat_map(|p| p.tensor().to_f64_vec()).collect();
        (step.loss.item().unwrap(), step.grad_norm.item().unwrap(), weights)
    };
    let (loss, norm, weights) = run(32, 1);
    for (batch_size, accumulate) in [(8, 4), (1, 30)] {
        let (parts_loss, parts_norm, parts) = run(batch_size, accumulate);
        assert!((loss - parts_loss).abs() < 1e-6, "{loss} and {parts_loss}");
        assert!((norm / parts_norm - 1.0).abs() < 1e-5, "{norm} and {parts_norm}");
        let worst = weights.iter().zip(&parts).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(worst < 1e-6, "{batch_size}·{accumulate}: {worst:.1e}");
    }
}

#[test]
fn resuming_goes_on_bit_for_bit() {
    let recipe = || Recipe { steps: Some(12), batch_size: 16, lr: 1e-3, ..Recipe::default() };
    let mut whole = small_trainer(recipe());
    run(&mut whole, 12);

    let folder = tempfile::tempdir().unwrap();
    let mut first = small_trainer(recipe());
    run(&mut first, 7);
    let checkpoint = save(&first, folder.path());
    drop(first);

    let mut second = small_trainer(recipe());
    load_weights(&second, &checkpoint);
    second.resume(&checkpoint).unwrap();
    assert_eq!(second.steps_done(), 7);
    run(&mut second, 5);
    assert!(second.step().unwrap().is_none(), "the run is over");
    assert!(bits(&second) == bits(&whole));

    let mut other = small_trainer(Recipe { lr: 2e-3, ..recipe() });
    let error = other.resume(&checkpoint).unwrap_err().to_string();
    assert!(error.contains("another recipe"), "{error}");
}
