//! Settings are checked when they are set; the error names the setting, its value and its range.

use gradus_autograd::{Gradients, Var};
use gradus_nn::{
    Adam, AdamW, Dropout, EncoderLayer, GradScaler, Init, LayerConfig, LayerNorm, Optimizer,
    ParamGroup, Parameter, Schedule, ScheduleKind, SelfAttention, Sgd, Store, clip_grad_norm,
    losses,
};
use gradus_tensor::ops::optim::{AdamWStep, SgdStep};
use gradus_tensor::{DType, Device, Result, Tensor};
use gradus_testing::adamw;

const NAN: f64 = f64::NAN;
const INF: f64 = f64::INFINITY;

fn groups(lr: f64, weight_decay: f64) -> Vec<ParamGroup> {
    let ones = Tensor::ones(&[2], DType::F32).unwrap();
    vec![ParamGroup::new([Parameter::new("w", ones).unwrap()], lr).weight_decay(weight_decay)]
}

#[track_caller]
fn refused<T>(result: Result<T>, words: &[&str]) {
    let error = result.err().expect("a wrong setting is refused").to_string();
    assert!(words.iter().all(|word| error.contains(word)), "{error}");
}

#[test]
fn optimisers() {
    let good = || groups(0.1, 0.01);
    for (value, shown) in [(-0.1, "-0.1"), (NAN, "NaN"), (INF, "inf")] {
        refused(
            AdamW::with_groups(groups(value, 0.0)),
            &["[adamw]", "learning rate", shown, "0 or more"],
        );
        refused(Adam::with_groups(groups(value, 0.0)), &["[adam]", "learning rate", shown]);
        refused(Sgd::with_groups(groups(value, 0.0)), &["[sgd]", "learning rate", shown]);
        refused(AdamW::with_groups(groups(0.1, value)), &["[adamw]", "weight decay", shown]);
        refused(Adam::with_groups(groups(0.1, value)), &["[adam]", "weight decay", shown]);
        refused(Sgd::with_groups(groups(0.1, value)), &["[sgd]", "weight decay", shown]);
        refused(AdamW::with_groups(good()).unwrap().eps(value), &["[adamw]", "eps", shown]);
        refused(
            Sgd::with_groups(good()).unwrap().momentum(value),
            &["[sgd]", "momentum", shown, "0 or more"],
        );
    }
    for (value, shown) in [(1.0, "1"), (-0.1, "-0.1"), (NAN, "NaN"), (INF, "inf")] {
        let range = "at least 0 and below 1";
        refused(
            Adam::with_groups(good()).unwrap().betas(value, 0.9),
            &["[adam]", "beta1", shown, range],
        );
        refused(
            AdamW::with_groups(good()).unwrap().betas(0.9, value),
            &["[adamw]", "beta2", shown, range],
        );
    }
    // Settings are checked even if there are no groups.
    refused(AdamW::with_groups(vec![]).unwrap().betas(1.0, 0.9), &["beta1"]);
    refused(
        Sgd::with_groups(good()).unwrap().nesterov(),
        &["[sgd]", "Nesterov", "momentum above 0"],
    );
    let nesterov = Sgd::with_groups(good()).unwrap().momentum(0.9).unwrap().nesterov().unwrap();
    refused(nesterov.dampening(0.5), &["[sgd]", "Nesterov", "no dampening", "0.5"]);
    for value in [NAN, INF] {
        refused(
            Sgd::with_groups(good()).unwrap().momentum(0.9).unwrap().dampening(value),
            &["dampening"],
        );
    }
    // Values at the ends of a range are accepted, as in PyTorch.
    AdamW::with_groups(groups(0.0, 0.0)).unwrap().betas(0.0, 0.0).unwrap().eps(0.0).unwrap();
    Sgd::with_groups(groups(0.0, 0.0)).unwrap().dampening(1.0).unwrap();
}

/// The next step checks a setting that was changed later, before it touches any parameter.
#[test]
fn settings_that_are_changed_later() {
    let good = groups(0.1, 0.01);
    let w = good[0].params[0].clone();
    let grads: Gradients = w.var().square().unwrap().sum_all().unwrap().backward().unwrap();
    let optimizers: [Box<dyn Optimizer>; 3] = [
        Box::new(AdamW::with_groups(good.clone()).unwrap()),
        Box::new(Adam::with_groups(good.clone()).unwrap()),
        Box::new(
            Sgd::with_groups(good.clone()).unwrap().momentum(0.9).unwrap().nesterov().unwrap(),
        ),
    ];
    for mut optimizer in optimizers {
        assert!(["adam", "adamw", "sgd"].contains(&optimizer.core().op()));
        for factor in [NAN, -1.0, INF] {
            refused(optimizer.step_scaled(&grads, factor, None), &["learning rate", "0 or more"]);
        }
        // The second group is wrong, so the first is not stepped either.
        optimizer.groups_mut().push(groups(NAN, 0.0).remove(0));
        refused(optimizer.step(&grads), &["learning rate", "NaN"]);
        optimizer.groups_mut()[1] = good[0].clone();
        refused(optimizer.step(&grads), &["w is in the groups twice"]);
        optimizer.groups_mut().truncate(1);
        optimizer.groups_mut()[0].weight_decay = -1.0;
        refused(optimizer.step(&grads), &["weight decay", "-1"]);
        assert_eq!((optimizer.steps(), w.tensor().to_f64_vec()), (0, vec![1.0, 1.0]));
        // A schedule may end at a rate of 0.
        optimizer.groups_mut()[0].weight_decay = 0.01;
        optimizer.step_scaled(&grads, 0.0, None).unwrap();
        assert_eq!((optimizer.steps(), w.tensor().to_f64_vec()), (1, vec![1.0, 1.0]));
    }
}

#[test]
fn steps_of_tensors() {
    let ones = || Tensor::ones(&[2], DType::F32).unwrap();
    let (mut p, mut m, mut v, g) = (ones(), ones(), ones(), ones());
    let good = AdamWStep { lr: 0.1, beta2: 0.99, weight_decay: 0.0, ..adamw(1) };
    for h in [
        AdamWStep { beta1: 1.0, ..good },
        AdamWStep { beta2: NAN, ..good },
        AdamWStep { eps: -1.0, ..good },
        AdamWStep { lr: -1.0, ..good },
        AdamWStep { weight_decay: INF, ..good },
        AdamWStep { step: 0, ..good },
    ] {
        refused(p.adamw_(&g, &mut m, &mut v, &h, None), &["[adamw_]"]);
    }
    let sgd = SgdStep {
        lr: 0.1,
        momentum: 0.9,
        dampening: 0.0,
        nesterov: true,
        weight_decay: 0.0,
        step: 1,
    };
    for h in [
        SgdStep { momentum: -0.9, ..sgd },
        SgdStep { momentum: 0.0, ..sgd },
        SgdStep { dampening: 0.5, ..sgd },
        SgdStep { lr: NAN, ..sgd },
        SgdStep { step: 0, ..sgd },
    ] {
        refused(p.sgd_(&g, Some(&mut m), &h, None), &["[sgd_]"]);
    }
    assert_eq!(p.to_f64_vec(), [1.0, 1.0]);
}

#[test]
fn layers() {
    let root = Store::new(0).root();
    let path = &root / "block";
    for p in [-0.1, 1.1, NAN] {
        refused(Dropout::new(&path, p), &["block: [dropout]", "outside [0, 1]"]);
        let config = LayerConfig { hidden: 8, heads: 2, intermediate: 8, ..LayerConfig::default() };
        let hidden = LayerConfig { dropout: p, ..config.clone() };
        refused(EncoderLayer::new(&path, &hidden), &["block.attention.output: [dropout]"]);
        let attention = LayerConfig { attention_dropout: p, ..config };
        refused(SelfAttention::new(&path, &attention), &["block.attention.self: [dropout]"]);
    }
    for eps in [-1.0, NAN, INF] {
        refused(LayerNorm::new(&path, 4, eps), &["block: [layer_norm] eps is", "0 or more"]);
        let x = Var::leaf(Tensor::ones(&[2, 4], DType::F32).unwrap());
        let w = Var::leaf(Tensor::ones(&[4], DType::F32).unwrap());
        refused(x.layer_norm(&w, Some(&w), eps), &["[layer_norm] eps is"]);
        refused(x.dropout_add_layer_norm(&x, &w, None, eps, None), &["[layer_norm] eps is"]);
        // Also a setting that is changed later.
        let mut norm = LayerNorm::new(&(&root / "late"), 4, 0.0).unwrap();
        norm.eps = eps;
        refused(norm.forward(&x), &["late: [layer_norm] eps is"]);
    }
    for std in [-1.0, NAN, INF] {
        refused(
            path.parameter("normal", &[2, 2], Init::Normal { std }),
            &["block.normal", "0 or more"],
        );
    }
}

#[test]
fn losses_clipping_and_scaling() {
    let x = Var::leaf(Tensor::ones(&[2, 3], DType::F32).unwrap());
    let targets = Tensor::from_slice(&[0u32, 2], &[2]).unwrap();
    for label_smoothing in [-0.1, 1.1, NAN] {
        let options = losses::CrossEntropy { label_smoothing, ..Default::default() };
        refused(losses::cross_entropy(&x, &targets, &options), &["label_smoothing"]);
    }
    for delta in [0.0, -1.0, NAN] {
        refused(losses::huber(&x, &x, delta, losses::Reduction::Mean), &["[huber] delta is"]);
    }
    let mut scaler = GradScaler::new(Device::Cpu).unwrap();
    for max_norm in [-1.0, NAN] {
        refused(clip_grad_norm(&Gradients::default(), &[], max_norm), &["0 or more"]);
        refused(scaler.clip_grad_norm(&Gradients::default(), &[], max_norm), &["0 or more"]);
    }
    // A norm of 0 is allowed: it leaves nothing of the gradients.
    let w = Parameter::new("w", Tensor::ones(&[2], DType::F32).unwrap()).unwrap();
    let grads = w.var().sum_all().unwrap().backward().unwrap();
    let clip = clip_grad_norm(&grads, std::slice::from_ref(&w), 0.0).unwrap();
    assert_eq!(clip.scale.item().unwrap(), 0.0);
    scaler.clip_grad_norm(&grads, &[w], 0.0).unwrap();
    let scaler = || GradScaler::new(Device::Cpu).unwrap();
    for scale in [0.0, -1.0, NAN, INF, 1e39] {
        refused(scaler().with_scale(scale), &["[grad_scaler] the scale is", "above 0"]);
    }
    refused(scaler().with_growth_interval(0), &["growth interval", "1 or more"]);
    for growth in [1.0, 0.5, NAN, INF] {
        refused(scaler().with_factors(growth, 0.5), &["growth factor", "above 1"]);
    }
    for backoff in [0.0, 1.0, -0.5, NAN] {
        refused(scaler().with_factors(2.0, backoff), &["backoff factor", "below 1"]);
    }
    let loss = |dtype| Var::leaf(Tensor::ones(&[1], dtype).unwrap());
    refused(scaler().backward(&loss(DType::F64)), &["the loss is [1] f64", "one number in f32"]);
    refused(scaler().backward(&x), &["the loss is [2, 3] f32"]);
    for state in [[0.0, 1.0, 1.0], [INF, 1.0, 1.0], [4.0, -1.0, 1.0], [4.0, 1.0, NAN]] {
        refused(scaler().load_state(state), &["[grad_scaler]", "is no state"]);
    }
}

/// The scale of the losses after an overflow, and after two steps without one.
#[test]
fn factors_of_the_scale() {
    let w = Parameter::new("w", Tensor::scalar(1f32)).unwrap();
    let scaler = GradScaler::new(Device::Cpu).unwrap().with_scale(8.0).unwrap();
    let mut scaler = scaler.with_factors(3.0, 0.25).unwrap().with_growth_interval(2).unwrap();
    for (factor, scale) in [(INF, 2.0), (1.0, 2.0), (1.0, 6.0)] {
        let loss = w.var().mul_scalar(factor).unwrap();
        let grads = scaler.backward(&loss).unwrap();
        scaler.clip_grad_norm(&grads, std::slice::from_ref(&w), 1.0).unwrap();
        assert_eq!(scaler.scale().unwrap().item().unwrap(), scale);
    }
}

#[test]
fn schedules() {
    for power in [-1.0, NAN, INF] {
        refused(Schedule::polynomial(1, 10, power, 0.0), &["[schedule] the power is"]);
    }
    for end in [-0.1, 1.1, NAN] {
        refused(Schedule::polynomial(1, 10, 1.0, end), &["[schedule] the end is", "0 and 1"]);
    }
    for cycles in [-1.0, NAN, INF] {
        let waves = Schedule { kind: ScheduleKind::Cosine { cycles }, warmup: 0, total: 9 };
        refused(waves.check(), &["number of cycles"]);
    }
    for gamma in [-0.1, NAN, INF] {
        refused(Schedule::exponential(0, gamma), &["[schedule] gamma is"]);
        refused(Schedule::step(0, 2, gamma), &["[schedule] gamma is"]);
    }
    refused(Schedule::step(0, 0, 0.5), &["every 0 steps"]);
    for good in [Schedule::constant(0), Schedule::linear(3, 2), Schedule::cosine(0, 10)] {
        good.check().unwrap();
    }
}
