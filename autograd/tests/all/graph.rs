//! Graphs: deep ones, diamonds, what is kept and freed, modes, higher derivatives.

use gradus_autograd::ops::layer_norm::{dropout_add_layer_norm_composed, layer_norm_composed};
use gradus_autograd::{
    BackwardOptions, Var, detect_anomaly, enable_grad, grad, is_grad_enabled, no_grad,
};
use gradus_tensor::ops::attention::Attention;
use gradus_tensor::{DType, Result, RngKey, Tensor};

const CREATE: BackwardOptions = BackwardOptions { create_graph: true, retain_graph: true };
const RETAIN: BackwardOptions = BackwardOptions { create_graph: false, retain_graph: true };

fn leaf(values: &[f64]) -> Var {
    Var::leaf(Tensor::from_slice(values, &[values.len()]).unwrap())
}

fn random(shape: &[usize], seed: u64) -> Var {
    Var::leaf(Tensor::randn(shape, DType::F64, RngKey::new(seed)).unwrap())
}

fn values(v: &Var) -> Vec<f64> {
    v.tensor().to_f64_vec()
}

fn assert_near(a: &[f64], b: &[f64]) {
    assert_eq!(a.len(), b.len());
    let near = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-10 * b.abs().max(1.0);
    assert!(a.iter().zip(b).all(near), "{a:?} and {b:?}");
}

/// Runs `body` on a thread with a stack of 256 KiB.
fn on_a_small_stack(body: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(256 << 10).spawn(body).unwrap().join().unwrap();
}

#[test]
fn variables_cross_threads() {
    fn check<T: Send + Sync>() {}
    check::<Var>();
    check::<gradus_autograd::Gradients>();
    let w = leaf(&[1.0, 2.0]);
    let total: f64 = std::thread::scope(|scope| {
        let run = |i: usize| {
            let w = &w;
            scope.spawn(move || {
                let y = w.mul_scalar(i as f64).unwrap().sum_all().unwrap();
                y.backward().unwrap().get(w).unwrap().to_f64_vec()[0]
            })
        };
        (0..4).map(run).collect::<Vec<_>>().into_iter().map(|t| t.join().unwrap()).sum()
    });
    assert_eq!(total, 0.0 + 1.0 + 2.0 + 3.0);
}

#[test]
fn a_chain_of_100_000_operations_needs_no_stack() {
    on_a_small_stack(|| {
        let x = leaf(&[1.0]);
        let mut y = x.clone();
        for i in 0..100_000 {
            // Two kinds of operation: one saves nothing, the other its inputs.
            y = if i % 2 == 0 { y.add_scalar(1e-9) } else { y.mul(&leaf(&[1.0])) }.unwrap();
        }
        let grads = y.backward().unwrap();
        assert_eq!(grads.get(&x).unwrap().to_f64_vec(), [1.0]);
        assert_eq!(grads.len(), 50_001);
        drop(y);
        // The graph is freed without backward, while nodes still hold their inputs.
        let mut y = x.clone();
        for _ in 0..100_000 {
            y = y.square().unwrap();
        }
        drop(y);
        // A walk with create_graph, which also records the way back.
        let mut y = x.clone();
        for _ in 0..20_000 {
            y = y.sin().unwrap().alias().unwrap();
        }
        let first = grad(&[y], std::slice::from_ref(&x), None, CREATE).unwrap();
        drop(first);
    });
}

#[test]
fn diamonds_add_up() {
    // 2¹⁰⁰ paths lead through 100 diamonds; each node is visited once.
    let x = leaf(&[1.0, -2.0]);
    let mut y = x.clone();
    for _ in 0..100 {
        y = y.add(&y).unwrap().mul_scalar(0.5).unwrap();
    }
    let grads = y.sum_all().unwrap().backward().unwrap();
    assert_eq!(grads.get(&x).unwrap().to_f64_vec(), [1.0, 1.0]);
    // y = x²·(x² + x): two values use x², and y joins them again.
    let x = leaf(&[3.0]);
    let square = x.square().unwrap();
    let y = square.mul(&square.add(&x).unwrap()).unwrap();
    let grads = y.backward().unwrap();
    assert_eq!(grads.get(&x).unwrap().to_f64_vec(), [4.0 * 27.0 + 3.0 * 9.0]);
}

/// Under `create_graph`, a fused operation that gets one variable several times has the gradients
/// of the fused kernels.
#[test]
fn one_variable_several_times_in_a_fused_operation() {
    let x = random(&[5, 4], 1);
    let offsets = Tensor::from_slice(&[0u32, 2, 5], &[3]).unwrap();
    let options = Attention { heads: 2, scale: 0.7, ..Default::default() };
    let attend = |x: &Var| {
        let k = x.mul_scalar(0.5)?; // depends on the other inputs
        x.attention(x, x, None, &offsets, &options)?
            .add(&x.attention(&k, &x.tanh()?, None, &offsets, &options)?)?
            .square()?
            .sum_all()
    };
    let norm = |x: &Var| {
        let weight = x.select(0, 0)?;
        let bias = weight.square()?;
        x.layer_norm(&weight, Some(&bias), 1e-5)?.square()?.sum_all()
    };
    for f in [&attend as &dyn Fn(&Var) -> Result<Var>, &norm] {
        let fused = f(&x).unwrap().backward().unwrap();
        let composed = grad(&[f(&x).unwrap()], std::slice::from_ref(&x), None, CREATE).unwrap();
        let composed = composed[0].as_ref().unwrap();
        assert!(composed.requires_grad());
        assert_near(&values(composed), &fused.get(&x).unwrap().to_f64_vec());
        let options = gradus_autograd::GradCheck::new("a variable used several times", 3);
        gradus_autograd::gradgradcheck(|v| f(&v[0]), &[x.tensor().clone()], &options).unwrap();
    }
}

/// A norm's kernel adds the last two gradients that reach its output.
#[test]
fn a_norm_whose_output_goes_several_ways() {
    let inputs = [random(&[9, 4], 1), random(&[4], 2), random(&[4], 3), random(&[9, 4], 4)];
    let [x, w, b, r] = &inputs;
    let drop = Some((0.3, RngKey::new(5)));
    // The gradients of the inputs, and of the output if it retains its gradient.
    let run = |fused: bool, residual: bool, ways: usize, retain: bool, options| {
        let y = match (fused, residual) {
            (true, false) => x.layer_norm(w, Some(b), 1e-5),
            (false, false) => layer_norm_composed(x, w, Some(b), 1e-5),
            (true, true) => x.dropout_add_layer_norm(r, w, Some(b), 1e-5, drop),
            (false, true) => dropout_add_layer_norm_composed(x, r, w, Some(b), 1e-5, drop),
        };
        let y = y.unwrap();
        if retain {
            y.retain_grad();
        }
        let mut sum = y.mul_scalar(2.0).unwrap();
        for way in 1..ways {
            sum = sum.add(&y.tanh().unwrap().mul_scalar(way as f64).unwrap()).unwrap();
        }
        let loss = sum.square().unwrap().sum_all().unwrap();
        let grads = loss.backward_with(None, options).unwrap();
        let all = inputs.iter().take(3 + residual as usize).chain(retain.then_some(&y));
        all.map(|v| grads.get(v).unwrap().to_f64_vec()).collect::<Vec<_>>()
    };
    for residual in [false, true] {
        for ways in 1..5 {
            let truth = run(false, residual, ways, true, BackwardOptions::default());
            for (retain, options) in [(false, RETAIN), (true, RETAIN), (false, CREATE)] {
                for (ours, truth) in run(true, residual, ways, retain, options).iter().zip(&truth) {
                    assert_near(ours, truth);
                }
            }
        }
    }
}

#[test]
fn gradients_accumulate_and_scale() {
    let (x, y) = (leaf(&[1.0, 2.0]), leaf(&[5.0]));
    let mut total = x.square().unwrap().sum_all().unwrap().backward().unwrap();
    let second = x.sum_all().unwrap().mul(&y).unwrap().backward().unwrap();
    let kept = second.get(&x).unwrap().clone();
    total.accumulate(second).unwrap();
    assert_eq!(total.get(&x).unwrap().to_f64_vec(), [2.0 + 5.0, 4.0 + 5.0]);
    assert_eq!(total.get(&y).unwrap().to_f64_vec(), [3.0]);
    total.scale(0.5).unwrap();
    assert_eq!(total.get(&x).unwrap().to_f64_vec(), [3.5, 4.5]);
    assert_eq!(kept.to_f64_vec(), [5.0, 5.0], "adding changed another's gradient");
    assert_eq!((total.len(), total.remove(&y).is_some(), total.len()), (2, true, 1));
    assert!(!total.is_empty() && gradus_autograd::Gradients::default().is_empty());
}

#[test]
fn intermediate_values_keep_their_gradient_on_request() {
    let x = leaf(&[2.0]);
    let y = x.square().unwrap();
    let z = y.square().unwrap();
    let grads = z.backward_with(None, RETAIN).unwrap();
    assert!(grads.get(&y).is_none());
    y.retain_grad();
    let grads = z.backward().unwrap();
    assert_eq!(grads.get(&y).unwrap().to_f64_vec(), [8.0]);
    assert_eq!(grads.get(&x).unwrap().to_f64_vec(), [32.0]);
}

#[test]
fn modes_nest_and_come_back() {
    let x = leaf(&[2.0]);
    assert!(is_grad_enabled());
    no_grad(|| {
        assert!(!is_grad_enabled());
        assert!(!x.square().unwrap().requires_grad());
        assert!(enable_grad(|| x.square().unwrap().requires_grad()));
        assert!(!is_grad_enabled());
    });
    let panicked = std::panic::catch_unwind(|| no_grad(|| panic!("inside")));
    assert!(panicked.is_err() && is_grad_enabled(), "a panic left the mode behind");
    // A constant with the same value lets no gradient pass.
    let y = x.mul(&x.detach()).unwrap();
    assert_eq!(y.backward().unwrap().get(&x).unwrap().to_f64_vec(), [2.0]);
    assert!(x.is_leaf() && !y.is_leaf() && x.detach().id().is_none());
    assert!(!Var::leaf(Tensor::from_slice(&[1u32], &[1]).unwrap()).requires_grad());
}

#[test]
fn grad_visits_only_what_is_asked_for() {
    let (x, y, unused) = (leaf(&[2.0]), leaf(&[3.0]), leaf(&[1.0]));
    let product = x.mul(&y).unwrap();
    let z = product.square().unwrap();
    let inputs = [x.clone(), unused.clone(), product.clone(), x.detach()];
    let grads = grad(std::slice::from_ref(&z), &inputs, None, RETAIN).unwrap();
    assert_eq!(values(grads[0].as_ref().unwrap()), [36.0]);
    assert_eq!(values(grads[2].as_ref().unwrap()), [12.0]);
    assert!(grads[1].is_none() && grads[3].is_none());
    // Several outputs, each with its own gradient.
    let ones = [Var::constant(z.tensor().ones_like().unwrap()), leaf(&[10.0]).detach()];
    let grads = grad(&[z.clone(), product], &[y], Some(&ones), RETAIN).unwrap();
    assert_eq!(values(grads[0].as_ref().unwrap()), [2.0 * 6.0 * 2.0 + 10.0 * 2.0]);
    let error = grad(&[z], &[x], Some(&[]), RETAIN).err().unwrap().to_string();
    assert!(error.contains("1 outputs"), "{error}");
}

#[test]
fn misuse_is_an_error_that_says_what_to_do() {
    let x = leaf(&[2.0, 3.0]);
    let message = |r: Result<gradus_autograd::Gradients>| r.err().unwrap().to_string();
    let y = x.square().unwrap().sum_all().unwrap();
    y.backward().unwrap();
    let error = message(y.backward());
    assert!(error.contains("already walked") && error.contains("retain_graph"), "{error}");
    let error = message(x.square().unwrap().backward());
    assert!(error.contains("[2]") && error.contains("reduce"), "{error}");
    let error = message(x.detach().sum_all().unwrap().backward());
    assert!(error.contains("Var::leaf"), "{error}");
    let wrong = Tensor::ones(&[3], DType::F64).unwrap();
    let error = message(x.square().unwrap().backward_with(Some(wrong), RETAIN));
    assert!(error.contains("the gradient given is [3] f64, the value [2] f64"), "{error}");
    let single = Tensor::ones(&[2], DType::F32).unwrap();
    let error = message(x.square().unwrap().backward_with(Some(single), RETAIN));
    assert!(error.contains("the gradient given is [2] f32, the value [2] f64"), "{error}");
    let error = x.to_dtype(DType::U32).err().unwrap().to_string();
    assert!(error.contains("no gradient"), "{error}");
}

#[test]
fn the_gradient_of_a_leaf_survives_a_new_value() {
    let mut x = leaf(&[2.0, 3.0]);
    let y = x.square().unwrap().sum_all().unwrap();
    // A step in place while the graph still holds the old value.
    x.tensor_mut().add_(&Tensor::ones(&[2], DType::F64).unwrap(), 1.0).unwrap();
    assert_eq!(values(&x), [3.0, 4.0]);
    assert_eq!(y.backward().unwrap().get(&x).unwrap().to_f64_vec(), [4.0, 6.0]);
}

#[test]
fn a_rule_computes_only_what_is_wanted() {
    let (x, frozen) = (leaf(&[2.0]), leaf(&[3.0]).detach());
    let y = x.tensor().mul(frozen.tensor()).unwrap();
    let y = Var::custom("mul", y, &[&x, &frozen], |c| {
        assert_eq!((c.wants(0), c.wants(1)), (true, false));
        c.each(&[&|| c.grad().mul(c.input(1)), &|| unreachable!("nobody wants it")])
    });
    let y = y.unwrap();
    assert_eq!(y.item().unwrap(), 6.0);
    assert_eq!(y.backward().unwrap().get(&x).unwrap().to_f64_vec(), [3.0]);
}

#[test]
fn derivatives_of_a_power() {
    let x = leaf(&[1.5]);
    let mut y = x.powf(4.0).unwrap();
    for expected in [4.0 * 1.5f64.powi(3), 12.0 * 1.5f64.powi(2), 24.0 * 1.5, 24.0] {
        y = grad(&[y], std::slice::from_ref(&x), None, CREATE).unwrap()[0].clone().unwrap();
        assert_near(&values(&y), &[expected]);
    }
}

/// f(x) = Σ (x_{i+1} − x_i²)²·c + (1 − x_i)² (Rosenbrock) at a known point.
#[test]
fn a_hessian_vector_product() {
    let (a, b) = (0.7, -0.4);
    let (x, v) = (leaf(&[a, b]), leaf(&[1.0, 2.0]).detach());
    let (p, q) = (x.narrow(0, 0, 1).unwrap(), x.narrow(0, 1, 1).unwrap());
    let valley = q.sub(&p.square().unwrap()).unwrap().square().unwrap().mul_scalar(100.0).unwrap();
    let f = valley.add(&p.affine(-1.0, 1.0).unwrap().square().unwrap()).unwrap();
    let f = f.sum_all().unwrap();
    let g = grad(&[f], std::slice::from_ref(&x), None, CREATE).unwrap()[0].clone().unwrap();
    let dot = g.mul(&v).unwrap().sum_all().unwrap();
    let hv = dot.backward().unwrap().get(&x).unwrap().to_f64_vec();
    let h = [[1200.0 * a * a - 400.0 * b + 2.0, -400.0 * a], [-400.0 * a, 200.0]];
    assert_near(&hv, &[h[0][0] + 2.0 * h[0][1], h[1][0] + 2.0 * h[1][1]]);
}

#[test]
fn anomaly_mode_names_the_first_operation() {
    let x = leaf(&[1.0, 0.0]);
    let forward = |x: &Var| x.log()?.exp()?.sum_all();
    let error = detect_anomaly(|| forward(&x)).err().unwrap().to_string();
    assert!(error.contains("forward of log") && error.contains("-inf"), "{error}");
    assert!(error.contains("flat index 1"), "{error}");
    // √0 is finite, its slope is not.
    let y = detect_anomaly(|| x.sqrt()?.mul_scalar(2.0)?.sum_all()).unwrap();
    let error = detect_anomaly(|| y.backward()).err().unwrap().to_string();
    assert!(error.contains("sqrt") && error.contains("inf"), "{error}");
    assert!(forward(&x).is_ok(), "the mode ends with its scope");
}

#[test]
fn anomaly_mode_looks_into_checkpoints() {
    let x = leaf(&[1.0, 0.0]);
    let inside = x.clone();
    let y = gradus_autograd::checkpoint(move || inside.sqrt()?.mul_scalar(2.0)?.tanh()).unwrap();
    let error = detect_anomaly(|| y.sum_all()?.backward()).err().unwrap().to_string();
    assert!(error.contains("backward of sqrt"), "{error}");
}

/// Intermediate results of a rule may be infinite: the slope of 0⁰ is masked.
#[test]
fn anomaly_mode_ignores_what_a_rule_masks() {
    let x = leaf(&[0.0, 2.0]);
    let y = detect_anomaly(|| x.pow(&leaf(&[0.0, 3.0]).detach())?.sum_all()).unwrap();
    let grads = detect_anomaly(|| y.backward()).unwrap();
    assert_eq!(grads.get(&x).unwrap().to_f64_vec(), [0.0, 12.0]);
}

/// Layers side by side, some of them frozen: a frozen layer gets no gradient, the others get the
/// same as without frozen ones.
#[test]
fn frozen_layers_side_by_side_get_no_gradient() {
    let (x, w, b) = (random(&[4, 3], 1), random(&[2, 3], 2), random(&[2], 3));
    let (v, c) = (random(&[5, 3], 4), random(&[5], 5));
    let run = |x: &Var, w: &Var, v: &Var, b: &Var, c: &Var| {
        let y = x.linear_cat(&[w, v], &[b, c]).unwrap();
        y.square().unwrap().sum_all().unwrap().backward().unwrap()
    };
    let all = run(&x, &w, &v, &b, &c);
    let some = run(&x.detach(), &w.detach(), &v, &b, &c.detach());
    assert_eq!((all.len(), some.len()), (5, 2));
    for known in [&v, &b] {
        let (a, b) = (all.get(known).unwrap(), some.get(known).unwrap());
        assert_eq!(a.to_f64_vec(), b.to_f64_vec());
    }
    let only_x = run(&x, &w.detach(), &v.detach(), &b.detach(), &c.detach());
    assert_eq!(only_x.len(), 1);
    assert_eq!(only_x.get(&x).unwrap().to_f64_vec(), all.get(&x).unwrap().to_f64_vec());
}

/// A variable that is both the input and the residual gets both gradients. A constant residual gets
/// none.
#[test]
fn a_residual_may_be_the_input_or_a_constant() {
    let (x, w, b) = (random(&[3, 4], 1), random(&[4], 2), random(&[4], 3));
    let drop = Some((0.5, RngKey::new(6)));
    let fused = |r: &Var| x.dropout_add_layer_norm(r, &w, Some(&b), 1e-3, drop);
    let apart = |r: &Var| x.dropout(0.5, RngKey::new(6))?.add(r)?.layer_norm(&w, Some(&b), 1e-3);
    for residual in [x.clone(), x.detach()] {
        let gradient = |y: Result<Var>, options| {
            let loss = y.unwrap().square().unwrap().sum_all().unwrap();
            grad(&[loss], &[x.clone(), w.clone()], None, options).unwrap()
        };
        for options in [RETAIN, CREATE] {
            let (ours, truth) =
                (gradient(fused(&residual), options), gradient(apart(&residual), options));
            for (ours, truth) in ours.iter().zip(&truth) {
                assert_near(&values(ours.as_ref().unwrap()), &values(truth.as_ref().unwrap()));
            }
        }
    }
}

/// The hook sees every leaf once, with its whole gradient, as soon as the leaf's last use is done:
/// before the rules of older operations run.
#[test]
fn a_leaf_is_announced_when_its_last_use_is_done() {
    use std::sync::{Arc, Mutex};
    let log = Arc::new(Mutex::new(Vec::new()));
    let logged = |name: &'static str, x: &Var| {
        let log = log.clone();
        Var::custom(name, x.tensor().clone(), &[x], move |c| {
            log.lock().unwrap().push(name.to_string());
            Ok(vec![Some(c.grad().clone())])
        })
        .unwrap()
    };
    // `early` is made before `late`, so the walk comes to it after `late`. Both use `both`.
    let (x, w, both) = (leaf(&[3.0]), leaf(&[5.0]), leaf(&[7.0]));
    let early = logged("early", &x.mul(&both).unwrap());
    let late = logged("late", &early.mul(&w).unwrap().mul(&both).unwrap());
    let names = [(&x, "x"), (&w, "w"), (&both, "both")];
    let hook = |id, grad: &Tensor| {
        let (_, name) = names.iter().find(|(v, _)| v.id() == Some(id)).unwrap();
        log.lock().unwrap().push(format!("{name}: {}", grad.item()?));
        Ok(())
    };
    let grads = late.backward_with_hook(None, BackwardOptions::default(), hook).unwrap();
    // late = x·w·both²
    let order = ["late", "w: 147", "early", "both: 210", "x: 245"];
    assert_eq!(*log.lock().unwrap(), order);
    for (v, value) in [(&x, 245.0), (&w, 147.0), (&both, 210.0)] {
        assert_eq!(grads.get(v).unwrap().to_f64_vec(), [value]);
    }
    let cut = |_, _: &Tensor| Err(gradus_tensor::Error::op("send", "the line is cut"));
    let refused = x.square().unwrap().backward_with_hook(None, BackwardOptions::default(), cut);
    assert!(refused.err().unwrap().to_string().contains("the line is cut"));
}
