//! Activation checkpointing: the same gradients with less memory.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use gradus_autograd::{
    BackwardOptions, Gradients, Var, checkpoint, enable_grad, grad, is_grad_enabled, no_grad,
};
use gradus_tensor::{DType, Result, RngKey, Tensor, memory_use};

const CREATE: BackwardOptions = BackwardOptions { create_graph: true, retain_graph: true };

/// The pool's figures belong to the process, so the tests of this file run one at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn alone() -> std::sync::MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(|e| e.into_inner())
}

fn random(shape: &[usize], seed: u64) -> Var {
    Var::leaf(Tensor::randn(shape, DType::F64, RngKey::new(seed)).unwrap())
}

/// Runs `f` directly, or as a checkpoint.
fn maybe(checkpointed: bool, f: impl Fn() -> Result<Var> + Send + Sync + 'static) -> Result<Var> {
    if checkpointed { checkpoint(f) } else { f() }
}

fn assert_equal(a: &Gradients, b: &Gradients, vars: &[&Var]) {
    assert_eq!(a.len(), b.len());
    for (i, var) in vars.iter().enumerate() {
        let (a, b) = (a.get(var).unwrap().to_f64_vec(), b.get(var).unwrap().to_f64_vec());
        assert_eq!(a, b, "gradient {i}");
    }
}

/// x → h = tanh(x·w), then a block that reads x, w and h: h itself depends on both.
fn network(x: &Var, w: &Var, checkpointed: bool) -> Result<Var> {
    let h = x.matmul(w)?.tanh()?;
    let (x, w, inner) = (x.clone(), w.clone(), h.clone());
    let y = maybe(checkpointed, move || {
        let y = inner.matmul(&w)?.add(&x)?.gelu()?.dropout(0.3, RngKey::new(5))?;
        // An inner checkpoint, which reads a value of the outer one and a captured one.
        let (z, w) = (y.clone(), w.clone());
        maybe(checkpointed, move || z.matmul(&w)?.silu())?.mul(&y)
    })?;
    y.mul(&h)?.sum_all()
}

#[test]
fn gradients_are_equal_and_counted_once() {
    let _alone = alone();
    let (x, w) = (random(&[3, 4], 1), random(&[4, 4], 2));
    let plain = network(&x, &w, false).unwrap();
    let again = network(&x, &w, true).unwrap();
    assert_eq!(plain.item().unwrap(), again.item().unwrap());
    let (plain, again) = (plain.backward().unwrap(), again.backward().unwrap());
    for var in [&x, &w] {
        let (a, b) = (plain.get(var).unwrap().to_f64_vec(), again.get(var).unwrap().to_f64_vec());
        for (a, b) in a.iter().zip(&b) {
            assert!((a - b).abs() <= 1e-12 * a.abs().max(1.0), "{a} and {b}");
        }
    }
    assert_eq!((plain.len(), again.len()), (2, 2));
}

#[test]
fn second_derivatives_pass_through() {
    let _alone = alone();
    let (x, w) = (random(&[3, 4], 1), random(&[4, 4], 2));
    let second = |checkpointed: bool| {
        let y = network(&x, &w, checkpointed).unwrap();
        let g = grad(&[y], &[x.clone(), w.clone()], None, CREATE).unwrap();
        let norm = |g: &Option<Var>| g.as_ref().unwrap().square().unwrap().sum_all().unwrap();
        norm(&g[0]).add(&norm(&g[1])).unwrap().backward().unwrap()
    };
    let (plain, again) = (second(false), second(true));
    for var in [&x, &w] {
        let (a, b) = (plain.get(var).unwrap().to_f64_vec(), again.get(var).unwrap().to_f64_vec());
        for (a, b) in a.iter().zip(&b) {
            assert!((a - b).abs() <= 1e-9 * a.abs().max(1.0), "{a} and {b}");
        }
    }
}

#[test]
fn what_a_checkpoint_returns_unchanged_keeps_its_gradient() {
    let _alone = alone();
    let x = random(&[3], 1);
    let h = x.square().unwrap();
    for captured in [x.clone(), h.clone()] {
        let run = |checkpointed| {
            let c = captured.clone();
            let y = maybe(checkpointed, move || Ok(c.clone())).unwrap();
            let options = BackwardOptions { retain_graph: true, ..Default::default() };
            y.mul(&h).unwrap().sum_all().unwrap().backward_with(None, options).unwrap()
        };
        assert_equal(&run(false), &run(true), &[&x]);
    }
}

#[test]
fn modes_hold_inside() {
    let _alone = alone();
    let x = random(&[3], 1);
    let run = |checkpointed| {
        let x = x.clone();
        let inside = x.clone();
        let y = maybe(checkpointed, move || {
            assert!(is_grad_enabled(), "both runs look alike from within");
            let factor = no_grad(|| inside.square())?;
            let kept = no_grad(|| enable_grad(|| inside.sin()))?;
            inside.mul(&factor)?.add(&kept)?.mul(&inside.detach())
        });
        y.unwrap().sum_all().unwrap().backward().unwrap()
    };
    assert_equal(&run(false), &run(true), &[&x]);
    let (calls, captured) = (Arc::new(AtomicUsize::new(0)), x.clone());
    let counter = calls.clone();
    let f = move || {
        counter.fetch_add(1, Ordering::Relaxed);
        captured.exp()
    };
    let y = no_grad(|| checkpoint(f)).unwrap();
    assert!(!y.requires_grad() && is_grad_enabled());
    assert_eq!(calls.load(Ordering::Relaxed), 1);
}

#[test]
fn a_function_that_changes_its_mind_is_an_error() {
    let _alone = alone();
    let x = random(&[4], 1);
    let (calls, captured) = (AtomicUsize::new(0), x.clone());
    let y =
        checkpoint(move || captured.narrow(0, 0, 2 + calls.fetch_add(1, Ordering::Relaxed))?.exp());
    let error = y.unwrap().sum_all().unwrap().backward().err().unwrap().to_string();
    assert!(error.contains("[2]") && error.contains("[3]"), "{error}");
}

#[test]
fn a_chain_of_checkpoints_needs_no_stack() {
    let _alone = alone();
    let run = || {
        let x = random(&[1], 1);
        let mut y = x.clone();
        for _ in 0..20_000 {
            let inner = y.clone();
            y = checkpoint(move || inner.add_scalar(1e-9)).unwrap();
        }
        assert_eq!(y.backward().unwrap().get(&x).unwrap().to_f64_vec(), [1.0]);
    };
    std::thread::Builder::new().stack_size(256 << 10).spawn(run).unwrap().join().unwrap();
}

#[test]
fn memory_is_what_checkpoints_save() {
    let _alone = alone();
    let run = |checkpointed: bool| {
        let x = random(&[64, 1024], 1); // half a MiB
        let mut h = x.clone();
        for _ in 0..8 {
            let inner = h.clone();
            h = maybe(checkpointed, move || {
                // Each of these saves its input.
                inner.sin()?.square()?.cos()?.silu()?.tanh()?.square()?.sin()?.silu()
            })
            .unwrap();
        }
        let kept = memory_use().live;
        let grads = h.sum_all().unwrap().backward().unwrap();
        (kept, grads.get(&x).unwrap().to_f64_vec())
    };
    let before = memory_use().live;
    let (checkpointed, a) = run(true);
    let low = memory_use().peak;
    let (plain, b) = run(false);
    let high = memory_use().peak;
    assert_eq!(a, b);
    assert!((checkpointed - before) * 4 < plain - before, "{checkpointed} of {plain} kept");
    assert!(low * 2 < high, "the peak is {low} with and {high} without checkpoints");
    assert_eq!(memory_use().live, before, "something is still held");
}
