//! Steps that loss scaling skips count for no parameter, no matter when it joins, leaves or comes
//! back, and also after a resumed run. The optimiser tells parameters apart by identity, not by
//! name.

use std::collections::HashMap;

use gradus_autograd::{Gradients, Var};
use gradus_nn::{Adam, AdamW, GradScaler, Init, Optimizer, ParamGroup, Parameter, Sgd, Store};
use gradus_tensor::{DType, Device, RngKey, Tensor};
use gradus_testing::gpu;

type Make = fn(Vec<ParamGroup>) -> Box<dyn Optimizer>;

const OPTIMIZERS: [(&str, Make); 4] = [
    ("adamw", |g| Box::new(AdamW::with_groups(g).unwrap())),
    ("adam", |g| Box::new(Adam::with_groups(g).unwrap())),
    ("momentum", |g| Box::new(Sgd::with_groups(g).unwrap().momentum(0.9).unwrap())),
    ("nesterov", |g| {
        Box::new(Sgd::with_groups(g).unwrap().momentum(0.9).unwrap().nesterov().unwrap())
    }),
];

/// Two parameters, an optimiser for both, and an optional scaler.
struct Run {
    a: Parameter,
    b: Parameter,
    optimizer: Box<dyn Optimizer>,
    scaler: Option<GradScaler>,
}

impl Run {
    fn new(make: Make, device: Device, scaled: bool) -> Run {
        let store = Store::new(0);
        store.to_device(device).unwrap();
        let one = |name| store.root().parameter(name, &[1], Init::Ones).unwrap();
        let (a, b) = (one("a"), one("b"));
        let group = ParamGroup::new(store.parameters(), 0.1);
        let scaler = scaled.then(|| GradScaler::new(device).unwrap());
        Run { a, b, optimizer: make(vec![group]), scaler }
    }

    /// A step on a² + b² + b. The loss may be infinite, and b may be frozen.
    fn step(&mut self, overflows: bool, b_takes_part: bool) {
        self.b.set_trainable(b_takes_part);
        let squares = self.a.var().square().unwrap().add(&self.b.var().square().unwrap());
        let loss = squares.unwrap().add(&self.b.var()).unwrap().sum_all().unwrap();
        let loss = loss.mul_scalar(if overflows { f64::INFINITY } else { 1.0 }).unwrap();
        let Some(scaler) = &mut self.scaler else {
            return self.optimizer.step(&loss.backward().unwrap()).unwrap();
        };
        let grads = scaler.backward(&loss).unwrap();
        let parameters = [self.a.clone(), self.b.clone()];
        let clip = scaler.clip_grad_norm(&grads, &parameters, f64::INFINITY).unwrap();
        self.optimizer.step_scaled(&grads, 1.0, Some(&clip.scale)).unwrap();
    }

    fn values(&self) -> [f64; 2] {
        [&self.a, &self.b].map(|p| p.tensor().to_f64_vec()[0])
    }
}

/// The right result of a run with a scaler: that of its steps without the skipped ones.
fn truth(make: Make, pattern: &[(bool, bool)]) -> Vec<[f64; 2]> {
    let mut run = Run::new(make, Device::Cpu, false);
    let step = |&(overflows, b_takes_part): &(bool, bool)| {
        if !overflows {
            run.step(false, b_takes_part);
        }
        run.values()
    };
    pattern.iter().map(step).collect()
}

/// Patterns of twelve steps: whether each overflows, and whether b takes part in it.
fn patterns() -> Vec<Vec<(bool, bool)>> {
    let random = |n: u64| {
        let key = RngKey::new(n);
        (0..12).map(|i| (key.word(i).is_multiple_of(3), key.word(100 + i) % 5 < 3)).collect()
    };
    let mut patterns: Vec<Vec<(bool, bool)>> = (0..12).map(random).collect();
    // Three skipped steps, then b thaws; b is away while steps are skipped; b takes part only in
    // skipped steps.
    patterns.push((0..12).map(|i| (i < 3, i >= 4)).collect());
    patterns.push((0..12).map(|i| ((4..7).contains(&i), !(3..8).contains(&i))).collect());
    patterns.push((0..12).map(|i| (i % 4 == 1, i % 4 == 1 || i > 7)).collect());
    patterns
}

#[test]
fn skipped_steps_count_for_nobody() {
    for (name, make) in OPTIMIZERS {
        for pattern in patterns() {
            let truth = truth(make, &pattern);
            let mut run = Run::new(make, Device::Cpu, true);
            for (step, (&(overflows, takes_part), truth)) in pattern.iter().zip(truth).enumerate() {
                run.step(overflows, takes_part);
                assert_eq!(run.values(), truth, "{name}, step {step} of {pattern:?}");
            }
        }
    }
}

#[test]
fn nor_on_a_gpu() {
    let Some(device) = gpu() else { return };
    for (name, make) in OPTIMIZERS {
        for pattern in &patterns()[8..] {
            let mut run = Run::new(make, device, true);
            pattern.iter().for_each(|&(overflows, takes_part)| run.step(overflows, takes_part));
            let truth = truth(make, pattern);
            for (ours, truth) in run.values().iter().zip(truth[11]) {
                assert!((ours - truth).abs() < 1e-5, "{name} {pattern:?}: {ours} and {truth}");
            }
        }
    }
}

/// PyTorch's numbers: b starts at 1, and three skipped steps and another step pass before b thaws.
#[test]
fn a_parameter_that_thaws_late_is_pytorchs() {
    let adamw = [0.900000, 0.800239, 0.700903, 0.602199, 0.504358, 0.407636];
    let momentum = [0.700000, 0.190000, -0.407000, -0.962900, -1.370630, -1.563461];
    for ((name, make), truth) in [(OPTIMIZERS[0], adamw), (OPTIMIZERS[2], momentum)] {
        let mut run = Run::new(make, Device::Cpu, true);
        for step in 0..10 {
            run.step(step < 3, step >= 4);
            if step >= 4 {
                let [_, b] = run.values();
                assert!((b - truth[step - 4]).abs() < 1e-6, "{name}, step {step}: {b}");
            }
        }
    }
}

#[test]
fn a_resumed_run_knows_who_was_skipped() {
    for (name, make) in OPTIMIZERS {
        for pattern in patterns() {
            let truth = truth(make, &pattern);
            for middle in [2, 5, 9] {
                let mut first = Run::new(make, Device::Cpu, true);
                let step = |run: &mut Run, &(overflows, takes_part): &(bool, bool)| {
                    run.step(overflows, takes_part)
                };
                pattern[..middle].iter().for_each(|s| step(&mut first, s));
                let saved: HashMap<String, Tensor> =
                    first.optimizer.state().unwrap().into_iter().collect();
                let mut second = Run::new(make, Device::Cpu, true);
                second.a.set(first.a.tensor()).unwrap();
                second.b.set(first.b.tensor()).unwrap();
                second.optimizer.load_state(&saved).unwrap();
                // The scaler's own count of skipped steps does not matter here.
                pattern[middle..].iter().for_each(|s| step(&mut second, s));
                assert_eq!(second.values(), truth[11], "{name}, from {middle} of {pattern:?}");
            }
        }
    }
}

/// A state that was saved without these counts: all parameters took part in every step, and the
/// scaler knows the number of skipped steps.
#[test]
fn a_state_without_skipped_steps_is_read() {
    let pattern: Vec<(bool, bool)> = (0..8).map(|i| (i == 0 || i == 2 || i == 6, true)).collect();
    for (name, make) in OPTIMIZERS {
        let mut first = Run::new(make, Device::Cpu, true);
        pattern[..4].iter().for_each(|&(overflows, _)| first.step(overflows, true));
        let mut saved: HashMap<String, Tensor> =
            first.optimizer.state().unwrap().into_iter().collect();
        assert!(saved.remove("skipped.a").is_some() && saved.remove("skipped.b").is_some());
        let mut second = Run::new(make, Device::Cpu, true);
        second.a.set(first.a.tensor()).unwrap();
        second.b.set(first.b.tensor()).unwrap();
        second.optimizer.load_state(&saved).unwrap();
        let scaler = first.scaler.as_ref().unwrap().state();
        second.scaler.as_mut().unwrap().load_state(scaler).unwrap();
        pattern[4..].iter().for_each(|&(overflows, _)| second.step(overflows, true));
        assert_eq!(second.values(), truth(make, &pattern)[7], "{name}");

        let count = |n: f32| Tensor::from_slice(&[n], &[1]).unwrap();
        let integer = Tensor::from_slice(&[1u32], &[1]).unwrap();
        let two = Tensor::zeros(&[2], DType::F32).unwrap();
        for wrong in [count(-1.0), count(0.5), count(9.0), count(f32::NAN), integer, two] {
            saved.insert("skipped.b".into(), wrong);
            let error = second.optimizer.load_state(&saved).unwrap_err().to_string();
            assert!(error.contains("skipped.b is") && error.contains("of 4 steps"), "{error}");
        }
    }
}

/// A run without loss scaling saves the same state as before.
#[test]
fn only_scaled_runs_save_skipped_steps() {
    for (_, make) in OPTIMIZERS {
        let mut run = Run::new(make, Device::Cpu, false);
        run.step(false, true);
        assert!(run.optimizer.state().unwrap().iter().all(|(name, _)| !name.contains("skipped")));
    }
}

/// Two models, such as a generator and a discriminator, whose parameters have the same names.
#[test]
fn two_stores_in_one_optimizer() {
    let make = |seed| {
        let store = Store::new(seed);
        let parameter = store.root().parameter("w", &[2], Init::Normal { std: 1.0 }).unwrap();
        (store, parameter)
    };
    let gradients = |p: &Parameter, q: &Parameter| -> Gradients {
        let both = p.var().square().unwrap().add(&q.var().exp().unwrap()).unwrap();
        both.sum_all().unwrap().backward().unwrap()
    };
    let group = |params: &[&Parameter]| {
        vec![ParamGroup::new(params.iter().copied(), 0.1).weight_decay(0.01)]
    };
    for (name, optimizer) in OPTIMIZERS {
        let ((_s, p), (_t, q)) = (make(0), make(1));
        let ((_u, p2), (_v, q2)) = (make(0), make(1));
        assert_ne!(p.tensor().to_f64_vec(), q.tensor().to_f64_vec());
        let mut both = optimizer(group(&[&p, &q]));
        let (mut one, mut other) = (optimizer(group(&[&p2])), optimizer(group(&[&q2])));
        for _ in 0..4 {
            both.step(&gradients(&p, &q)).unwrap();
            let grads = gradients(&p2, &q2);
            one.step(&grads).unwrap();
            other.step(&grads).unwrap();
        }
        assert_eq!(p.tensor().to_f64_vec(), p2.tensor().to_f64_vec(), "{name}");
        assert_eq!(q.tensor().to_f64_vec(), q2.tensor().to_f64_vec(), "{name}");
        // A file tells parameters apart by name, so two of one name are an error.
        let error = both.state().unwrap_err().to_string();
        assert!(error.contains("two parameters are called w") && error.contains("join"), "{error}");
        let saved = one.state().unwrap().into_iter().collect();
        let error = both.load_state(&saved).unwrap_err().to_string();
        assert!(error.contains("two parameters are called w"), "{error}");
    }
}

/// A new parameter with the name of an old one is a different parameter.
#[test]
fn state_does_not_pass_to_a_namesake() {
    let parameter = || Parameter::new("w", Tensor::ones(&[1], DType::F32).unwrap()).unwrap();
    let gradients =
        |p: &Parameter| Var::sum_all(&p.var().square().unwrap()).unwrap().backward().unwrap();
    let (p, q, fresh) = (parameter(), parameter(), parameter());
    let group = |p: &Parameter| vec![ParamGroup::new([p], 0.1)];
    let mut optimizer = AdamW::with_groups(group(&p)).unwrap();
    (0..5).for_each(|_| optimizer.step(&gradients(&p)).unwrap());
    optimizer.groups_mut()[0].params = vec![q.clone()];
    let mut new = AdamW::with_groups(group(&fresh)).unwrap();
    for _ in 0..2 {
        optimizer.step(&gradients(&q)).unwrap();
        new.step(&gradients(&fresh)).unwrap();
        assert_eq!(q.tensor().to_f64_vec(), fresh.tensor().to_f64_vec());
    }
}
