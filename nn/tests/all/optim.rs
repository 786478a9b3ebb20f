//! Optimisers, clipping and schedules against PyTorch and transformers; saving and resuming.

use std::collections::HashMap;

use crate::golden::*;
use gradus_autograd::{Gradients, Var};
use gradus_nn::{
    Adam, AdamW, Clip, Optimizer, ParamGroup, Parameter, Schedule, Sgd, clip_grad_norm, decays,
    param_groups,
};
use gradus_tensor::{DType, Tensor};
use gradus_testing::assert_near;

const STEPS: usize = 12;
const NAMES: [&str; 4] = ["body.weight", "body.bias", "head.weight", "head.bias"];

fn start() -> Vec<Parameter> {
    NAMES.map(|n| Parameter::new(n, tensor(&format!("optim.start.{n}"))).unwrap()).to_vec()
}

/// The given gradients of one step, as gradients of Σ p·g. The head's bias has none in steps 5 to
/// 7.
fn gradients(params: &[Parameter], step: usize) -> Gradients {
    let mut sum = Var::constant(Tensor::scalar(0f32));
    for p in params {
        if p.name() == "head.bias" && (5..8).contains(&step) {
            continue;
        }
        let grad = Var::constant(tensor(&format!("optim.grad.{step}.{}", p.name())));
        sum = sum.add(&p.var().mul(&grad).unwrap().sum_all().unwrap()).unwrap();
    }
    sum.backward().unwrap()
}

fn groups(params: &[Parameter], decay: f64) -> Vec<ParamGroup> {
    param_groups(params, 0.01, Some(0.1), |n| n.starts_with("head."), decay)
}

fn one_step(optimizer: &mut dyn Optimizer, params: &[Parameter], step: usize, clip: Option<f64>) {
    let grads = gradients(params, step);
    let scale = clip.map(|limit| clip_grad_norm(&grads, params, limit).unwrap().scale);
    optimizer.step_scaled(&grads, numbers("optim.factors")[step], scale.as_ref()).unwrap();
}

fn follows_pytorch(
    case: &str,
    decay: f64,
    clip: Option<f64>,
    make: impl Fn(Vec<ParamGroup>) -> Box<dyn Optimizer>,
) {
    let params = start();
    let mut optimizer = make(groups(&params, decay));
    for step in 0..STEPS {
        one_step(&mut *optimizer, &params, step, clip);
        if has(&format!("optim.{case}.{step}.body.bias")) {
            for p in &params {
                assert_close(&p.tensor(), &format!("optim.{case}.{step}.{}", p.name()), 1e-6);
            }
        }
    }
    assert_eq!(optimizer.steps(), STEPS as u64);
}

#[test]
fn optimisers_follow_pytorch() {
    follows_pytorch("sgd", 0.1, None, |g| Box::new(Sgd::with_groups(g).unwrap()));
    follows_pytorch("momentum", 0.1, None, |g| {
        Box::new(Sgd::with_groups(g).unwrap().momentum(0.9).unwrap())
    });
    follows_pytorch("dampened", 0.1, None, |g| {
        Box::new(Sgd::with_groups(g).unwrap().momentum(0.9).unwrap().dampening(0.3).unwrap())
    });
    follows_pytorch("nesterov", 0.1, None, |g| {
        Box::new(Sgd::with_groups(g).unwrap().momentum(0.9).unwrap().nesterov().unwrap())
    });
    follows_pytorch("adam", 0.1, None, |g| Box::new(Adam::with_groups(g).unwrap()));
    follows_pytorch("adamw", 0.1, None, |g| Box::new(AdamW::with_groups(g).unwrap()));
    follows_pytorch("adamw_betas", 0.3, None, |g| {
        Box::new(AdamW::with_groups(g).unwrap().betas(0.8, 0.95).unwrap().eps(1e-3).unwrap())
    });
    follows_pytorch("adamw_clipped", 0.1, Some(1.0), |g| Box::new(AdamW::with_groups(g).unwrap()));
    follows_pytorch("sgd_clipped", 0.1, Some(5.0), |g| {
        Box::new(Sgd::with_groups(g).unwrap().momentum(0.9).unwrap())
    });
}

fn bits(params: &[Parameter]) -> Vec<u32> {
    params.iter().flat_map(|p| p.tensor().to_vec::<f32>().unwrap()).map(f32::to_bits).collect()
}

type Make = fn(Vec<ParamGroup>) -> Box<dyn Optimizer>;

#[test]
fn resuming_is_exact() {
    let kinds: [(Make, &[&str]); 3] = [
        (|g| Box::new(AdamW::with_groups(g).unwrap()), &["step", "exp_avg", "exp_avg_sq"]),
        (|g| Box::new(Adam::with_groups(g).unwrap()), &["step", "exp_avg", "exp_avg_sq"]),
        (
            |g| Box::new(Sgd::with_groups(g).unwrap().momentum(0.9).unwrap().nesterov().unwrap()),
            &["step", "momentum_buffer"],
        ),
    ];
    for (make, parts) in kinds {
        // Stopped at 5, and inside the steps in which one parameter has no gradient.
        for middle in [5, 7] {
            let straight = start();
            let mut optimizer = make(groups(&straight, 0.1));
            (0..10).for_each(|t| one_step(&mut *optimizer, &straight, t, Some(1.0)));

            let first = start();
            let mut optimizer = make(groups(&first, 0.1));
            (0..middle).for_each(|t| one_step(&mut *optimizer, &first, t, Some(1.0)));
            let saved: HashMap<String, Tensor> = optimizer.state().unwrap().into_iter().collect();
            assert_eq!(saved.len(), 1 + parts.len() * NAMES.len());
            for part in parts {
                assert!(saved.contains_key(&format!("{part}.body.weight")), "no {part}");
            }
            let values: Vec<Tensor> = first.iter().map(Parameter::tensor).collect();
            // A saved state does not change when training continues.
            one_step(&mut *optimizer, &first, middle, None);

            let second = start();
            second.iter().zip(values).for_each(|(p, value)| p.set(value).unwrap());
            let mut optimizer = make(groups(&second, 0.1));
            optimizer.load_state(&saved).unwrap();
            assert_eq!(optimizer.steps(), middle as u64);
            (middle..10).for_each(|t| one_step(&mut *optimizer, &second, t, Some(1.0)));
            assert_eq!(bits(&straight), bits(&second));
        }
    }
}

#[test]
fn a_state_that_does_not_fit_is_refused() {
    let params = start();
    let mut optimizer = AdamW::with_groups(groups(&params, 0.1)).unwrap();
    one_step(&mut optimizer, &params, 0, None);
    let good: HashMap<String, Tensor> = optimizer.state().unwrap().into_iter().collect();
    let mut refuse = |change: &dyn Fn(&mut HashMap<String, Tensor>), words: &[&str]| {
        let mut state = good.clone();
        change(&mut state);
        let error = optimizer.load_state(&state).unwrap_err().to_string();
        assert!(words.iter().all(|w| error.contains(w)), "{error}");
    };
    let ones = |shape: &[usize]| Tensor::ones(shape, DType::F32).unwrap();
    refuse(&|s| s.clear(), &["steps"]);
    refuse(&|s| drop(s.remove("exp_avg.head.bias")), &["exp_avg.head.bias"]);
    refuse(&|s| drop(s.insert("exp_avg.head.bias".into(), ones(&[3]))), &["head.bias", "[3]"]);
    refuse(&|s| drop(s.insert("exp_avg.other".into(), ones(&[3]))), &["exp_avg.other"]);
    refuse(&|s| drop(s.insert("steps".into(), ones(&[1]))), &["steps", "f32"]);
    refuse(&|s| drop(s.insert("step.body.bias".into(), ones(&[2]))), &["step.body.bias"]);
    // A refused state has changed nothing.
    let now = optimizer.state().unwrap();
    assert_eq!(now.len(), good.len());
    for (name, tensor) in now {
        assert_eq!(tensor.to_f64_vec(), good[&name].to_f64_vec());
    }
}

/// Steps are counted in two words of 32 bits.
#[test]
fn more_steps_than_one_word_holds() {
    let mut optimizer = AdamW::with_groups(groups(&start(), 0.1)).unwrap();
    let words = Tensor::from_slice(&[5u32, 3], &[2]).unwrap();
    optimizer.load_state(&HashMap::from([("steps".to_string(), words)])).unwrap();
    assert_eq!(optimizer.steps(), (3 << 32) + 5);
    let saved = optimizer.state().unwrap().remove(0).1;
    assert_eq!(saved.to_vec::<u32>().unwrap(), [5, 3]);
}

#[test]
fn only_what_has_a_gradient_changes() {
    let params = start();
    params[2].set_trainable(false);
    let mut optimizer = AdamW::with_groups(groups(&params, 0.1)).unwrap();
    let before: Vec<Vec<f64>> = params.iter().map(|p| p.tensor().to_f64_vec()).collect();
    one_step(&mut optimizer, &params, 5, None);
    for (i, (p, before)) in params.iter().zip(before).enumerate() {
        // 2 is frozen, 3 has no gradient in step 5.
        assert_eq!(p.tensor().to_f64_vec() == before, i >= 2, "{}", p.name());
    }
    assert!(optimizer.state().unwrap().iter().all(|(name, _)| !name.contains("head")));

    let twice = vec![ParamGroup::new(&params, 0.1), ParamGroup::new(&params[..1], 0.1)];
    let error = Sgd::with_groups(twice).err().unwrap().to_string();
    assert!(error.contains("body.weight"), "{error}");
}

#[test]
fn clipping_follows_pytorch() {
    let params = start();
    for (case, limit) in [("above", 1.0), ("below", 1e6)] {
        let grads = gradients(&params, 0);
        let Clip { norm, scale } = clip_grad_norm(&grads, &params, limit).unwrap();
        assert_close(&norm, &format!("clip.{case}.norm"), 1e-6);
        assert_eq!(scale.item().unwrap() == 1.0, case == "below");
        for p in &params {
            let clipped = p.grad(&grads).unwrap().mul(&scale).unwrap();
            assert_close(&clipped, &format!("clip.{case}.{}", p.name()), 1e-6);
        }
    }
    let grads = gradients(&params, 0);
    let only_measured = clip_grad_norm(&grads, &params, f64::INFINITY).unwrap();
    assert_eq!(only_measured.scale.item().unwrap(), 1.0);
    let nothing = clip_grad_norm(&Gradients::default(), &params, 1.0).unwrap();
    assert_eq!((nothing.norm.item().unwrap(), nothing.scale.item().unwrap()), (0.0, 1.0));
    assert!(clip_grad_norm(&grads, &params, f64::NAN).is_err());
    assert!(clip_grad_norm(&grads, &params, -1.0).is_err());
    // A NaN gradient is not hidden.
    let p = &params[1];
    let nan = Var::constant(Tensor::full(p.shape(), f64::NAN, DType::F32).unwrap());
    let grads = p.var().mul(&nan).unwrap().sum_all().unwrap().backward().unwrap();
    let clip = clip_grad_norm(&grads, &params, 1.0).unwrap();
    assert!(clip.norm.item().unwrap().is_nan() && clip.scale.item().unwrap().is_nan());
}

#[test]
fn groups_of_fine_tuning() {
    for (name, expected) in [
        ("encoder.layer.0.output.dense.weight", true),
        ("encoder.layer.0.output.dense.bias", false),
        ("encoder.layer.0.output.LayerNorm.weight", false),
        ("bias", false),
        ("classifier.weight", true),
    ] {
        assert_eq!(decays(name), expected, "{name}");
    }
    let params = start();
    let made = groups(&params, 0.1);
    let names: Vec<Vec<&str>> =
        made.iter().map(|g| g.params.iter().map(Parameter::name).collect()).collect();
    assert_eq!(names, NAMES.map(|n| vec![n]));
    assert_eq!(made.iter().map(|g| g.lr).collect::<Vec<_>>(), [0.01, 0.01, 0.1, 0.1]);
    assert_eq!(made.iter().map(|g| g.weight_decay).collect::<Vec<_>>(), [0.1, 0.0, 0.1, 0.0]);
    let same_rate = param_groups(&params, 0.01, None, |n| n.starts_with("head."), 0.1);
    assert!(same_rate.iter().all(|g| g.lr == 0.01));
    let mut optimizer = AdamW::with_groups(made).unwrap();
    optimizer.groups_mut()[0].lr = 0.5;
    assert_eq!(optimizer.groups()[0].lr, 0.5);
}

#[test]
fn schedules_follow_transformers() {
    let cosine_cycles = Schedule {
        kind: gradus_nn::ScheduleKind::Cosine { cycles: 1.25 },
        ..Schedule::cosine(4, 15)
    };
    for (name, schedule) in [
        ("constant", Schedule::constant(4)),
        ("linear", Schedule::linear(4, 15)),
        ("linear_no_warmup", Schedule::linear(0, 15)),
        ("cosine", Schedule::cosine(4, 15)),
        ("cosine_cycles", cosine_cycles),
        ("polynomial", Schedule::polynomial(4, 15, 2.0, 0.1).unwrap()),
    ] {
        for (step, &expected) in numbers(&format!("schedule.{name}")).iter().enumerate() {
            let factor = schedule.factor(step as u64);
            assert!((factor - expected).abs() < 1e-12, "{name} {step}: {factor}, not {expected}");
        }
        // A resumed run keeps its schedule.
        let json = serde_json::to_string(&schedule).unwrap();
        assert_eq!(serde_json::from_str::<Schedule>(&json).unwrap(), schedule);
    }
    // No steps at all, and more warm-up than steps, do not divide by 0.
    for warmup in [0, 3] {
        for total in [0, 1, 3] {
            for schedule in [
                Schedule::linear(warmup, total),
                Schedule::cosine(warmup, total),
                Schedule::polynomial(warmup, total, 1.0, 0.0).unwrap(),
            ] {
                assert!((0..6).all(|s| (0.0..=1.0).contains(&schedule.factor(s))), "{schedule:?}");
            }
        }
    }
}

/// Like `torch.optim.lr_scheduler.StepLR(step_size=2, gamma=0.1)` and `ExponentialLR(gamma=0.5)`.
#[test]
fn schedules_in_steps() {
    let factors = |schedule: Schedule| (0..6).map(|step| schedule.factor(step)).collect::<Vec<_>>();
    let near = |a: Vec<f64>, b: [f64; 6]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-15);
    assert!(near(factors(Schedule::step(0, 2, 0.1).unwrap()), [1.0, 1.0, 0.1, 0.1, 0.01, 0.01]));
    assert!(near(factors(Schedule::step(1, 2, 0.5).unwrap()), [0.0, 1.0, 1.0, 0.5, 0.5, 0.25]));
    let exponential = Schedule::exponential(0, 0.5).unwrap();
    assert!(near(factors(exponential), [1.0, 0.5, 0.25, 0.125, 0.0625, 0.03125]));
    let warmed_up = Schedule::exponential(2, 0.5).unwrap();
    assert!(near(factors(warmed_up), [0.0, 0.5, 1.0, 0.5, 0.25, 0.125]));
}

/// As in `transformers`, the last step still has the power's value: with a power of 0 that is 1.
#[test]
fn a_polynomial_ends_after_its_last_step() {
    let flat = Schedule::polynomial(0, 4, 0.0, 0.25).unwrap();
    assert_eq!([3, 4, 5].map(|step| flat.factor(step)), [1.0, 1.0, 0.25]);
}

/// The short constructors have PyTorch's defaults.
#[test]
fn short_constructors_have_pytorchs_defaults() {
    let steps = |make: &dyn Fn(&[Parameter]) -> Box<dyn Optimizer>| {
        let params = start();
        let mut optimizer = make(&params);
        (0..4).for_each(|t| one_step(&mut *optimizer, &params, t, None));
        bits(&params)
    };
    let group = |p: &[Parameter], weight_decay: f64| {
        vec![ParamGroup::new(p, 0.1).weight_decay(weight_decay)]
    };
    assert_eq!(
        steps(&|p| Box::new(AdamW::new(p, 0.1).unwrap())),
        steps(&|p| Box::new(AdamW::with_groups(group(p, 0.01)).unwrap()))
    );
    assert_eq!(
        steps(&|p| Box::new(Adam::new(p, 0.1).unwrap().weight_decay(0.3).unwrap())),
        steps(&|p| Box::new(Adam::with_groups(group(p, 0.3)).unwrap()))
    );
    assert_eq!(
        steps(&|p| Box::new(Sgd::new(p.to_vec(), 0.1).unwrap())),
        steps(&|p| Box::new(Sgd::with_groups(group(p, 0.0)).unwrap()))
    );
    assert_ne!(
        steps(&|p| Box::new(Sgd::new(p, 0.1).unwrap().momentum(0.9).unwrap())),
        steps(&|p| Box::new(Sgd::new(p, 0.1).unwrap()))
    );
}

/// PyTorch's AdamW with `betas=(0.8, 0.95)`, `eps=1e-3`. Another test sets these betas for the
/// optimiser; here the groups set them.
#[test]
fn betas_of_groups_are_pytorchs() {
    follows_pytorch("adamw_betas", 0.3, None, |groups| {
        let groups = groups.into_iter().map(|group| group.betas(0.8, 0.95)).collect();
        Box::new(AdamW::with_groups(groups).unwrap().eps(1e-3).unwrap())
    });
}

#[test]
fn betas_of_a_group_are_its_own() {
    let [a, b] = ["a", "b"]
        .map(|name| Parameter::new(name, Tensor::ones(&[2], DType::F32).unwrap()).unwrap());
    let groups = vec![ParamGroup::new([&a], 0.1), ParamGroup::new([&b], 0.1).betas(0.0, 0.5)];
    let mut optimizer = Adam::with_groups(groups).unwrap();
    for factor in [1.0, 3.0] {
        let loss = a.var().add(&b.var()).unwrap().mul_scalar(factor).unwrap().sum_all().unwrap();
        optimizer.step(&loss.backward().unwrap()).unwrap();
    }
    // Gradients 1 and 3. m̂ = 3 and v̂ = (1·0.25 + 9·0.5)/0.75 where β = (0, 0.5); with PyTorch's
    // betas m̂ = (0.09 + 0.3)/0.19 and v̂ = (0.000999 + 0.009)/0.001999.
    let step = |m: f64, v: f64| 0.9 - 0.1 * m / v.sqrt();
    assert_near("a", &a.tensor(), &vec![step(0.39 / 0.19, 0.009_999 / 0.001_999); 2], |_| 1e-6);
    assert_near("b", &b.tensor(), &vec![step(3.0, 4.75 / 0.75); 2], |_| 1e-6);
}

#[test]
fn betas_out_of_range_or_of_no_use_are_refused() {
    let w = Parameter::new("w", Tensor::ones(&[2], DType::F32).unwrap()).unwrap();
    let group = ParamGroup::new([&w], 0.1);
    let of_adam = AdamW::with_groups(vec![group.clone().betas(0.9, 1.0)]).err().unwrap();
    assert!(of_adam.to_string().contains("beta"), "{of_adam}");
    let of_sgd = Sgd::with_groups(vec![group.betas(0.9, 0.99)]).err().unwrap();
    assert!(of_sgd.to_string().contains("only Adam and AdamW have betas"), "{of_sgd}");
}
