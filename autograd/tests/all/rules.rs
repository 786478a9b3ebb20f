//! This crate's tests of the rules of all operations: against finite differences, fused against
//! composed at sizes around the kernels' block sizes, and exact slopes at kinks. (The workspace's
//! `tests/` cover views, dtypes, devices, threads and PyTorch's numbers.)

use gradus_autograd::ops::attention::{attention_composed, attention_qkvpacked_composed};
use gradus_autograd::registry::{self, SecondOrder};
use gradus_autograd::{BackwardOptions, GradCheck, Var, grad, gradcheck, gradgradcheck};
use gradus_tensor::ops::attention::Attention;
use gradus_tensor::{DType, Result, RngKey, Tensor};
use gradus_testing::{assert_near, largest};

const CREATE: BackwardOptions = BackwardOptions { create_graph: true, retain_graph: true };

#[test]
fn gradients_agree_with_finite_differences() {
    for seed in 1..=3 {
        for case in registry::all_cases(RngKey::new(seed)) {
            let mut options = GradCheck::new(case.label.clone(), seed);
            if let Some((step, atol)) = case.precision {
                (options.step, options.atol) = (step, atol);
            }
            gradcheck(&case.f, &case.inputs, &options).unwrap();
            if case.second_order == SecondOrder::Yes {
                gradgradcheck(&case.f, &case.inputs, &options).unwrap();
            }
        }
    }
}

/// The value and the gradients, for an incoming gradient of different numbers.
fn outcome(
    f: impl Fn(&[Var]) -> Result<Var>,
    inputs: &[Tensor],
    options: BackwardOptions,
) -> Vec<Tensor> {
    let leaves: Vec<Var> = inputs.iter().map(|t| Var::leaf(t.clone())).collect();
    let y = f(&leaves).unwrap();
    let incoming = Tensor::rand(y.shape(), y.dtype(), RngKey::new(5)).unwrap();
    let seed = [Var::constant(incoming.add_scalar(0.5).unwrap())];
    let grads = grad(std::slice::from_ref(&y), &leaves, Some(&seed), options).unwrap();
    let of = |(grad, leaf): (Option<Var>, &Var)| match grad {
        Some(grad) => grad.into_tensor(),
        None => leaf.tensor().zeros_like().unwrap(),
    };
    std::iter::once(y.into_tensor()).chain(grads.into_iter().zip(&leaves).map(of)).collect()
}

fn assert_close(what: &str, ours: &[Tensor], truth: &[Tensor], tolerance: f64) {
    for (i, (ours, truth)) in ours.iter().zip(truth).enumerate() {
        let within = tolerance * largest(truth, 1.0);
        assert_near(&format!("{what}, result {i}"), ours, truth, |_| within);
    }
}

#[test]
fn fused_recorded_and_composed_agree_at_long_sizes() {
    for seed in 1..=2 {
        for case in registry::all_long_cases(RngKey::new(seed)) {
            let Some(composed) = &case.composed else { continue };
            let truth = outcome(composed, &case.inputs, BackwardOptions::default());
            let fused = outcome(&case.f, &case.inputs, BackwardOptions::default());
            assert_close(&case.label, &fused, &truth, 1e-11);
            let recorded = outcome(&case.f, &case.inputs, CREATE);
            assert_close(&format!("{}, recorded", case.label), &recorded, &truth, 1e-11);
        }
    }
}

/// Sequences around attention's block sizes, with and without dropout, windows around these sizes,
/// a causal mask and a bias, in f64 and f32.
#[test]
fn attention_beyond_a_block() {
    let lengths = [1u32, 15, 16, 17, 31, 33, 47, 48, 49, 63, 64, 65, 96, 97, 129, 200];
    for (n, &length) in lengths.iter().enumerate() {
        // Next to a short one, so that places in the batch and in the sequence differ.
        let offsets = Tensor::from_slice(&[0, 3, 3 + length], &[3]).unwrap();
        let (tokens, heads, d) = (3 + length as usize, 1 + n % 3, [5, 8, 16][n % 3]);
        let window = Some([0, 5, 16, 47, 48, 64, 1000][n % 7]);
        for (switch, causal, window) in [
            (0, false, None),
            (1, false, None),
            (2, false, window),
            (3, true, window),
            (4, true, None),
        ] {
            let dropout = (switch % 2 == 1).then(|| (0.25, RngKey::new(n as u64)));
            let scale = 0.7 / (d as f64).sqrt();
            let options = Attention { heads, scale, dropout, causal, window, bf16: false };
            let input = |seed: u64, width: usize| {
                Tensor::randn(&[tokens, width], DType::F64, RngKey::new(seed)).unwrap()
            };
            let mut apart: Vec<Tensor> = (0..3).map(|i| input(i, heads * d)).collect();
            let mut packed = vec![Tensor::cat(&apart.iter().collect::<Vec<_>>(), 1).unwrap()];
            if switch > 1 {
                let width = [1, 3, 33, 401][n % 4];
                let bias = Tensor::randn(&[heads, width], DType::F64, RngKey::new(4)).unwrap();
                apart.push(bias.clone());
                packed.push(bias);
            }
            let plain = BackwardOptions::default();
            let three = |v: &[Var]| v[0].attention(&v[1], &v[2], v.get(3), &offsets, &options);
            let one = |v: &[Var]| v[0].attention_qkvpacked(v.get(1), &offsets, &options);
            let composed =
                |v: &[Var]| attention_composed([&v[0], &v[1], &v[2]], v.get(3), &offsets, &options);
            let composed_one =
                |v: &[Var]| attention_qkvpacked_composed(&v[0], v.get(1), &offsets, &options);
            let what = format!("{length} tokens, {options:?}, {} inputs", apart.len());
            let truth = outcome(composed, &apart, plain);
            assert_close(&what, &outcome(three, &apart, plain), &truth, 1e-12);
            let truth_one = outcome(composed_one, &packed, plain);
            assert_close(&what, &outcome(one, &packed, plain), &truth_one, 1e-12);
            let single = |all: &[Tensor]| -> Vec<Tensor> {
                all.iter().map(|t| t.to_dtype(DType::F32).unwrap()).collect()
            };
            assert_close(&what, &outcome(three, &single(&apart), plain), &truth, 1e-5);
            assert_close(&what, &outcome(one, &single(&packed), plain), &truth_one, 1e-5);
        }
    }
}

/// The gradient of one input for an incoming gradient of `g` everywhere.
fn slopes(f: impl Fn(&Var) -> Result<Var>, x: &[f64], g: f64) -> Vec<f64> {
    let both = [BackwardOptions::default(), CREATE].map(|options| {
        let x = Var::leaf(Tensor::from_slice(x, &[x.len()]).unwrap());
        let y = f(&x).unwrap();
        let seed = [Var::constant(Tensor::full(y.shape(), g, y.dtype()).unwrap())];
        let grads = grad(&[y], std::slice::from_ref(&x), Some(&seed), options).unwrap();
        grads[0].as_ref().unwrap().tensor().to_f64_vec()
    });
    assert_eq!(format!("{:?}", both[0]), format!("{:?}", both[1]), "recorded and not");
    both[0].clone()
}

/// A value that is not chosen has slope 0, even if the incoming gradient is infinite, like that of
/// sqrt at 0.
#[test]
fn slopes_at_kinks() {
    const INF: f64 = f64::INFINITY;
    for g in [1.0, INF] {
        assert_eq!(slopes(|x| x.relu(), &[-1.0, -0.0, 0.0, 1.0], g), [0.0, 0.0, 0.0, g]);
        assert_eq!(
            slopes(|x| x.clamp(-1.0, 2.0), &[-2.0, -1.0, 0.0, 2.0, 3.0], g),
            [0.0, 0.0, g, 0.0, 0.0]
        );
        assert_eq!(slopes(|x| x.clamp(-INF, 2.0), &[-INF, 1.0, 2.0, INF], g), [g, g, 0.0, 0.0]);
        assert_eq!(slopes(|x| x.clamp(0.0, INF), &[-INF, 0.0, 1.0, INF], g), [0.0, 0.0, g, g]);
        assert_eq!(
            slopes(|x| x.max(&[], false), &[1.0, 3.0, 3.0, 2.0], g),
            [0.0, g / 2.0, g / 2.0, 0.0]
        );
        assert_eq!(
            slopes(|x| x.min(&[0], true), &[1.0, 3.0, 1.0, 1.0], g),
            [g / 3.0, 0.0, g / 3.0, g / 3.0]
        );
        let two = Var::constant(Tensor::full(&[3], 2.0, DType::F64).unwrap());
        assert_eq!(slopes(|x| x.maximum(&two), &[1.0, 2.0, 3.0], g), [0.0, g / 2.0, g]);
        assert_eq!(slopes(|x| two.maximum(x), &[1.0, 2.0, 3.0], g), [0.0, g / 2.0, g]);
        assert_eq!(slopes(|x| x.minimum(&two), &[1.0, 2.0, 3.0], g), [g, g / 2.0, 0.0]);
        assert_eq!(slopes(|x| two.minimum(x), &[1.0, 2.0, 3.0], g), [g, g / 2.0, 0.0]);
        let mask = Tensor::from_slice(&[1u8, 0, 1], &[3]).unwrap();
        assert_eq!(slopes(|x| x.where_(&mask, &two), &[1.0, 2.0, 3.0], g), [g, 0.0, g]);
        assert_eq!(slopes(|x| two.where_(&mask, x), &[1.0, 2.0, 3.0], g), [0.0, g, 0.0]);
        for f in [Var::floor, Var::ceil, Var::round, Var::sign] {
            assert_eq!(slopes(f, &[0.0, 0.5, 1.0, -INF], g), [0.0; 4]);
        }
        assert_eq!(slopes(|x| x.powf(0.0), &[0.0, 2.0, INF], g), [0.0; 3]);
        assert_eq!(slopes(|x| x.powf(1.0), &[0.0, -2.0, INF], g), [g; 3]);
        // A dropped element.
        let key = RngKey::new(1);
        let kept = slopes(|x| x.dropout(0.5, key), &[1.0; 64], 1.0);
        assert!(kept.contains(&0.0) && kept.contains(&2.0));
        assert_eq!(
            slopes(|x| x.dropout(0.5, key), &[INF; 64], g),
            kept.iter().map(|k| if *k == 0.0 { 0.0 } else { k * g }).collect::<Vec<_>>()
        );
    }
    assert_eq!(slopes(|x| x.abs(), &[-2.0, -0.0, 0.0, 2.0], 1.0), [-1.0, 0.0, 0.0, 1.0]);
    // The infinite slope of sqrt at 0 does not reach what was cut off.
    assert_eq!(slopes(|x| x.relu()?.sqrt(), &[-1.0, 0.0, 4.0], 1.0), [0.0, 0.0, 0.25]);
    assert_eq!(slopes(|x| x.clamp(0.0, INF)?.sqrt(), &[-1.0, 0.0, 4.0], 1.0), [0.0, 0.0, 0.25]);
    assert_eq!(slopes(|x| x.relu()?.reciprocal(), &[-1.0, 0.0, 4.0], 1.0), [0.0, 0.0, -0.0625]);
    assert_eq!(slopes(|x| x.clamp(0.0, 2.0)?.log(), &[-1.0, 0.0, 4.0], 1.0), [0.0; 3]);
}

#[test]
fn limits_that_are_no_range() {
    let x = Var::leaf(Tensor::ones(&[2], DType::F64).unwrap());
    for (min, max) in [(1.0, 0.0), (f64::NAN, 1.0), (0.0, f64::NAN)] {
        let error = x.clamp(min, max).unwrap_err().to_string();
        assert!(error.contains("[clamp]") && error.contains("no range"), "{error}");
    }
}

/// NaN stays NaN, and no other element becomes NaN.
#[test]
fn nan_stays_where_it_is() {
    const NAN: f64 = f64::NAN;
    let shown = |x: Vec<f64>| format!("{x:?}");
    assert_eq!(shown(slopes(|x| x.max(&[], false), &[1.0, NAN, 2.0], 1.0)), "[0.0, 1.0, 0.0]");
    assert_eq!(shown(slopes(|x| x.relu(), &[1.0, NAN, -2.0], 1.0)), "[1.0, 1.0, 0.0]");
    let one = Var::constant(Tensor::ones(&[3], DType::F64).unwrap());
    assert_eq!(shown(slopes(|x| x.maximum(&one), &[0.0, NAN, 2.0], 1.0)), "[0.0, 1.0, 1.0]");
    assert_eq!(shown(slopes(|x| one.minimum(x), &[0.0, NAN, 2.0], 1.0)), "[1.0, 1.0, 0.0]");
}

/// Numbers whose squares overflow or underflow: a/b has the slope −a/b².
#[test]
fn quotients_of_extreme_numbers() {
    for size in [1e-200, 1e200] {
        let a = Var::constant(Tensor::full(&[1], size, DType::F64).unwrap());
        let slope = slopes(|b| a.div(b), &[2.0 * size], 1.0)[0];
        let truth = -0.25 / size;
        assert!((slope / truth - 1.0).abs() < 1e-14, "{slope} and {truth}");
    }
}

/// As PyTorch: 0 where the base is 0, except for negative exponents.
#[test]
fn powers_of_zero() {
    let base = Var::constant(Tensor::zeros(&[3], DType::F64).unwrap());
    assert_eq!(slopes(|e| base.pow(e), &[0.0, 2.0, -1.0], 1.0), [0.0, 0.0, f64::NEG_INFINITY]);
    let exponent = Var::constant(Tensor::from_slice(&[0.0, 1.0, 0.5], &[3]).unwrap());
    assert_eq!(slopes(|a| a.pow(&exponent), &[0.0; 3], 1.0), [0.0, 1.0, f64::INFINITY]);
    assert_eq!(slopes(|a| a.pow(&exponent), &[0.0; 3], f64::INFINITY)[0], 0.0);
}

/// With correction 2, three numbers have a variance and two have none.
#[test]
fn variances_with_any_correction() {
    for correction in 0..4 {
        let x = [1.0, 2.0, 4.0, 8.0, -3.0];
        let mean = x.iter().sum::<f64>() / 5.0;
        let truth: Vec<f64> =
            x.iter().map(|x| 2.0 * (x - mean) / (5.0 - correction as f64)).collect();
        for (a, b) in slopes(|v| v.var(&[], false, correction), &x, 1.0).iter().zip(truth) {
            assert!((a - b).abs() < 1e-14, "correction {correction}: {a} and {b}");
        }
    }
    let too_few = slopes(|v| v.var(&[0], false, 2), &[1.0, 2.0], 1.0);
    assert_eq!(too_few, [f64::NEG_INFINITY, f64::INFINITY]);
}
