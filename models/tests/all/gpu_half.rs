//! BERT in mixed precision on a GPU: fine-tuning compared with f32, overflow, resuming, embeddings.
//!
//! Without an adapter, or without what they need of `GRADUS_SHARED`, the tests say that they are
//! skipped; with `GRADUS_REQUIRE_GPU=1` there must be an adapter.

use crate::common::{load_weights, reference_embeddings, run, save, trainer_on};
use gradus_autograd::no_grad;
use gradus_models::Precision;
use gradus_models::pipelines::TextEmbedder;
use gradus_models::tasks::Classification;
use gradus_models::training::{Recipe, Task, Trainer};
use gradus_nn::Forward;
use gradus_tensor::{DType, Device, Tensor};
use gradus_testing::{gpu, shared};

fn task(device: Device, precision: Precision) -> Trainer<Classification> {
    let recipe =
        Recipe { steps: Some(20), batch_size: 16, lr: 5e-3, precision, ..Recipe::default() };
    trainer_on(device, recipe, 16, 0.1)
}

/// Loss, norm of the gradients and verdict of some steps.
fn steps(trainer: &mut Trainer<Classification>, count: usize) -> Vec<(f64, f64, Vec<f64>)> {
    let one = |_| {
        let step = trainer.step().unwrap().unwrap();
        let verdict = step.verdict.to_f64_vec();
        (step.loss.item().unwrap(), step.grad_norm.item().unwrap(), verdict)
    };
    (0..count).map(one).collect()
}

#[test]
fn twenty_steps_follow_f32() {
    let Some(gpu) = gpu() else { return };
    // On the CPU, which f32 on the GPU follows within 1e-4.
    let truth = steps(&mut task(Device::Cpu, Precision::F32), 20);
    let mut trainer = task(gpu, Precision::F16);
    let ours = steps(&mut trainer, 20);
    let (mut worst, mut worst_norm) = (0f64, 0f64);
    for (step, ((loss, norm, verdict), (a, a_norm, _))) in ours.iter().zip(&truth).enumerate() {
        worst = worst.max((loss / a - 1.0).abs());
        worst_norm = worst_norm.max((norm / a_norm - 1.0).abs());
        assert!((loss / a - 1.0).abs() < 1e-2, "step {step}: {loss}, in f32 {a}");
        assert_eq!((verdict[1], verdict[4]), (0.0, 65536.0), "step {step}: nothing overflows");
    }
    eprintln!("20 steps in f16: loss within {worst:.1e} of f32, norm within {worst_norm:.1e}");
    // Too far from f32 to be f32, near enough to be the same run.
    assert!(worst > 1e-7 && worst_norm < 5e-2, "{worst:.1e} {worst_norm:.1e}");
    let mean = |part: &[(f64, f64, Vec<f64>)]| part.iter().map(|s| s.0).sum::<f64>() / 5.0;
    let (first, last) = (mean(&ours[..5]), mean(&ours[15..]));
    assert!(last < 0.5 * first, "the loss goes from {first} to {last}");
    // Parameters are f32; the result of a product is f16 inside, and f32 for the reader.
    assert!(trainer.store().parameters().iter().all(|p| p.dtype() == DType::F32));
    let forward = Forward::inference();
    let loss = no_grad(|| Precision::F16.run(|| trainer.task().loss(&[0, 1], &forward))).unwrap();
    assert_eq!(loss.dtype(), DType::F32);
}

#[test]
fn an_overflow_skips_the_step_and_the_run_recovers() {
    let Some(gpu) = gpu() else { return };
    let mut trainer = task(gpu, Precision::F16);
    let state = |scale: f64| [scale, 0.0, 0.0];
    trainer.scaler_mut().unwrap().load_state(state(2f64.powi(40))).unwrap();
    let values = |trainer: &Trainer<Classification>| -> Vec<Vec<f32>> {
        trainer.store().parameters().iter().map(|p| p.tensor().to_vec().unwrap()).collect()
    };
    let before = values(&trainer);
    let first = steps(&mut trainer, 1).remove(0);
    assert!(first.0.is_finite() && !first.1.is_finite(), "{first:?}");
    assert_eq!((first.2[1], first.2[2]), (1.0, 0.0));
    assert!(values(&trainer) == before, "a skipped step changes nothing");
    // The scale is halved until the gradients fit; from then on every step counts.
    let more = steps(&mut trainer, 5);
    assert!(more.iter().all(|s| s.2[1] == 1.0), "2⁴⁰ is more than f16 holds, 2³⁵ too");
    trainer.scaler_mut().unwrap().load_state(state(2f64.powi(16))).unwrap();
    let later = steps(&mut trainer, 2);
    assert!(later.iter().all(|s| s.2[1] == 0.0 && s.1.is_finite()), "{later:?}");
    let after = values(&trainer);
    assert!(after != before && after.iter().flatten().all(|x| x.is_finite()));
}

#[test]
fn a_resumed_run_goes_on_bit_for_bit() {
    let Some(gpu) = gpu() else { return };
    let start = || {
        let mut trainer = task(gpu, Precision::F16);
        // The first steps overflow.
        trainer.scaler_mut().unwrap().load_state([2f64.powi(22), 0.0, 0.0]).unwrap();
        trainer
    };
    let truth = steps(&mut start(), 6);
    let skipped = truth.iter().filter(|s| s.2[1] == 1.0).count();
    let folder = tempfile::tempdir().unwrap();
    let mut first = start();
    run(&mut first, 4);
    let checkpoint = save(&first, folder.path());
    let mut second = task(gpu, Precision::F16);
    load_weights(&second, &checkpoint);
    second.resume(&checkpoint).unwrap();
    let after = steps(&mut second, 2);
    assert_eq!(format!("{after:?}"), format!("{:?}", &truth[4..]), "{skipped} steps were skipped");
    assert!((1..6).contains(&skipped), "{truth:?}");
    // In another precision it is another run.
    let error = task(gpu, Precision::F32).resume(&checkpoint).unwrap_err().to_string();
    assert!(error.contains("another recipe") && error.contains("f16"), "{error}");
}

#[test]
fn embeddings_of_reference_sentences() {
    let (Some(shared), Some(gpu)) = (shared(), gpu()) else { return };
    let (sentences, theirs) = reference_embeddings(&shared);
    // The four shortest: software Vulkan takes seconds for the others.
    let mut order: Vec<usize> = (0..sentences.len()).collect();
    order.sort_by_key(|&i| sentences[i].len());
    let order = &order[..4];
    let ids: Vec<u32> = order.iter().map(|&i| i as u32).collect();
    let theirs = theirs.index_select(0, &Tensor::from_slice(&ids, &[4]).unwrap()).unwrap();
    let sentences: Vec<&str> = order.iter().map(|&i| sentences[i].as_str()).collect();
    let model = shared.join("models/minilm");
    let mut embedder = TextEmbedder::open(model.to_str().unwrap(), None, true).unwrap();
    let refused = embedder.set_precision(Precision::F16).unwrap_err().to_string();
    assert!(refused.contains("GPUs only"), "{refused}");
    embedder.to_device(gpu).unwrap();
    embedder.set_precision(Precision::F16).unwrap();
    let ours = embedder.embed(&sentences).unwrap();
    // Both are of length 1.
    let cosines = ours.mul(&theirs).unwrap().sum(&[1], false).unwrap();
    let least = cosines.min(&[], false).unwrap().item().unwrap();
    let distance = ours.sub(&theirs).unwrap().abs().unwrap().max(&[], false).unwrap();
    let distance = distance.item().unwrap();
    eprintln!("embeddings in f16: cosine {least:.6} or more, within {distance:.1e}");
    assert!(least > 0.999 && distance > 1e-6, "{least} {distance}");
}
