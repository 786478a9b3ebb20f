//! The cost of training steps on a GPU besides the kernels: in a steady state they allocate
//! nothing, and changing shapes do not make memory grow. Alone in its process, because it watches
//! the device's counters.

mod common;

use common::trainer_on;
use gradus_autograd::Var;
use gradus_models::tasks::Classification;
use gradus_models::training::{OptimizerKind, Recipe, Trainer};
use gradus_models::{
    EncoderConfig, EncoderInput, Labels, PackedBatch, Pooling, Precision, SequenceClassifier,
};
use gradus_nn::{AdamW, CrossEntropy, Forward, Optimizer, Store, clip_grad_norm, param_groups};
use gradus_tensor::{DType, Device, GpuCounters, RngKey, Tensor};
use gradus_testing::gpu;

fn counters(device: Device) -> GpuCounters {
    device.counters().unwrap().expect("a GPU counts")
}

/// A step whose loss and norm are read, as `train` does.
fn step(trainer: &mut Trainer<Classification>) -> (f32, f32) {
    let step = trainer.step().unwrap().expect("the run is long enough");
    let both = Tensor::stack(&[&step.loss, &step.grad_norm], 0).unwrap();
    let both = both.read_later().unwrap().wait().unwrap().to_vec::<f32>().unwrap();
    (both[0], both[1])
}

/// One after the other; the one that watches the peak comes first.
#[test]
fn a_steady_state_makes_nothing_and_memory_does_not_grow() {
    let Some(device) = gpu() else { return };
    changing_shapes(device);
    many_classes(device);
    steady_state(device);
}

/// Every batch has all examples, so all steps have one shape: forward, backward with dropout,
/// clipping, AdamW (or gradient descent) and the reading of loss and norm.
fn steady_state(device: Device) {
    let f32 = Precision::F32;
    let kinds = [(OptimizerKind::AdamW, f32), (OptimizerKind::Sgd, f32)];
    for (optimizer, precision) in kinds.into_iter().chain([(OptimizerKind::AdamW, Precision::F16)])
    {
        let recipe =
            Recipe { steps: Some(20), batch_size: 12, optimizer, precision, ..Recipe::default() };
        let mut trainer = trainer_on(device, recipe, 12, 0.1);
        for _ in 0..4 {
            step(&mut trainer);
        }
        let before = counters(device);
        let steps = 5;
        for _ in 0..steps {
            step(&mut trainer);
        }
        let after = counters(device);
        let parameters = trainer.store().parameters().len() as u64;
        let a_step = |f: fn(&GpuCounters) -> u64| (f(&after) - f(&before)) as f64 / steps as f64;
        eprintln!(
            "{optimizer:?} in {precision}: {parameters} parameters; a step: {} dispatches, {} submits, {} passes, {} uploads",
            a_step(|c| c.dispatches),
            a_step(|c| c.submits),
            a_step(|c| c.passes),
            a_step(|c| c.uploads)
        );
        assert_eq!(
            after.buffers, before.buffers,
            "{optimizer:?} in {precision}: buffers were made"
        );
        assert_eq!(
            after.bind_groups, before.bind_groups,
            "{optimizer:?} in {precision}: bind groups were made"
        );
        assert_eq!(
            after.pipelines, before.pipelines,
            "{optimizer:?} in {precision}: kernels were compiled"
        );
        assert_eq!(
            after.passes - before.passes,
            steps,
            "{optimizer:?} in {precision}: one pass a step"
        );
        assert!(
            after.submits - before.submits <= 2 * steps,
            "{optimizer:?} in {precision}: submits"
        );
    }
}

/// The loss of a head with many classes: its logits, 16 MiB, never exist all at once.
fn many_classes(device: Device) {
    let (n, width, classes) = (1024, 16, 4096);
    let random = |shape: &[usize], seed| {
        let x = Tensor::randn(shape, DType::F32, RngKey::new(seed)).unwrap();
        Var::leaf(x.to_device(device).unwrap())
    };
    let (x, w) = (random(&[n, width], 1), random(&[classes, width], 2));
    let targets = Tensor::randint(0, classes as u32, &[n], RngKey::new(3)).unwrap();
    let targets = targets.to_device(device).unwrap();
    let options = CrossEntropy::default();
    let growth = |f: &dyn Fn() -> Var| {
        let before = counters(device);
        let grads = f().backward().unwrap();
        let sum = grads.get(&w).unwrap().square().unwrap().sum(&[], false).unwrap();
        let sum = sum.item().unwrap();
        let after = counters(device);
        (after.peak_live_bytes.saturating_sub(before.live_bytes), sum)
    };
    let (parts, a) = growth(&|| x.linear_cross_entropy(&w, None, &targets, &options, 64).unwrap());
    let (whole, b) =
        growth(&|| x.linear(&w, None).unwrap().cross_entropy(&targets, &options).unwrap());
    let logits = (n * classes * 4) as u64;
    eprintln!(
        "logits of {logits} bytes: {parts} bytes at most with 64 rows at a time, {whole} with all"
    );
    assert!((a / b - 1.0).abs() < 1e-5, "{a} and {b}");
    assert!(parts < logits / 2 && whole > logits);
}

/// 1,000 steps over batches of every size and length, of a small model: the test watches the pool.
fn changing_shapes(device: Device) {
    let (most, longest) = (6, 12);
    let mut config = EncoderConfig::new(50, 1, 32, 2, 64);
    config.set_labels(&Labels::from_names(vec!["no".into(), "yes".into()]).unwrap());
    let store = Store::new(0);
    store.to_device(device).unwrap();
    let model = SequenceClassifier::new(&store.root(), &config, Pooling::Cls, 2).unwrap();
    let parameters = store.parameters();
    let mut optimizer =
        AdamW::with_groups(param_groups(&parameters, 1e-4, None, |_| false, 0.01)).unwrap();
    let mut one = |step: u64, lengths: &[usize]| {
        let ids: Vec<u32> = (0..longest as u32).collect();
        let parts = lengths.iter().map(|&n| (&ids[..n], &[0; 12][..n]));
        let input = EncoderInput::new(&PackedBatch::from_parts(parts, &config).unwrap()).unwrap();
        let input = input.to_device(device).unwrap();
        let targets = Tensor::full(&[lengths.len()], 1.0, DType::U32).unwrap();
        let targets = targets.to_device(device).unwrap();
        let logits = model.forward(&input, &Forward::training(0, step)).unwrap();
        let loss = logits.cross_entropy(&targets, &CrossEntropy::default()).unwrap();
        let grads = loss.backward().unwrap();
        let clip = clip_grad_norm(&grads, &parameters, 1.0).unwrap();
        optimizer.step_scaled(&grads, 1.0, Some(&clip.scale)).unwrap();
        if step.is_multiple_of(10) {
            assert!(loss.item().unwrap().is_finite());
        }
    };
    (0..3).for_each(|step| one(step, &[longest; 6]));
    device.synchronize().unwrap();
    let largest = counters(device);
    let start = std::time::Instant::now();
    for step in 0..1000 {
        let random = |i| RngKey::new(step).place("shape").step(i).0 as usize;
        let lengths: Vec<usize> =
            (0..1 + random(0) % most).map(|i| 1 + random(1 + i as u64) % longest).collect();
        one(step, &lengths);
    }
    device.synchronize().unwrap();
    let after = counters(device);
    let mib = |bytes: u64| bytes as f64 / (1 << 20) as f64;
    eprintln!(
        "the largest step: {:.2} MiB in use, {:.2} held; after 1,000 steps of other shapes {:.2} held, at \
         most {:.2}, {} buffers made ({:.1?})",
        mib(largest.peak_live_bytes),
        mib(largest.held_bytes),
        mib(after.held_bytes),
        mib(after.peak_held_bytes),
        after.buffers - largest.buffers,
        start.elapsed()
    );
    assert!(after.peak_held_bytes as f64 <= 1.2 * largest.held_bytes as f64);
}
