//! Every operation of the registry on a GPU against the CPU: values and gradients in f32, over
//! views, sizes 0, 1, odd and longer than a workgroup, and more workgroups than a launch has along
//! one dimension.
//!
//! A failure names the operation, its parameters and shapes, the view and the seed. Without an
//! adapter the tests say that they are skipped, or fail if `GRADUS_REQUIRE_GPU` is 1.

use crate::common::VIEWS;
use crate::common::parity::{compare, compare_long};
use gradus::autograd::Var;
use gradus::autograd::registry;
use gradus::tensor::ops::attention::Attention;
use gradus::tensor::ops::optim::{AdamWStep, SgdStep};
use gradus::tensor::{CrossEntropy, DType, Device, Result, RngKey, Tensor};
use gradus_testing::{adamw, assert_devices_agree, cases, gpu};
use proptest::prelude::*;

proptest! {
    #![proptest_config(cases(1))]

    #[test]
    fn every_operation_agrees_with_the_cpu(seed in any::<u64>().no_shrink()) {
        let Some(device) = gpu() else { return Ok(()) };
        eprintln!("seed {seed}");
        for case in registry::all_cases(RngKey::new(seed)) {
            for view in VIEWS {
                compare(&case, view, device, &format!(", seed {seed}"));
            }
        }
    }

    /// Long dimensions, with one view for each case.
    #[test]
    fn every_operation_agrees_over_long_dimensions(seed in any::<u64>().no_shrink()) {
        let Some(device) = gpu() else { return Ok(()) };
        compare_long(device, seed);
    }
}

/// Attention over sequences longer and shorter than a kernel's block, heads of one piece and of
/// several, with and without dropout, a causal mask, windows and a bias. The operands are columns
/// of one matrix. Heads so large that a thread has one row are tried with all of these at once.
#[test]
fn attention_agrees_over_blocks_and_pieces() {
    let Some(device) = gpu() else { return };
    let lengths = [5u32, 0, 1, 37, 16, 70, 3, 33, 31];
    let mut bounds = vec![0u32];
    lengths.iter().for_each(|n| bounds.push(bounds[bounds.len() - 1] + n));
    let tokens = bounds[bounds.len() - 1] as usize;
    let offsets = Tensor::from_slice(&bounds, &[bounds.len()]).unwrap();
    for (heads, d) in [(1, 1), (3, 24), (1, 80), (1, 272)] {
        let is_large = d > 256;
        let plain = Attention { heads, scale: 1.0 / (d as f64).sqrt(), ..Default::default() };
        let dropped = |p: f64| Attention { dropout: Some((p, RngKey::new(5))), ..plain };
        let causal = Attention { causal: true, ..plain };
        for (options, reach) in [
            (plain, None),
            (dropped(0.3), None),
            (dropped(1.0), None),
            (causal, None),
            (Attention { window: Some(9), ..dropped(0.3) }, None),
            (plain, Some(2)),
            (Attention { window: Some(16), ..plain }, Some(4)),
            (Attention { window: Some(33), causal: true, ..dropped(0.3) }, Some(17)),
            (dropped(0.3), Some(100)),
        ] {
            if is_large && reach != Some(17) {
                continue;
            }
            let what = format!("{options:?}, heads of {d}, bias to {reach:?}");
            let bias = reach.map(|reach: usize| {
                Tensor::randn(&[heads, 2 * reach + 1], DType::F32, RngKey::new(6)).unwrap()
            });
            let hidden = heads * d;
            let all =
                Tensor::randn(&[tokens, 3 * hidden], DType::F32, RngKey::new(d as u64)).unwrap();
            let grad = Tensor::randn(&[tokens, hidden], DType::F32, RngKey::new(77)).unwrap();
            let results = [Device::Cpu, device].map(|device| {
                let all = all.to_device(device).unwrap();
                let part = |i: usize| all.narrow(1, i * hidden, hidden).unwrap();
                let (q, k, v) = (part(0), part(1), part(2));
                let (o, g) = (offsets.to_device(device).unwrap(), grad.to_device(device).unwrap());
                let bias = bias.as_ref().map(|bias| bias.to_device(device).unwrap());
                let (out, lse) = q.attention(&k, &v, bias.as_ref(), &o, &options).unwrap();
                let bias = bias.as_ref().map(|bias| (bias, true));
                let grads = q.attention_backward([&k, &v], bias, &o, [&lse, &g], &options).unwrap();
                let all = [out, lse, grads.query, grads.key, grads.value].into_iter();
                let all = all.chain(grads.bias).map(|t| t.to_device(Device::Cpu).unwrap());
                all.collect::<Vec<_>>()
            });
            let names = ["output", "denominators", "dQ", "dK", "dV", "dB"];
            assert_eq!(results[1].len(), 5 + reach.is_some() as usize);
            for ((name, cpu), gpu) in names.iter().zip(&results[0]).zip(&results[1]) {
                assert_devices_agree(&format!("{what}: {name}"), cpu, gpu);
            }
        }
    }
}

/// A NaN in one sequence does not reach the other, though threads have rows of both.
#[test]
fn attention_keeps_sequences_apart() {
    let Some(device) = gpu() else { return };
    let (first, tokens, d) = (20, 45, 4);
    let offsets = [0u32, first as u32, tokens as u32];
    let offsets = Tensor::from_slice(&offsets, &[3]).unwrap().to_device(device).unwrap();
    let mut values = vec![0.5f32; tokens * d];
    values[30 * d + 1] = f32::NAN; // of the second sequence
    let x = Tensor::from_slice(&values, &[tokens, d]).unwrap().to_device(device).unwrap();
    let options = Attention { scale: 0.5, ..Default::default() };
    let (out, lse) = x.attention(&x, &x, None, &offsets, &options).unwrap();
    let grads = x.attention_backward([&x, &x], None, &offsets, [&lse, &x], &options).unwrap();
    for t in [out, grads.query, grads.key, grads.value] {
        let t = t.to_vec::<f32>().unwrap();
        assert!(t[..first * d].iter().all(|x| x.is_finite()), "{t:?}");
        assert!(t[first * d..].iter().any(|x| x.is_nan()), "{t:?}");
    }
}

/// Three steps of every optimiser, with and without a scale on the device, also over views.
#[test]
fn optimiser_steps_agree() {
    let Some(device) = gpu() else { return };
    let random =
        |name: &str| Tensor::randn(&[3, 337], DType::F32, RngKey::new(3).place(name)).unwrap();
    for (variant, scaled) in (0..6).flat_map(|v| [(v, false), (v, true)]) {
        let results = [Device::Cpu, device].map(|device| {
            let place = |t: Tensor| t.to_device(device).unwrap();
            // A parameter that begins inside a storage that other tensors share.
            let whole = place(random("p"));
            let mut p = whole.narrow(0, 1, 2).unwrap();
            let mut m = p.zeros_like().unwrap();
            let mut v = p.zeros_like().unwrap();
            let half = place(Tensor::full(&[], 0.5, DType::F32).unwrap());
            let scale = scaled.then_some(&half);
            for step in 1..=3 {
                let g = place(random(&format!("g{step}"))).narrow(0, 1, 2).unwrap();
                if variant < 2 {
                    let h = AdamWStep { decoupled: variant == 0, ..adamw(step) };
                    p.adamw_(&g, &mut m, &mut v, &h, scale).unwrap();
                } else {
                    let h = SgdStep {
                        lr: 0.1,
                        momentum: 0.9,
                        dampening: if variant == 4 { 0.3 } else { 0.0 },
                        nesterov: variant == 5,
                        weight_decay: 0.2,
                        step,
                    };
                    let buffer = (variant > 2).then_some(&mut m);
                    p.sgd_(&g, buffer, &h, scale).unwrap();
                }
            }
            [p, m, v, whole].map(|t| t.to_device(Device::Cpu).unwrap())
        });
        for (i, name) in ["parameter", "first moment", "second", "others"].iter().enumerate() {
            let what = format!("variant {variant}, scaled {scaled}: {name}");
            assert_devices_agree(&what, &results[0][i], &results[1][i]);
        }
    }
}

/// Norms of several tensors with several chunks, at magnitudes whose squares overflow or underflow.
#[test]
fn global_norms_agree() {
    let Some(device) = gpu() else { return };
    let random = |n: usize, factor: f64| {
        let x = Tensor::randn(&[n], DType::F32, RngKey::new(n as u64)).unwrap();
        x.mul_scalar(factor).unwrap()
    };
    let inf = Tensor::full(&[5], f64::INFINITY, DType::F32).unwrap();
    let nan = Tensor::full(&[5], f64::NAN, DType::F32).unwrap();
    let cases = [
        vec![random(10_001, 1.0), random(4096, 3.0), random(0, 1.0), random(7, 1.0)],
        vec![random(5000, 1e30), random(3, 1.0)],
        vec![random(5000, 1e-30)],
        vec![random(50, 1e-11), random(60, 1e-13)],
        vec![random(50, 3e13), random(60, 3e14)],
        vec![random(4097, 1e-30), random(5, 1e-3)],
        vec![random(0, 1.0)],
        vec![random(9, 0.0)],
        vec![random(9, 1.0), inf],
        vec![random(9, 1.0), nan],
    ];
    for (i, tensors) in cases.iter().enumerate() {
        let [cpu, gpu] = [Device::Cpu, device].map(|device| {
            // Some tensors begin at the second element of their storage.
            let placed: Vec<_> = tensors
                .iter()
                .map(|t| {
                    let (there, skip) = (t.to_device(device).unwrap(), t.numel() % 2);
                    there.narrow(0, skip, t.numel() - skip).unwrap()
                })
                .collect();
            Tensor::global_norm(&placed.iter().collect::<Vec<_>>()).unwrap().item().unwrap()
        });
        let same = cpu == gpu || (cpu.is_nan() && gpu.is_nan()) || (cpu - gpu).abs() <= 2e-6 * cpu;
        assert!(same, "case {i}: {cpu} on the CPU and {gpu} on the GPU");
    }
}

/// Launches of more than 65,535 workgroups, the limit of most devices along one dimension: one
/// workgroup for 256 elements, for a row, for a row of a table. (`device_limits.rs` tests such
/// launches for every operation of the registry, on a device with a low limit. Here they would take
/// minutes in software.)
#[test]
fn launches_of_more_than_65535_workgroups_agree() {
    let Some(device) = gpu() else { return };
    const MANY: usize = 65_537;
    type Function = Box<dyn Fn(&Var, Device) -> Result<Var>>;
    let ids = |below: u32| {
        let ids = Tensor::randint(0, below, &[MANY], RngKey::new(8)).unwrap();
        move |device| ids.to_device(device)
    };
    let (rows, classes) = (ids(MANY as u32), ids(2));
    let families: Vec<(&str, usize, Function)> = vec![
        ("softmax", 2, Box::new(|x, _| x.softmax(1))),
        ("embedding", 3, Box::new(move |x, d| x.embedding(&rows(d)?))),
        ("sort", 2, Box::new(|x, _| Ok(x.sort(1, true)?.0))),
        (
            "cross_entropy",
            2,
            Box::new(move |x, d| x.cross_entropy(&classes(d)?, &CrossEntropy::default())),
        ),
    ];
    let random = |width| Tensor::randn(&[MANY, width], DType::F32, RngKey::new(1)).unwrap();
    for (name, width, f) in families {
        let [cpu, gpu] = [Device::Cpu, device].map(|d| {
            let x = Var::leaf(random(width).to_device(d).unwrap());
            let y = f(&x, d).unwrap();
            // Squares, so that the incoming gradients all differ.
            let grads = y.square().unwrap().sum_all().unwrap().backward().unwrap();
            [y.tensor(), grads.get(&x).unwrap()].map(|t| t.to_device(Device::Cpu).unwrap())
        });
        assert_devices_agree(name, &cpu[0], &gpu[0]);
        assert_devices_agree(&format!("{name}, gradient"), &cpu[1], &gpu[1]);
    }
    let x = random(256);
    let there = x.to_device(device).unwrap().neg().unwrap().to_device(Device::Cpu).unwrap();
    assert!(x.neg().unwrap().to_vec::<f32>().unwrap() == there.to_vec::<f32>().unwrap(), "neg");
}
