//! A training run between the model's operations: the order of the examples, dropout, rate, decay,
//! weights and clipping, on a task so small that every number is known.

use std::sync::{Arc, Mutex};

use crate::common::plain;
use gradus_autograd::Var;
use gradus_models::batch::shuffled_batches;
use gradus_models::evaluation::Examiner;
use gradus_models::training::{
    Evaluation, Every, Metric, OptimizerKind, Recipe, ScheduleKind, SessionOptions, Task, Trainer,
};
use gradus_models::{Error, Result};
use gradus_nn::{Forward, Init, Schedule, Store};

/// A batch that the trainer asked for.
type Seen = (Vec<usize>, Forward);

/// The loss is the mean over the batch of w·value, plus 0 times everything: so the gradient of w is
/// the mean of the values, and every other parameter has the gradient 0.
struct Means {
    store: Store,
    values: Vec<f32>,
    lengths: Vec<usize>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

const NAMES: [&str; 6] = [
    "encoder.dense.weight",
    "encoder.dense.bias",
    "encoder.LayerNorm.weight",
    "encoder.LayerNorm.bias",
    "classifier.weight",
    "classifier.bias",
];

impl Means {
    fn new(examples: usize) -> (Means, Store, Arc<Mutex<Vec<Seen>>>) {
        let store = Store::new(0);
        for name in ["w"].iter().chain(&NAMES) {
            store.root().parameter(name, &[1], Init::Ones).unwrap();
        }
        let seen = Arc::default();
        let task = Means {
            store: store.clone(),
            values: (0..examples).map(|i| i as f32).collect(),
            lengths: (0..examples).map(|i| 1 + i * 7 % 5).collect(),
            seen: Arc::clone(&seen),
        };
        (task, store, seen)
    }
}

impl Task for Means {
    type Set = ();
    type Findings = ();

    fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    fn loss(&self, batch: &[usize], forward: &Forward) -> Result<Var> {
        self.seen.lock().unwrap().push((batch.to_vec(), *forward));
        let mean = batch.iter().map(|&i| self.values[i]).sum::<f32>() / batch.len() as f32;
        let mut loss = self.store.get("w").unwrap().var().mul_scalar(mean as f64)?;
        for name in NAMES {
            loss = loss.add(&self.store.get(name).unwrap().var().mul_scalar(0.0)?)?;
        }
        Ok(loss.sum_all()?)
    }

    fn is_head(&self, name: &str) -> bool {
        name.starts_with("classifier.")
    }

    fn metrics(&self) -> &'static [Metric] {
        &[]
    }

    fn examine(&self, _: &(), _: &mut dyn Examiner) -> Result<(Evaluation, ())> {
        Ok((Evaluation::new(0, 0.0, []), ()))
    }
}

fn value(store: &Store, name: &str) -> f64 {
    store.get(name).unwrap().tensor().to_f64_vec()[0]
}

fn run(recipe: Recipe, examples: usize) -> (Vec<gradus_models::training::Step>, Store, Vec<Seen>) {
    let (task, store, seen) = Means::new(examples);
    let mut trainer = Trainer::new(task, store.clone(), recipe).unwrap();
    let mut steps = Vec::new();
    while let Some(step) = trainer.step().unwrap() {
        steps.push(step);
    }
    let seen = seen.lock().unwrap().clone();
    (steps, store, seen)
}

#[test]
fn a_field_out_of_its_range_is_named() {
    let field = |recipe: Recipe| match recipe.validate() {
        Err(Error::Recipe { field, .. }) => field,
        other => panic!("{other:?}"),
    };
    assert_eq!(field(Recipe { lr: -1.0, ..plain() }), "lr");
    assert_eq!(field(Recipe { head_lr: Some(f64::NAN), ..plain() }), "head_lr");
    assert_eq!(field(Recipe { warmup: f64::INFINITY, ..plain() }), "warmup");
    assert_eq!(field(Recipe { batch_size: 0, ..plain() }), "batch_size");
    assert_eq!(field(Recipe { accumulate: 0, ..plain() }), "accumulate");
    assert_eq!(field(Recipe { steps: Some(0), ..plain() }), "steps");
    assert_eq!(field(Recipe { steps: None, epochs: 0, ..plain() }), "epochs");
    let error = Recipe { lr: -1.0, ..plain() }.validate().unwrap_err().to_string();
    assert_eq!(error, "[recipe] lr is -1; it must be 0 or more");
}

#[test]
fn an_option_of_a_session_that_is_0_is_named() {
    let field = |options: SessionOptions| match options.validate() {
        Err(Error::Recipe { field, .. }) => field,
        other => panic!("{other:?}"),
    };
    let plain = SessionOptions::default;
    assert_eq!(field(SessionOptions { eval_every: Some(0), ..plain() }), "eval_every");
    assert_eq!(
        field(SessionOptions { save_every: Some(Every::Steps(0)), ..plain() }),
        "save_every"
    );
    assert_eq!(field(SessionOptions { keep: 0, ..plain() }), "keep");
    assert_eq!(field(SessionOptions { early_stop: Some(0), ..plain() }), "early_stop");
    plain().validate().unwrap();
}

/// A recipe in a file says the schedule by its name, as the flag does.
#[test]
fn a_schedule_is_written_by_its_name() {
    for name in ["linear", "cosine", "constant"] {
        let recipe = Recipe { schedule: name.parse().unwrap(), ..plain() };
        let written = serde_json::to_value(&recipe).unwrap();
        assert_eq!(written["schedule"], name);
        assert_eq!(serde_json::from_value::<Recipe>(written).unwrap(), recipe);
    }
    let steps = ScheduleKind::Step { every: 3, gamma: 0.5 };
    let written = serde_json::to_value(Recipe { schedule: steps, ..plain() }).unwrap();
    assert_eq!(written["schedule"], serde_json::json!({"step": {"every": 3, "gamma": 0.5}}));
    assert_eq!(serde_json::from_value::<Recipe>(written).unwrap().schedule, steps);
    let error = "polynomial".parse::<ScheduleKind>().unwrap_err().to_string();
    assert!(error.contains("linear, cosine, constant"), "{error}");
}

#[test]
fn every_epoch_has_every_example_once_in_another_order() {
    let recipe = Recipe { steps: None, epochs: 4, batch_size: 8, seed: 5, ..plain() };
    let (steps, _, seen) = run(recipe, 50);
    assert_eq!((steps.len(), seen.len()), (4 * 7, 4 * 7));
    let order: Vec<Vec<usize>> = seen
        .chunks(7)
        .map(|epoch| epoch.iter().flat_map(|(batch, _)| batch.clone()).collect())
        .collect();
    for (epoch, order) in order.iter().enumerate() {
        let mut sorted = order.clone();
        sorted.sort();
        assert_eq!(sorted, (0..50).collect::<Vec<_>>(), "epoch {epoch}");
    }
    for (i, a) in order.iter().enumerate() {
        for b in &order[i + 1..] {
            assert_ne!(a, b, "two epochs have one order");
        }
    }
    // Each is that of (seed, epoch), batch for batch.
    for (epoch, seen) in seen.chunks(7).enumerate() {
        let batches = shuffled_batches(50, 8, 5, epoch as u64).unwrap();
        assert_eq!(seen.iter().map(|(batch, _)| batch.clone()).collect::<Vec<_>>(), batches);
    }
    let other = run(Recipe { steps: Some(7), batch_size: 8, seed: 6, ..plain() }, 50).2;
    assert_ne!(seen[0].0, other[0].0, "another seed, another order");
}

#[test]
fn steps_tell_what_they_saw() {
    let recipe = Recipe { steps: None, epochs: 2, batch_size: 4, accumulate: 2, ..plain() };
    let (steps, _, seen) = run(recipe, 18);
    // Five batches an epoch, the last of two examples; three steps of them.
    let examples: Vec<usize> = steps.iter().map(|s| s.examples).collect();
    assert_eq!(examples.iter().sum::<usize>(), 36);
    assert_eq!(
        steps.iter().map(|s| s.ends_epoch).collect::<Vec<_>>(),
        [false, false, true, false, false, true]
    );
    let epochs: Vec<f64> = steps.iter().map(|s| s.epoch).collect();
    assert!((epochs[0] - 1.0 / 3.0).abs() < 1e-12 && epochs[5] == 2.0, "{epochs:?}");
    let mut batches = seen.iter();
    for (i, step) in steps.iter().enumerate() {
        let own: Vec<usize> = batches
            .by_ref()
            .take(if i % 3 == 2 { 1 } else { 2 })
            .flat_map(|(b, _)| b.clone())
            .collect();
        assert_eq!(step.examples, own.len());
        assert_eq!(step.tokens, own.iter().map(|i| 1 + i * 7 % 5).sum::<usize>());
        assert_eq!(step.step, i as u64 + 1);
    }
}

/// Every batch has a dropout of its own, told by (seed, number of the batch).
#[test]
fn every_batch_has_its_own_dropout() {
    let recipe = Recipe { steps: Some(5), batch_size: 2, accumulate: 3, seed: 9, ..plain() };
    let (_, _, seen) = run(recipe, 40);
    let passes: Vec<Forward> = seen.iter().map(|(_, forward)| *forward).collect();
    assert_eq!(passes, (0..15).map(|i| Forward::training(9, i)).collect::<Vec<_>>());
    for (i, a) in passes.iter().enumerate() {
        assert!(a.training && passes[i + 1..].iter().all(|b| a.key != b.key));
    }
}

/// Batches of different sizes: the step's loss and gradient are the mean over its examples.
#[test]
fn accumulated_batches_weigh_by_their_examples() {
    for (batch_size, accumulate) in [(4, 3), (10, 1), (3, 4), (1, 10)] {
        let (steps, store, _) = run(Recipe { batch_size, accumulate, ..plain() }, 10);
        assert_eq!(steps[0].examples, 10);
        // The mean of 0..10 is 4.5.
        assert!((steps[0].loss.item().unwrap() - 4.5).abs() < 1e-6);
        assert!((steps[0].grad_norm.item().unwrap() - 4.5).abs() < 1e-6);
        assert!((value(&store, "w") - (1.0 - 0.1 * 4.5)).abs() < 1e-6, "{batch_size}·{accumulate}");
    }
}

#[test]
fn gradients_are_clipped_by_their_norm() {
    for (clip_norm, scale) in [(0.0, 1.0), (1.0, 1.0 / 4.5), (2.0, 2.0 / 4.5), (5.0, 1.0)] {
        let (steps, store, _) = run(Recipe { batch_size: 10, clip_norm, ..plain() }, 10);
        let moved = 1.0 - value(&store, "w");
        assert!((moved - 0.1 * 4.5 * scale).abs() < 1e-5, "{clip_norm}: {moved}");
        let norm = steps[0].grad_norm.item().unwrap();
        assert!((norm - 4.5).abs() < 1e-6, "the norm is that before clipping");
    }
}

/// Weight decay takes a share of weights, not of biases and layer norms; the head's at the head's
/// rate.
#[test]
fn decay_and_rates_by_group() {
    for (optimizer, head_lr) in [
        (OptimizerKind::AdamW, None),
        (OptimizerKind::AdamW, Some(0.3)),
        (OptimizerKind::Sgd, Some(0.3)),
    ] {
        let recipe = Recipe { weight_decay: 0.5, head_lr, optimizer, ..plain() };
        let (_, store, _) = run(recipe, 4);
        let decayed = |lr: f64| 1.0 - lr * 0.5;
        for (name, truth) in [
            ("encoder.dense.weight", decayed(0.1)),
            ("encoder.dense.bias", 1.0),
            ("encoder.LayerNorm.weight", 1.0),
            ("encoder.LayerNorm.bias", 1.0),
            ("classifier.weight", decayed(head_lr.unwrap_or(0.1))),
            ("classifier.bias", 1.0),
        ] {
            let ours = value(&store, name);
            assert!(
                (ours - truth).abs() < 1e-6,
                "{name}: {ours}, should be {truth}, {optimizer:?}"
            );
        }
    }
    // In Adam the decay is part of the gradient, whose size Adam takes away: a step of lr.
    let recipe = Recipe { weight_decay: 0.5, optimizer: OptimizerKind::Adam, ..plain() };
    let (_, store, _) = run(recipe, 4);
    assert!((value(&store, "encoder.dense.weight") - 0.9).abs() < 1e-6);
}

#[test]
fn optimisers_are_those_that_are_asked_for() {
    let moves = |optimizer| {
        let (_, store, _) =
            run(Recipe { steps: Some(2), batch_size: 10, optimizer, ..plain() }, 10);
        1.0 - value(&store, "w")
    };
    // The gradient is 4.5: the second step adds 0.9 of the first as momentum.
    assert!((moves(OptimizerKind::Sgd) - 0.1 * 4.5 * (1.0 + 1.9)).abs() < 1e-5);
    // Adam's step is the rate, for any gradient.
    assert!((moves(OptimizerKind::Adam) - 0.2).abs() < 1e-5);
    assert!((moves(OptimizerKind::AdamW) - 0.2).abs() < 1e-5);
}

/// The rate of every step: the one that is told, and the one that moves the weights.
#[test]
fn rates_follow_warm_up_and_schedule() {
    let half_cosine = |x: f64| 0.5 * (1.0 + (std::f64::consts::PI * x).cos());
    type Factor = Box<dyn Fn(f64) -> f64>;
    let cases: [(ScheduleKind, f64, u64, Factor); 6] = [
        (ScheduleKind::Constant, 0.0, 0, Box::new(|_| 1.0)),
        (ScheduleKind::Linear, 0.0, 0, Box::new(|x| 1.0 - x)),
        // A share of all steps; from 1 on a number of steps.
        (ScheduleKind::Linear, 0.2, 2, Box::new(|x| 1.0 - x)),
        (ScheduleKind::Linear, 4.0, 4, Box::new(|x| 1.0 - x)),
        (Schedule::cosine(0, 0).kind, 3.0, 3, Box::new(half_cosine)),
        (ScheduleKind::Constant, 0.5, 5, Box::new(|_| 1.0)),
    ];
    for (schedule, warmup, warm, after) in cases {
        let recipe = Recipe { steps: Some(10), batch_size: 10, schedule, warmup, ..plain() };
        // Without momentum, so that every step shows its rate: a run of each length.
        let (steps, _, _) = run(recipe, 10);
        for (i, step) in steps.iter().enumerate() {
            let i = i as f64;
            let factor = match warm as f64 {
                warm if i < warm => i / warm,
                warm => after((i - warm) / (10.0 - warm)),
            };
            let told = step.lr;
            assert!((told - 0.1 * factor).abs() < 1e-12, "{schedule:?} {warmup}, step {i}: {told}");
        }
    }
    // AdamW moves w by the sum of the rates.
    let recipe = Recipe {
        steps: Some(10),
        batch_size: 10,
        schedule: ScheduleKind::Linear,
        warmup: 4.0,
        optimizer: OptimizerKind::AdamW,
        ..plain()
    };
    let (steps, store, _) = run(recipe, 10);
    let sum: f64 = steps.iter().map(|s| s.lr).sum();
    assert!((1.0 - value(&store, "w") - sum).abs() < 1e-5);
}

/// Parameters that the loss does not reach are listed, frozen ones are not.
#[test]
fn what_has_no_gradient_is_told() {
    let (task, store, _) = Means::new(8);
    for name in ["unused", "frozen"] {
        store.root().parameter(name, &[1], Init::Ones).unwrap();
    }
    store.get("frozen").unwrap().set_trainable(false);
    let mut trainer = Trainer::new(task, store, plain()).unwrap();
    assert!(trainer.without_gradient().is_none());
    trainer.step().unwrap();
    assert_eq!(trainer.without_gradient().unwrap(), ["unused"]);
}

/// An interrupted epoch continues at its place.
#[test]
fn a_resumed_run_sees_the_rest_of_the_epoch() {
    let recipe = || Recipe { steps: None, epochs: 2, batch_size: 3, accumulate: 2, ..plain() };
    let (_, _, whole) = run(recipe(), 20);
    let folder = tempfile::tempdir().unwrap();
    let texts = ["the apple is red"];
    let tokenizer = gradus_models::Tokenizer::train_wordpiece(&texts, 60).unwrap();
    let config = gradus_models::EncoderConfig::new(tokenizer.vocab_size(), 1, 8, 2, 8);
    let (task, store, _) = Means::new(20);
    let mut first = Trainer::new(task, store.clone(), recipe()).unwrap();
    (0..2).for_each(|_| drop(first.step().unwrap()));
    let checkpoint = first.save_checkpoint(folder.path(), &config, &tokenizer).unwrap();
    let (task, other, seen) = Means::new(20);
    for parameter in other.parameters() {
        parameter.set(store.get(parameter.name()).unwrap().tensor()).unwrap();
    }
    let mut second = Trainer::new(task, other, recipe()).unwrap();
    second.resume(&checkpoint).unwrap();
    while second.step().unwrap().is_some() {}
    assert_eq!(*seen.lock().unwrap(), whole[4..]);
}
