//! Results of a GPU on f16 against the CPU's in f32 from the same rounded operands. Only the
//! results are rounded to f16, so they agree within its precision (2⁻¹¹ relative).

use gradus_tensor::ops::attention::Attention;
use gradus_tensor::ops::binary::BinaryOp;
use gradus_tensor::ops::glu::{Gate, Glu};
use gradus_tensor::ops::optim::SgdStep;
use gradus_tensor::ops::reduce::ReduceOp;
use gradus_tensor::ops::rotary::Rotary;
use gradus_tensor::ops::unary::UnaryOp;
use gradus_tensor::{DType, Device, LossScale, RngKey, Tensor};
use gradus_testing::{adamw, gpu};

const F16: DType = DType::F16;
const F32: DType = DType::F32;

/// Normal numbers that f16 holds exactly, as f32 on the CPU.
fn randn(shape: &[usize], seed: u64) -> Tensor {
    let x = Tensor::randn(shape, F32, RngKey::new(seed)).unwrap();
    x.to_dtype(F16).unwrap().to_dtype(F32).unwrap()
}

/// The same numbers on the GPU, in f16.
fn half(x: &Tensor, device: Device) -> Tensor {
    x.to_device(device).unwrap().to_dtype(F16).unwrap()
}

fn assert_near(what: &str, truth: &Tensor, ours: &Tensor, dtype: DType) {
    assert_eq!((ours.shape(), ours.dtype()), (truth.shape(), dtype), "{what}");
    let (truth, ours) = (truth.to_f64_vec(), ours.to_f64_vec());
    let scale = truth.iter().fold(0.25f64, |m, x| m.max(x.abs()));
    // The tolerance includes the largest element, because sums of rounded numbers may cancel.
    let tolerance = if dtype == F16 { 6e-4 } else { 1e-5 };
    for (i, (a, b)) in truth.iter().zip(&ours).enumerate() {
        let near = (a - b).abs() <= tolerance * (a.abs() + 0.1 * scale);
        assert!(near || (a.is_nan() && b.is_nan()), "{what}: element {i} is {b}, should be {a}");
    }
}

#[test]
fn products() {
    let Some(device) = gpu() else { return };
    let there = |t: &Tensor| half(t, device);
    for (m, k, n) in [(1, 1, 1), (5, 33, 17), (40, 70, 66), (515, 37, 530), (3, 0, 4)] {
        let (a, b) = (randn(&[m, k], 1), randn(&[k, n], 2));
        let w = b.t().unwrap().copy().unwrap();
        let bias = randn(&[n], 3);
        let what = format!("{m}×{k}×{n}");
        let truth = a.matmul(&b).unwrap();
        let turned = there(&a.t().unwrap().copy().unwrap()).t().unwrap();
        assert_near(&what, &truth, &there(&a).matmul(&there(&b)).unwrap(), F16);
        let sums = turned.matmul_out_dtype(&there(&w).t().unwrap(), F32).unwrap();
        assert_near(&what, &truth, &sums, F32);
        let truth = a.linear(&w, Some(&bias)).unwrap();
        // With the bias in f16, then in f32.
        for bias in [there(&bias), bias.to_device(device).unwrap()] {
            assert_near(&what, &truth, &there(&a).linear(&there(&w), Some(&bias)).unwrap(), F16);
            let (y, z) = there(&a).linear_gelu(&there(&w), Some(&bias), true).unwrap();
            assert_near(&what, &truth, &z.unwrap(), F16);
            assert_near(&what, &truth.gelu().unwrap(), &y, F16);
        }
    }
    let (a, b) = (randn(&[3, 1, 9, 20], 4), randn(&[2, 20, 7], 5));
    let ours = there(&a).matmul(&there(&b)).unwrap();
    assert_near("batched", &a.matmul(&b).unwrap(), &ours, F16);
    let message = |r: gradus_tensor::Result<Tensor>| r.unwrap_err().to_string();
    let refused = message(there(&a).matmul_out_dtype(&there(&b), DType::U32));
    assert!(refused.starts_with("[matmul]"), "{refused}");
    assert!(message(there(&a).matmul(&b.to_device(device).unwrap())).contains("f16 and f32"));
    let here = a.to_dtype(F16).unwrap();
    assert_eq!(here.matmul(&here.t().unwrap()).unwrap().dtype(), F16);
}

#[test]
fn reductions() {
    let Some(device) = gpu() else { return };
    let shapes: [(&[usize], &[isize]); 8] = [
        (&[7, 5], &[1]),
        (&[9, 17], &[1]),
        (&[3, 700], &[1]),
        (&[2, 8193], &[1]),
        (&[9, 70], &[0]),
        (&[600, 67], &[0]),
        (&[4, 5, 6, 7], &[0, 2]),
        (&[33], &[]),
    ];
    let ops = [
        ReduceOp::Sum,
        ReduceOp::Prod,
        ReduceOp::Mean,
        ReduceOp::Max,
        ReduceOp::Min,
        ReduceOp::Var { correction: 1 },
        ReduceOp::LogSumExp,
    ];
    for (i, (shape, dims)) in shapes.into_iter().enumerate() {
        let x = randn(shape, i as u64).affine(0.02, 1.0).unwrap();
        let x = x.to_dtype(F16).unwrap().to_dtype(F32).unwrap();
        let there = half(&x, device);
        for op in ops {
            if op == ReduceOp::Prod && x.numel() > 3000 {
                continue; // out of range
            }
            let what = format!("{op:?} {shape:?} {dims:?}");
            let (truth, ours) = (x.reduce(op, dims, true), there.reduce(op, dims, true));
            assert_near(&what, &truth.unwrap(), &ours.unwrap(), F16);
        }
        let sums = there.sum_in(dims, false, F32).unwrap();
        assert_near("sum_in", &x.sum(dims, false).unwrap(), &sums, F32);
        let (a, b) = (x.argmax(0, false).unwrap(), there.argmax(0, false).unwrap());
        assert_eq!(a.to_f64_vec(), b.to_f64_vec(), "argmax {shape:?}");
    }
}

#[test]
fn rows() {
    let Some(device) = gpu() else { return };
    for (rows, n) in [(1, 1), (130, 64), (64, 257), (7, 768), (2, 1500)] {
        let (x, g) = (randn(&[rows, n], 1), randn(&[rows, n], 2));
        let (xt, gt) = (half(&x, device), half(&g, device));
        let what = |part: &str| format!("{part} {rows} {n}");
        assert_near(&what("softmax"), &x.softmax(-1).unwrap(), &xt.softmax(-1).unwrap(), F16);
        let y = xt.log_softmax(-1).unwrap();
        assert_near(&what("log_softmax"), &x.log_softmax(-1).unwrap(), &y, F16);
        // Both devices take derivatives from the same rounded result.
        let seen = y.to_dtype(F32).unwrap().to_device(Device::Cpu).unwrap();
        let truth = seen.log_softmax_backward(&g, -1).unwrap();
        let ours = y.log_softmax_backward(&gt, -1).unwrap();
        assert_near(&what("log_softmax_backward"), &truth, &ours, F16);
        let truth = seen.softmax_backward(&g, -1).unwrap();
        assert_near(&what("backward"), &truth, &y.softmax_backward(&gt, -1).unwrap(), F16);

        let (w, b) = (randn(&[n], 3), randn(&[n], 4));
        let truth = x.layer_norm(&w, Some(&b), 1e-5).unwrap();
        let there = |t: &Tensor| t.to_device(device).unwrap();
        for (w_there, b_there) in [(there(&w), there(&b)), (half(&w, device), half(&b, device))] {
            let ours = xt.layer_norm(&w_there, Some(&b_there), 1e-5).unwrap();
            assert_near(&what("output"), &truth.output, &ours.output, F16);
            // Statistics are not rounded.
            assert_near(&what("mean"), &truth.mean, &ours.mean, F32);
            assert_near(&what("rstd"), &truth.rstd, &ours.rstd, F32);
            let (dx, dw, db) =
                xt.layer_norm_backward(&w_there, &ours.mean, &ours.rstd, &gt, None).unwrap();
            let truth = x.layer_norm_backward(&w, &truth.mean, &truth.rstd, &g, None).unwrap();
            assert_near(&what("dx"), &truth.0, &dx, F16);
            assert_near(&what("dw"), &truth.1, &dw, w_there.dtype());
            assert_near(&what("db"), &truth.2, &db, w_there.dtype());

            let (truth, ours) = (x.rms_norm(&w, 0.1).unwrap(), xt.rms_norm(&w_there, 0.1).unwrap());
            assert_near(&what("rms_norm"), &truth.output, &ours.output, F16);
            let (dx, dw) = xt.rms_norm_backward(&w_there, &ours.rstd, &gt, None).unwrap();
            let truth = x.rms_norm_backward(&w, &truth.rstd, &g, None).unwrap();
            assert_near(&what("dx of rms_norm"), &truth.0, &dx, F16);
            assert_near(&what("dw of rms_norm"), &truth.1, &dw, w_there.dtype());
        }
    }
}

#[test]
fn gated_units_and_rotations() {
    let Some(device) = gpu() else { return };
    let (x, g) = (randn(&[37, 66], 1), randn(&[37, 33], 2));
    let (xt, gt) = (half(&x, device), half(&g, device));
    for gate in Gate::ALL {
        let options = Glu { gate, gate_first: true };
        let (truth, ours) = (x.glu(options).unwrap(), xt.glu(options).unwrap());
        assert_near(gate.unary().name(), &truth, &ours, F16);
        let truth = x.glu_backward(&g, options).unwrap();
        assert_near(gate.unary().name(), &truth, &xt.glu_backward(&gt, options).unwrap(), F16);
    }
    let table = Tensor::rotary_table(50, 10, 100.0).unwrap();
    let positions = Tensor::arange(0.0, 37.0, 1.0, DType::U32).unwrap();
    let options = Rotary { heads: 4, head_size: 14, inverse: false };
    let truth = x.rotary_embedding(&table, &positions, options).unwrap();
    let (table, positions) =
        (table.to_device(device).unwrap(), positions.to_device(device).unwrap());
    let ours = xt.rotary_embedding(&table, &positions, options).unwrap();
    assert_near("rotary_embedding", &truth, &ours, F16);
}

#[test]
fn attention() {
    let Some(device) = gpu() else { return };
    let (heads, hidden, tokens) = (2, 64, 50);
    let [q, k, v, g] = [1, 2, 3, 4].map(|seed| randn(&[tokens, hidden], seed));
    let offsets = Tensor::from_slice(&[0u32, 17, 18, tokens as u32], &[4]).unwrap();
    let offsets_there = offsets.to_device(device).unwrap();
    let [qt, kt, vt, gt] = [&q, &k, &v, &g].map(|t| half(t, device));
    let scale = 1.0 / (hidden as f64 / heads as f64).sqrt();
    let dropout = Some((0.1, RngKey::new(9)));
    let options = Attention { heads, scale, dropout, causal: true, window: Some(20), bf16: false };
    // In f32 for both.
    let bias = &randn(&[heads, 9], 5);
    let bias_there = &bias.to_device(device).unwrap();
    let (y, lse) = q.attention(&k, &v, Some(bias), &offsets, &options).unwrap();
    let (ours, our_lse) =
        qt.attention(&kt, &vt, Some(bias_there), &offsets_there, &options).unwrap();
    assert_near("attention", &y, &ours, F16);
    assert_near("denominators", &lse, &our_lse, F32);
    let truth = q.attention_backward([&k, &v], Some((bias, true)), &offsets, [&lse, &g], &options);
    let (there, bias_there) = ([&our_lse, &gt], Some((bias_there, true)));
    let ours = qt.attention_backward([&kt, &vt], bias_there, &offsets_there, there, &options);
    let (truth, ours) = (truth.unwrap(), ours.unwrap());
    assert_near("dq", &truth.query, &ours.query, F16);
    assert_near("dk", &truth.key, &ours.key, F16);
    assert_near("dv", &truth.value, &ours.value, F16);
    assert_near("dbias", &truth.bias.unwrap(), &ours.bias.unwrap(), F32);
}

#[test]
fn elements() {
    let Some(device) = gpu() else { return };
    let (x, y) = (randn(&[5, 67], 1).abs().unwrap(), randn(&[5, 67], 2));
    let (xt, yt) = (half(&x, device), half(&y, device));
    for &op in UnaryOp::ALL {
        assert_near(op.name(), &x.unary(op).unwrap(), &xt.unary(op).unwrap(), F16);
        if op.has_fused_backward() {
            let (truth, ours) = (x.unary_backward(op, &y), xt.unary_backward(op, &yt));
            assert_near(op.name(), &truth.unwrap(), &ours.unwrap(), F16);
        }
    }
    for &op in BinaryOp::ALL {
        let (truth, ours) = (x.binary(op, &y), xt.binary(op, &yt));
        assert_near(op.name(), &truth.unwrap(), &ours.unwrap(), F16);
    }
    let key = RngKey::new(7);
    assert_near("dropout", &x.dropout(0.3, key).unwrap(), &xt.dropout(0.3, key).unwrap(), F16);
    let mut sum = xt.copy().unwrap();
    sum.add_(&yt, 0.5).unwrap();
    sum.mul_scalar_(2.0).unwrap();
    let truth = x.add(&y.mul_scalar(0.5).unwrap()).unwrap().mul_scalar(2.0).unwrap();
    assert_near("in place", &truth, &sum, F16);
    let ids = Tensor::from_slice(&[4u32, 0, 4, 2], &[4]).unwrap();
    let ids_there = ids.to_device(device).unwrap();
    let truth = x.index_select(0, &ids).unwrap();
    let rows = xt.index_select(0, &ids_there).unwrap();
    assert_near("index_select", &truth, &rows, F16);
    let (truth, ours) = (y.index_add(0, &ids, &truth), yt.index_add(0, &ids_there, &rows));
    assert_near("index_add", &truth.unwrap(), &ours.unwrap(), F16);
    let (truth, ours) = (Tensor::cat(&[&x, &y], 1), Tensor::cat(&[&xt, &yt], 1));
    assert_near("cat", &truth.unwrap(), &ours.unwrap(), F16);
    let (truth, ours) = (x.where_(&y.gt(&x).unwrap(), &y), xt.where_(&yt.gt(&xt).unwrap(), &yt));
    assert_near("where", &truth.unwrap(), &ours.unwrap(), F16);
}

#[test]
fn what_f16_cannot_hold_becomes_infinite_or_nothing() {
    let Some(device) = gpu() else { return };
    let x = Tensor::from_slice(&[65504f32, 65536.0, -1e6, f32::NAN, 1e-9, 6e-8], &[6]).unwrap();
    let there = x.to_device(device).unwrap().to_dtype(F16).unwrap();
    let (here, there) = (x.to_dtype(F16).unwrap().to_f64_vec(), there.to_f64_vec());
    assert_eq!(format!("{here:?}"), format!("{there:?}"));
    // Also a product out of range.
    let large = Tensor::full_on(&[40, 40], 300.0, F16, device).unwrap();
    let product = large.matmul(&large).unwrap().to_f64_vec();
    assert!(product.iter().all(|x| *x == f64::INFINITY), "{}", product[0]);
}

#[test]
fn a_kept_conversion_follows_its_values() {
    let Some(device) = gpu() else { return };
    let mut w = Tensor::ones(&[4, 3], F32).unwrap().to_device(device).unwrap();
    let first = w.to_dtype_kept(F16).unwrap();
    let again = w.to_dtype_kept(F16).unwrap();
    assert!(first.shares_storage(&again), "converted once");
    let view = w.reshape(&[12]).unwrap().to_dtype_kept(F16).unwrap();
    assert_eq!((again.shape(), view.shape()), (&[4, 3][..], &[12][..]));
    assert_eq!(w.t().unwrap().to_dtype_kept(F16).unwrap().shape(), [3, 4]);
    w.mul_scalar_(2.0).unwrap();
    assert_eq!(w.to_dtype_kept(F16).unwrap().to_f64_vec(), [2.0; 12]);
    assert_eq!(first.to_f64_vec(), [1.0; 12]);
    let row = w.select(0, 1).unwrap();
    assert_eq!(row.to_dtype_kept(F16).unwrap().to_f64_vec(), [2.0; 3]);
}

/// What [`scaled_steps`] and [`counted_steps`] take as the gradient of a step.
fn gradient(step: u64) -> Tensor {
    randn(&[3000], step)
}

/// Verdicts and states after each step, and the tensors after the last.
struct ScaledSteps {
    seen: Vec<(Vec<f64>, Vec<f64>)>,
    /// The parameter and the moments of AdamW, the parameter and the buffer of SGD.
    tensors: [Vec<f64>; 5],
}

/// Steps of AdamW and SGD under a loss scale, one for each norm of the gradients.
fn scaled_steps(device: Device, norms: &[f32]) -> ScaledSteps {
    let scale =
        LossScale { growth_factor: 2.0, backoff_factor: 0.5, growth_interval: 2, max_norm: 1.0 };
    let place = |t: Tensor| t.to_device(device).unwrap();
    let mut state = place(Tensor::from_slice(&[256f32, 0.0, 0.0], &[3]).unwrap());
    let mut p = place(randn(&[3000], 1));
    let mut q = p.copy().unwrap();
    let [mut m, mut v, mut b] = [(); 3].map(|()| p.zeros_like().unwrap());
    let mut seen = Vec::new();
    for (step, &norm) in (1..).zip(norms) {
        let norm = place(Tensor::scalar(norm));
        let verdict = state.loss_scale_(&norm, &scale).unwrap();
        // A skipped step must not read these values.
        let poisoned = step == 1 || step == 3;
        let g = if poisoned {
            place(Tensor::full(&[3000], f64::NAN, F32).unwrap())
        } else {
            place(gradient(step))
        };
        p.adamw_(&g, &mut m, &mut v, &adamw(step), Some(&verdict)).unwrap();
        let sgd = SgdStep {
            lr: 0.1,
            momentum: 0.9,
            dampening: 0.5,
            nesterov: false,
            weight_decay: 0.0,
            step,
        };
        q.sgd_(&g, Some(&mut b), &sgd, Some(&verdict)).unwrap();
        seen.push((verdict.to_f64_vec(), state.to_f64_vec()));
    }
    ScaledSteps { seen, tensors: [p, m, v, q, b].map(|t| t.to_f64_vec()) }
}

/// The steps of AdamW that were not skipped, without a scale: their number, and the parameter.
fn counted_steps(seen: &[(Vec<f64>, Vec<f64>)]) -> (u64, Vec<f64>) {
    let mut p = randn(&[3000], 1);
    let [mut m, mut v] = [(); 2].map(|()| p.zeros_like().unwrap());
    let mut counted = 0;
    for (step, (verdict, _)) in (1..).zip(seen).filter(|(_, (verdict, _))| verdict[1] == 0.0) {
        counted += 1;
        let factor = Tensor::scalar(verdict[0] as f32);
        p.adamw_(&gradient(step), &mut m, &mut v, &adamw(counted), Some(&factor)).unwrap();
    }
    (counted, p.to_f64_vec())
}

/// Verdicts, states and steps under a scale that overflows, backs off and grows, on both devices.
#[test]
fn loss_scales_move_and_steps_are_skipped() {
    let Some(device) = gpu() else { return };
    let norms = [f32::INFINITY, 512.0, f32::NAN, 100.0, 7000.0, 64.0, 1e9];
    let [cpu, gpu] = [Device::Cpu, device].map(|device| scaled_steps(device, &norms));
    // 256 → 128 (skipped) → one steady → 64 (skipped) → two steady: 128 → two more: 256 → one.
    let scales: Vec<f64> = cpu.seen.iter().map(|(_, state)| state[0]).collect();
    assert_eq!(scales, [128.0, 128.0, 64.0, 64.0, 128.0, 128.0, 256.0]);
    assert_eq!(cpu.seen[6].1, [256.0, 0.0, 2.0]);
    let verdict = &cpu.seen[1].0;
    // Norm 512 at scale 128 is 4: clipped to 1, and unscaled.
    let near = |a: f64, b: f64| (a - b).abs() < 1e-6 * b.abs();
    assert!(near(verdict[0], 1.0 / 4.0 / 128.0) && near(verdict[3], 4.0), "{verdict:?}");
    assert_eq!((verdict[1], verdict[2], verdict[4]), (0.0, 1.0, 128.0));
    assert_eq!(format!("{:?}", cpu.seen), format!("{:?}", gpu.seen), "bit for bit");
    for (i, (cpu, gpu)) in cpu.tensors.iter().zip(&gpu.tensors).enumerate() {
        for (a, b) in cpu.iter().zip(gpu) {
            assert!((a - b).abs() <= 1e-6 * (1.0 + a.abs()), "tensor {i}: {a} {b}");
        }
    }
    // Skipped steps do not count: the other steps alone give the same numbers.
    assert_eq!(counted_steps(&cpu.seen), (5, cpu.tensors[0].clone()));
}
