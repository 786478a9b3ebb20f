//! Fused operations against the separate operations: bit for bit on the CPU.

use std::sync::{Mutex, MutexGuard, PoisonError};

use gradus_tensor::{DType, Device, LowPrecision, RngKey, Tensor};

/// The GPU, for one test at a time, so that a test can count its launches.
fn gpu() -> Option<(Device, MutexGuard<'static, ()>)> {
    static ONE: Mutex<()> = Mutex::new(());
    Some((gradus_testing::gpu()?, ONE.lock().unwrap_or_else(PoisonError::into_inner)))
}

fn randn(shape: &[usize], dtype: DType, seed: u64) -> Tensor {
    Tensor::randn(shape, dtype, RngKey::new(seed)).unwrap()
}

fn bits(t: &Tensor) -> Vec<u64> {
    t.to_f64_vec().into_iter().map(f64::to_bits).collect()
}

fn dropped(t: &Tensor, dropout: Option<(f64, RngKey)>) -> Tensor {
    dropout.map_or_else(|| t.clone(), |(p, key)| t.dropout(p, key).unwrap())
}

fn refs(tensors: &[Tensor]) -> Vec<&Tensor> {
    tensors.iter().collect()
}

/// Layers with one input and different widths; the weights' seeds begin at `seed`.
fn layers(widths: &[usize], k: usize, dtype: DType, seed: u64) -> (Vec<Tensor>, Vec<Tensor>) {
    let seeds = (seed..).zip(widths);
    let weights = seeds.clone().map(|(seed, &n)| randn(&[n, k], dtype, seed)).collect();
    (weights, seeds.map(|(seed, &n)| randn(&[n], dtype, seed + 100)).collect())
}

#[test]
fn layers_side_by_side_are_each_layer() {
    for dtype in [DType::F32, DType::F64] {
        for (m, k, widths) in [
            (1, 1, &[1][..]),
            (3, 20, &[5, 16, 33]),
            (210, 70, &[40, 40, 40]),
            (5, 300, &[96, 1, 0, 64]),
            (0, 4, &[3, 2]),
            (4, 0, &[3, 2]),
        ] {
            let x = randn(&[m, k], dtype, 1);
            // The same numbers with other strides.
            let turned = x.t().unwrap().copy().unwrap().t().unwrap();
            let (weights, biases) = layers(widths, k, dtype, 2);
            for biases in [&biases[..], &[]] {
                let apart: Vec<Tensor> = (0..widths.len())
                    .map(|i| x.linear(&weights[i], biases.get(i)).unwrap())
                    .collect();
                let truth = Tensor::cat(&refs(&apart), 1).unwrap();
                for x in [&x, &turned] {
                    let y = x.linear_cat(&refs(&weights), &refs(biases)).unwrap();
                    assert_eq!(y.shape(), [m, widths.iter().sum()]);
                    assert_eq!(bits(&y), bits(&truth), "{m}×{k}, {widths:?} {dtype}");
                }
                if dtype == DType::F32 {
                    for low in [LowPrecision::Int8, LowPrecision::Bf16] {
                        let rounded: Vec<Tensor> = (0..widths.len())
                            .map(|i| x.linear_low(&weights[i], biases.get(i), low).unwrap())
                            .collect();
                        let truth = Tensor::cat(&refs(&rounded), 1).unwrap();
                        let y = x.linear_cat_low(&refs(&weights), &refs(biases), low).unwrap();
                        assert_eq!(bits(&y), bits(&truth), "{low:?}, {m}×{k}, {widths:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn layers_that_do_not_fit_are_refused() {
    let x = randn(&[2, 3], DType::F32, 1);
    let (weights, biases) = layers(&[4, 5], 3, DType::F32, 2);
    let (ws, bs) = (refs(&weights), refs(&biases));
    let message =
        |x: &Tensor, ws: &[&Tensor], bs: &[&Tensor]| x.linear_cat(ws, bs).unwrap_err().to_string();
    for (error, what) in [
        (message(&x, &[], &[]), "no weights"),
        (message(&x, &ws, &bs[..1]), "2 weights and 1 biases"),
        (message(&x, &ws, &[bs[1], bs[0]]), "bias [5] does not fit the weight [4, 3]"),
        (message(&x, &[ws[0], bs[0]], &[]), "does not fit the weight [4]"),
        (message(&x.to_dtype(DType::F64).unwrap(), &ws, &bs), "dtypes differ"),
        (message(&Tensor::scalar(1f32), &ws, &bs), "does not fit"),
    ] {
        assert!(error.starts_with("[linear_cat]") && error.contains(what), "{error}");
    }
}

/// On a GPU one launch joins the weights, once until any of them changes.
#[test]
fn joined_weights_follow_their_values() {
    let Some((device, _alone)) = gpu() else { return };
    let there = |tensors: &[Tensor]| -> Vec<Tensor> {
        tensors.iter().map(|t| t.to_device(device).unwrap()).collect()
    };
    let x = randn(&[6, 12], DType::F32, 1);
    let x_there = x.to_device(device).unwrap();
    let (mut weights, mut biases) = layers(&[8, 4, 5], 12, DType::F32, 2);
    let (mut ws, mut bs) = (there(&weights), there(&biases));
    let launches = || device.counters().unwrap().unwrap().dispatches;
    let compare = |weights: &[Tensor], biases: &[Tensor], ws: &[Tensor], bs: &[Tensor]| {
        let truth = x.linear_cat(&refs(weights), &refs(biases)).unwrap();
        let before = launches();
        let y = x_there.linear_cat(&refs(ws), &refs(bs)).unwrap();
        let made = launches() - before;
        for (a, b) in truth.to_f64_vec().iter().zip(y.to_f64_vec()) {
            assert!((a - b).abs() < 1e-5, "{a} {b}");
        }
        made
    };
    assert_eq!(compare(&weights, &biases, &ws, &bs), 2, "joined, then multiplied");
    assert_eq!(compare(&weights, &biases, &ws, &bs), 1);
    for i in 0..3 {
        for (here, there) in [(&mut weights[i], &mut ws[i]), (&mut biases[i], &mut bs[i])] {
            here.mul_scalar_(-0.5).unwrap();
            there.mul_scalar_(-0.5).unwrap();
        }
        assert_eq!(compare(&weights, &biases, &ws, &bs), 2, "after a change of layer {i}");
    }
    // Other tensors in place of those whose join is kept, and views, for which nothing is kept.
    bs.swap(1, 2);
    ws.swap(1, 2);
    weights.swap(1, 2);
    biases.swap(1, 2);
    assert_eq!(compare(&weights, &biases, &ws, &bs), 2);
    let rows = |t: &Tensor| t.narrow(0, 1, 3).unwrap();
    let views = |tensors: &[Tensor]| tensors.iter().map(rows).collect::<Vec<_>>();
    assert_eq!(compare(&views(&weights), &views(&biases), &views(&ws), &views(&bs)), 2);
    // In f16 the joined weights are also converted only once.
    let low = x_there.to_dtype(DType::F16).unwrap();
    for expected in [2, 1] {
        let before = launches();
        let y = low.linear_cat(&refs(&ws), &refs(&bs)).unwrap();
        assert_eq!((y.dtype(), launches() - before), (DType::F16, expected));
        let truth = x.linear_cat(&refs(&weights), &refs(&biases)).unwrap();
        for (a, b) in truth.to_f64_vec().iter().zip(y.to_f64_vec()) {
            assert!((a - b).abs() < 2e-2, "{a} {b}");
        }
    }
}

/// More tensors than one launch takes, views that begin inside their buffer, and empty tensors.
#[test]
fn many_tensors_are_joined_in_order() {
    let Some((device, _alone)) = gpu() else { return };
    for dtype in [DType::F32, DType::U32] {
        let whole = Tensor::arange(0.0, 400.0, 1.0, dtype).unwrap();
        let there = whole.to_device(device).unwrap();
        let cut = |t: &Tensor| -> Vec<Tensor> {
            (0..17).map(|i| t.narrow(0, 390 - 23 * i, i % 5).unwrap()).collect()
        };
        let (here, parts) = (cut(&whole), cut(&there));
        let joined = Tensor::cat(&refs(&parts), 0).unwrap();
        let truth = Tensor::cat(&refs(&here), 0).unwrap();
        assert_eq!(joined.to_f64_vec(), truth.to_f64_vec());
    }
}

#[test]
fn a_sum_normalised_in_one_pass_is_that_of_three() {
    let key = RngKey::new(4);
    for dtype in [DType::F32, DType::F64] {
        for (rows, n) in [(1, 1), (7, 5), (70, 384), (3, 1031), (2, 2050), (0, 3), (130, 6)] {
            let random = |shape: &[usize], seed| randn(shape, dtype, seed);
            let (x, r) = (random(&[rows, n], 1), random(&[rows, n], 2));
            let (w, b, g) = (random(&[n], 3), random(&[n], 4), random(&[rows, n], 5));
            let more = random(&[rows, n], 6);
            for dropout in [None, Some((0.0, key)), Some((0.1, key)), Some((1.0, key))] {
                let what = format!("{rows}×{n} {dtype}, dropout {dropout:?}");
                let drop = |t: &Tensor| dropped(t, dropout);
                let sum = drop(&x).add(&r).unwrap();
                let truth = sum.layer_norm(&w, Some(&b), 1e-5).unwrap();
                let run =
                    |keep| x.dropout_add_layer_norm(&r, &w, Some(&b), 1e-5, dropout, keep).unwrap();
                let (kept, made) = (run(true), run(false));
                assert!(made.sum.is_none());
                assert_eq!(bits(&made.output), bits(&truth.output), "{what}");
                assert_eq!(bits(&kept.output), bits(&truth.output), "{what}");
                assert_eq!(bits(&kept.mean), bits(&truth.mean), "{what}");
                let kept_sum = kept.sum.unwrap();
                assert_eq!(bits(&kept_sum), bits(&sum), "{what}");
                let (mean, rstd) = (&truth.mean, &truth.rstd);
                let both = g.add(&more).unwrap();
                let (ds, dw, db) = sum.layer_norm_backward(&w, mean, rstd, &both, None).unwrap();
                let alone = sum.layer_norm_backward(&w, mean, rstd, &g, Some(&more)).unwrap();
                let (dx, dr, dw2, db2) = kept_sum
                    .dropout_add_layer_norm_backward(&w, mean, rstd, &g, Some(&more), dropout)
                    .unwrap();
                for (i, (ours, truth)) in
                    [(&alone.0, &ds), (&alone.1, &dw), (&alone.2, &db)].into_iter().enumerate()
                {
                    assert_eq!(bits(ours), bits(truth), "{what}: gradient {i} of the norm alone");
                }
                let pairs = [(&dx, &drop(&ds)), (&dr, &ds), (&dw2, &dw), (&db2, &db)];
                for (i, (ours, truth)) in pairs.into_iter().enumerate() {
                    assert_eq!(bits(ours), bits(truth), "{what}: gradient {i}");
                }
                assert_eq!(dx.shares_storage(&dr), dropout.is_none());
            }
        }
    }
}

/// On a GPU in f32, and in f16 with the rounding of the separate operations.
#[test]
fn a_gpu_sums_and_normalises_in_one_launch() {
    let Some((device, _alone)) = gpu() else { return };
    for dtype in [DType::F32, DType::F16] {
        for (rows, n) in [(1, 1), (7, 5), (40, 384), (3, 1031)] {
            let random = |shape: &[usize], seed, dtype| {
                let x = randn(shape, DType::F32, seed).to_device(device).unwrap();
                x.to_dtype(dtype).unwrap()
            };
            let (x, r) = (random(&[rows, n], 1, dtype), random(&[rows, n], 2, dtype));
            let (w, b) = (random(&[n], 3, DType::F32), random(&[n], 4, DType::F32));
            let g = random(&[rows, n], 5, dtype);
            for dropout in [None, Some((0.3, RngKey::new(9))), Some((1.0, RngKey::new(9)))] {
                let what = format!("{rows}×{n} {dtype}, dropout {dropout:?}");
                let drop = |t: &Tensor| dropped(t, dropout);
                let sum = drop(&x).add(&r).unwrap();
                let truth = sum.layer_norm(&w, Some(&b), 1e-5).unwrap();
                let before = device.counters().unwrap().unwrap().dispatches;
                let made =
                    x.dropout_add_layer_norm(&r, &w, Some(&b), 1e-5, dropout, false).unwrap();
                let after = device.counters().unwrap().unwrap().dispatches;
                assert_eq!(after - before, 1, "{what}");
                assert_eq!(bits(&made.output), bits(&truth.output), "{what}");
                let kept = x.dropout_add_layer_norm(&r, &w, Some(&b), 1e-5, dropout, true).unwrap();
                assert_eq!(bits(&kept.output), bits(&truth.output), "{what}");
                assert_eq!(bits(&kept.sum.clone().unwrap()), bits(&sum), "{what}");
                let (mean, rstd) = (&truth.mean, &truth.rstd);
                let (ds, dw, db) = sum.layer_norm_backward(&w, mean, rstd, &g, None).unwrap();
                let (dx, dr, dw2, db2) =
                    sum.dropout_add_layer_norm_backward(&w, mean, rstd, &g, None, dropout).unwrap();
                assert_eq!(bits(&dr), bits(&ds), "{what}");
                assert_eq!(bits(&dx), bits(&drop(&ds)), "{what}");
                assert_eq!([bits(&dw2), bits(&db2)], [bits(&dw), bits(&db)], "{what}");
            }
        }
    }
}

#[test]
fn a_sum_that_does_not_fit_is_refused() {
    let (x, w) = (randn(&[2, 3], DType::F32, 1), randn(&[3], DType::F32, 2));
    let message = |r: &Tensor, w: &Tensor, p: f64| {
        let made = x.dropout_add_layer_norm(r, w, Some(w), 1e-5, Some((p, RngKey::new(0))), true);
        made.err().unwrap().to_string()
    };
    for (error, what) in [
        (message(&randn(&[3, 2], DType::F32, 1), &w, 0.1), "the residual is [3, 2]"),
        (message(&x.to_dtype(DType::F64).unwrap(), &w, 0.1), "f64, the input"),
        (message(&x, &randn(&[2], DType::F32, 1), 0.1), "weight is [2]"),
        (message(&x, &w, 1.5), "the probability 1.5"),
    ] {
        assert!(error.starts_with("[dropout_add_layer_norm]") && error.contains(what), "{error}");
    }
}

/// The gradients of a layer's parameters, in one launch where the operands can be read in fours.
#[test]
fn gradients_of_weight_and_bias_together() {
    let Some((device, _alone)) = gpu() else { return };
    for (rows, m, n, launches) in [
        (130, 64, 36, 1),
        (17, 32, 8, 1),
        (1, 4, 4, 1),
        (40, 520, 524, 1), // enough large tiles
        (300, 100, 72, 1),
        (9, 5, 8, 2),
        (0, 4, 4, 1),
    ] {
        let (g, x) = (randn(&[rows, m], DType::F32, 1), randn(&[rows, n], DType::F32, 2));
        let (w, b) = g.linear_parameters_backward(&x, DType::F32).unwrap();
        let truth = g.t().unwrap().matmul(&x).unwrap();
        assert_eq!(bits(&w), bits(&truth));
        assert_eq!(bits(&b), bits(&g.sum(&[0], false).unwrap()));
        for dtype in [DType::F32, DType::F16] {
            let there = |t: &Tensor| t.to_device(device).unwrap().to_dtype(dtype).unwrap();
            let (g, x) = (there(&g), there(&x));
            // Columns of a wider matrix, which can still be read in fours.
            let wide = Tensor::cat(&[&x, &g], 1).unwrap();
            for g in [&g, &wide.narrow(1, n, m).unwrap()] {
                let before = device.counters().unwrap().unwrap().dispatches;
                let (w_there, b_there) = g.linear_parameters_backward(&x, DType::F32).unwrap();
                let made = device.counters().unwrap().unwrap().dispatches - before;
                let what = format!("{rows} rows, {m}×{n}, {dtype}");
                assert_eq!(made, launches, "{what}");
                let within = if dtype == DType::F16 { 2e-3 } else { 1e-5 };
                for (ours, truth) in [(&w_there, &w), (&b_there, &b)] {
                    assert_eq!((ours.shape(), ours.dtype()), (truth.shape(), DType::F32));
                    let largest = truth.to_f64_vec().iter().fold(1f64, |m, x| m.max(x.abs()));
                    for (a, b) in ours.to_f64_vec().iter().zip(truth.to_f64_vec()) {
                        assert!((a - b).abs() <= within * largest, "{what}: {a}, should be {b}");
                    }
                }
            }
        }
    }
    let (g, x) = (randn(&[3, 2], DType::F32, 1), randn(&[2, 2], DType::F32, 2));
    let error = g.linear_parameters_backward(&x, DType::F32).unwrap_err().to_string();
    assert!(error.starts_with("[linear_parameters_backward] gradient [3, 2]"), "{error}");
}
