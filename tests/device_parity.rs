//! Every operation of the registry on a GPU against the CPU: values and gradients in f32, over views and
//! sizes 0 and 1.
//!
//! Without an adapter the tests say that they are skipped; with `GRADUS_REQUIRE_GPU=1` that is a failure.

#[path = "../tensor/tests/common/mod.rs"]
mod common;

use common::gpu;
use gradus::autograd::registry::{self, Case};
use gradus::autograd::{BackwardOptions, Op, Var};
use gradus::tensor::ops::attention::Attention;
use gradus::tensor::ops::optim::{AdamWStep, SgdStep};
use gradus::tensor::{DType, Device, Result, RngKey, Tensor};

/// The value and the gradients of a case, on the CPU.
type Outcome = (Tensor, Vec<Option<Tensor>>);

/// How an operation sees its inputs.
#[derive(Clone, Copy, Debug)]
enum View {
    Plain,
    Transposed,
    Narrowed,
}

fn seen_through(view: View, x: &Tensor) -> Result<Tensor> {
    Ok(match view {
        View::Plain => x.clone(),
        View::Transposed if x.rank() >= 2 => {
            let last = x.rank() as isize - 1;
            x.transpose(0, last)?.copy()?.transpose(0, last)?
        }
        View::Narrowed if x.rank() >= 1 => {
            // With an entry in front and one behind along the last dimension.
            let n = x.shape()[x.rank() - 1];
            x.pad_zeros(-1, 1, 1)?.narrow(-1, 1, n)?
        }
        _ => x.clone(),
    })
}

fn run(case: &Case, view: View, device: Device) -> Result<Outcome> {
    let prepare = |x: &Tensor| {
        let x = seen_through(view, &x.to_dtype(DType::F32)?)?;
        if device == Device::Cpu {
            return Ok(x);
        }
        // A view of an uploaded whole, so that the GPU sees these strides too.
        Ok(match view {
            View::Plain => x.to_device(device)?,
            View::Transposed if x.rank() >= 2 => {
                let last = x.rank() as isize - 1;
                x.transpose(0, last)?.to_device(device)?.transpose(0, last)?
            }
            View::Narrowed if x.rank() >= 1 => {
                let n = x.shape()[x.rank() - 1];
                x.pad_zeros(-1, 1, 1)?.to_device(device)?.narrow(-1, 1, n)?
            }
            _ => x.to_device(device)?,
        })
    };
    let leaves: Vec<Var> =
        case.inputs.iter().map(|x| Ok(Var::leaf(prepare(x)?))).collect::<Result<_>>()?;
    let y = (case.f)(&leaves)?;
    let value = y.tensor().to_device(Device::Cpu)?;
    // A seed of different numbers, so that a gradient in the wrong place shows.
    let seed = Tensor::rand(y.shape(), DType::F32, RngKey::new(99))?.add_scalar(0.5)?;
    let grads = y.backward_with(Some(seed.to_device(device)?), BackwardOptions::default())?;
    let grad = |leaf: &Var| grads.get(leaf).map(|g| g.to_device(Device::Cpu)).transpose();
    Ok((value, leaves.iter().map(grad).collect::<Result<_>>()?))
}

fn assert_close(what: &str, cpu: &Tensor, gpu: &Tensor) {
    assert_eq!(cpu.shape(), gpu.shape(), "{what}: shapes");
    assert_eq!(cpu.dtype(), gpu.dtype(), "{what}: dtypes");
    let (cpu, gpu) = (cpu.to_f64_vec(), gpu.to_f64_vec());
    let scale = cpu.iter().filter(|x| x.is_finite()).fold(1.0f64, |m, x| m.max(x.abs()));
    for (i, (&a, &b)) in cpu.iter().zip(&gpu).enumerate() {
        let same =
            a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 2e-6 * scale + 1e-5 * a.abs();
        assert!(same, "{what}: element {i} is {a} on the CPU and {b} on the GPU");
    }
}

fn compare(case: &Case, view: View, device: Device) -> Result<()> {
    let on_gpu = run(case, view, device)?;
    let on_cpu = run(case, view, Device::Cpu).expect("the CPU computes every case");
    let what = format!("{} {view:?}", case.label);
    assert_close(&what, &on_cpu.0, &on_gpu.0);
    for (i, (cpu, gpu)) in on_cpu.1.iter().zip(&on_gpu.1).enumerate() {
        match (cpu, gpu) {
            (Some(cpu), Some(gpu)) => assert_close(&format!("{what}, gradient {i}"), cpu, gpu),
            (cpu, gpu) => assert_eq!(cpu.is_some(), gpu.is_some(), "{what}: gradient {i}"),
        }
    }
    Ok(())
}

#[test]
fn every_operation_agrees_with_the_cpu() {
    let Some(device) = gpu() else { return };
    let key = RngKey::new(7);
    for op in Op::all() {
        for case in registry::cases(op, key.place(op.name())) {
            for view in [View::Plain, View::Transposed, View::Narrowed] {
                if let Err(error) = compare(&case, view, device) {
                    panic!("{}: {error}", case.label);
                }
            }
        }
    }
}

/// Attention of sequences longer and shorter than a kernel's block, heads of one piece and of several,
/// with and without dropout, the operands columns of one matrix.
#[test]
fn attention_agrees_over_blocks_and_pieces() {
    let Some(device) = gpu() else { return };
    let lengths = [5u32, 0, 1, 37, 16, 70, 3];
    let mut bounds = vec![0u32];
    lengths.iter().for_each(|n| bounds.push(bounds[bounds.len() - 1] + n));
    let tokens = bounds[bounds.len() - 1] as usize;
    let offsets = Tensor::from_slice(&bounds, &[bounds.len()]).unwrap();
    for (heads, d) in [(1, 1), (3, 24), (1, 80)] {
        for dropout in [None, Some((0.3, RngKey::new(5))), Some((1.0, RngKey::new(5)))] {
            let what = format!("{heads} heads of {d}, dropout {dropout:?}");
            let options = Attention { heads, scale: 1.0 / (d as f64).sqrt(), dropout };
            let hidden = heads * d;
            let all =
                Tensor::randn(&[tokens, 3 * hidden], DType::F32, RngKey::new(d as u64)).unwrap();
            let grad = Tensor::randn(&[tokens, hidden], DType::F32, RngKey::new(77)).unwrap();
            let results = [Device::Cpu, device].map(|device| {
                let all = all.to_device(device).unwrap();
                let part = |i: usize| all.narrow(1, i * hidden, hidden).unwrap();
                let (q, k, v) = (part(0), part(1), part(2));
                let (o, g) = (offsets.to_device(device).unwrap(), grad.to_device(device).unwrap());
                let (out, lse) = q.attention(&k, &v, &o, &options).unwrap();
                let (dq, dk, dv) = q.attention_backward(&k, &v, &o, &lse, &g, &options).unwrap();
                [out, lse, dq, dk, dv].map(|t| t.to_device(Device::Cpu).unwrap())
            });
            for (i, name) in ["output", "denominators", "dQ", "dK", "dV"].iter().enumerate() {
                assert_close(&format!("{what}: {name}"), &results[0][i], &results[1][i]);
            }
        }
    }
}

/// What is not a number in one sequence stays there.
#[test]
fn attention_keeps_sequences_apart() {
    let Some(device) = gpu() else { return };
    let offsets = Tensor::from_slice(&[0u32, 3, 7], &[3]).unwrap().to_device(device).unwrap();
    let mut values = vec![0.5f32; 7 * 4];
    values[4 * 4 + 1] = f32::NAN; // of the second sequence
    let x = Tensor::from_slice(&values, &[7, 4]).unwrap().to_device(device).unwrap();
    let options = Attention { heads: 1, scale: 0.5, dropout: None };
    let (out, lse) = x.attention(&x, &x, &offsets, &options).unwrap();
    let (dq, dk, dv) = x.attention_backward(&x, &x, &offsets, &lse, &x, &options).unwrap();
    for t in [out, dq, dk, dv] {
        let t = t.to_vec::<f32>().unwrap();
        assert!(t[..3 * 4].iter().all(|x| x.is_finite()), "{t:?}");
        assert!(t[3 * 4..].iter().any(|x| x.is_nan()), "{t:?}");
    }
}

/// Three steps of every optimiser, with and without a scale that lies on the device, and over views.
#[test]
fn optimiser_steps_agree() {
    let Some(device) = gpu() else { return };
    let random =
        |name: &str| Tensor::randn(&[3, 337], DType::F32, RngKey::new(3).place(name)).unwrap();
    for (variant, scaled) in (0..6).flat_map(|v| [(v, false), (v, true)]) {
        let results = [Device::Cpu, device].map(|device| {
            let place = |t: Tensor| t.to_device(device).unwrap();
            // A parameter that begins within a storage which others see.
            let whole = place(random("p"));
            let mut p = whole.narrow(0, 1, 2).unwrap();
            let mut m = p.zeros_like().unwrap();
            let mut v = p.zeros_like().unwrap();
            let half = place(Tensor::full(&[], 0.5, DType::F32).unwrap());
            let scale = scaled.then_some(&half);
            for step in 1..=3 {
                let g = place(random(&format!("g{step}"))).narrow(0, 1, 2).unwrap();
                if variant < 2 {
                    let h = AdamWStep {
                        lr: 0.01,
                        beta1: 0.9,
                        beta2: 0.999,
                        eps: 1e-8,
                        weight_decay: 0.1,
                        step,
                        decoupled: variant == 0,
                    };
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
            assert_close(&what, &results[0][i], &results[1][i]);
        }
    }
}

/// Norms of several tensors, of several chunks, beyond the range of squares on both sides.
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
            let placed: Vec<_> = tensors.iter().map(|t| t.to_device(device).unwrap()).collect();
            Tensor::global_norm(&placed.iter().collect::<Vec<_>>()).unwrap().item().unwrap()
        });
        let same = cpu == gpu || (cpu.is_nan() && gpu.is_nan()) || (cpu - gpu).abs() <= 2e-6 * cpu;
        assert!(same, "case {i}: {cpu} on the CPU and {gpu} on the GPU");
    }
}
