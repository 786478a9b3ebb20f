//! Errors of long sums and products, compared with PyTorch 2.15's on the CPU, and of means and
//! variances far from 0. All addends are 0.1f32, so every rounding has the same sign: the worst
//! case.

use gradus_tensor::ops::cross_entropy::{CrossEntropy, Reduction};
use gradus_tensor::ops::layer_norm::LayerNormOutput;
use gradus_tensor::{DType, Device, RngKey, Tensor};
use gradus_testing::gpu;

const TENTH: f64 = 0.1f32 as f64;

fn tenths(shape: &[usize]) -> Tensor {
    Tensor::full(shape, 0.1, DType::F32).unwrap()
}

fn devices() -> impl Iterator<Item = Device> {
    [Some(Device::Cpu), gpu()].into_iter().flatten()
}

/// The largest relative error of values that should all be `want`.
fn error(values: &Tensor, want: f64) -> f64 {
    values.to_f64_vec().into_iter().map(|x| ((x - want) / want).abs()).fold(0.0, f64::max)
}

#[track_caller]
fn within(what: &str, error: f64, most: f64) {
    eprintln!("{what}: {error:.1e} (at most {most:.1e})");
    assert!(error <= most, "{what} is off by {error:e}, more than {most:e}");
}

#[test]
fn sums_lose_no_more_than_pytorch() {
    let n = 10_000_000;
    let x = tenths(&[n]);
    within("sum", error(&x.sum_all().unwrap(), n as f64 * TENTH), 5.8e-7);
    within("mean", error(&x.mean_all().unwrap(), TENTH), 0.0);
    // Sums down columns have the same order.
    let columns = tenths(&[1, 3]).broadcast_to(&[1_000_000, 3]).unwrap().copy().unwrap();
    within("sum of columns", error(&columns.sum(&[0], false).unwrap(), 1e6 * TENTH), 5.8e-7);
    let row = tenths(&[1, 1_000_000]);
    let lse = row.logsumexp(&[1], false).unwrap();
    within("logsumexp", error(&lse, TENTH + 1e6f64.ln()), 3e-7);
    within("softmax", error(&row.softmax(1).unwrap(), 1e-6), 1e-6);
    let logits = Tensor::zeros(&[1, 1_000_000], DType::F32).unwrap();
    let target = Tensor::zeros(&[1], DType::U32).unwrap();
    let options =
        CrossEntropy { reduction: Reduction::Sum, label_smoothing: 0.5, ..Default::default() };
    let (loss, _) = logits.cross_entropy(&target, &options).unwrap();
    within("cross_entropy", error(&loss, 1e6f64.ln()), 1e-6);
    within("norm", error(&Tensor::global_norm(&[&row]).unwrap(), 1e3 * TENTH), 1e-7);
}

#[test]
fn products_lose_no_more_than_pytorch() {
    for (k, most) in [(4096, 2.5e-6), (65_536, 5e-6)] {
        let want = k as f64 * TENTH * TENTH;
        for (m, n) in [(64, 64), (1, 1), (300, 33), (3, 64)] {
            let (x, w) = (tenths(&[m, k]), tenths(&[n, k]));
            let what = |name: &str| format!("{name} of [{m}, {k}] and [{k}, {n}]");
            within(&what("matmul"), error(&x.matmul(&w.t().unwrap()).unwrap(), want), most);
            // Once with the packed weight that is kept, once with the weight read in place.
            within(&what("linear"), error(&x.linear(&w, None).unwrap(), want), most);
            let turned = tenths(&[k, m]).t().unwrap();
            within(&what("turned"), error(&turned.matmul(&w.t().unwrap()).unwrap(), want), most);
        }
    }
    // The same bits for any number of threads and rows.
    let (m, k, n) = (70, 3000, 50);
    let key = RngKey::new(5);
    let x = Tensor::randn(&[m, k], DType::F32, key.place("x")).unwrap();
    let w = Tensor::randn(&[n, k], DType::F32, key.place("w")).unwrap();
    let all = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let packed = x.linear(&w, None).unwrap().to_vec::<f32>().unwrap();
            let plain = x.matmul(&w.t().unwrap()).unwrap().to_vec::<f32>().unwrap();
            let few = x.narrow(0, 0, 5).unwrap().linear(&w, None).unwrap().to_vec::<f32>().unwrap();
            (packed, plain, few)
        })
    };
    let (packed, plain, few) = all(1);
    assert_eq!(packed[..5 * n], few);
    assert_eq!((packed, plain, few), all(3));
}

#[test]
fn rows_that_are_hit_often_lose_little() {
    // A software driver stops a loop after 65,535 iterations.
    let k = 50_000;
    for device in devices() {
        let ids = Tensor::zeros(&[k], DType::U32).unwrap().to_device(device).unwrap();
        let grad = tenths(&[k, 5]).to_device(device).unwrap();
        let table = Tensor::embedding_backward(&grad, &ids, 2).unwrap();
        let row = table.narrow(0, 0, 1).unwrap();
        within(&format!("embedding on {device}"), error(&row, k as f64 * TENTH), 1e-5);
        let base = Tensor::ones(&[2, 5], DType::F32).unwrap().to_device(device).unwrap();
        let added = base.index_add(0, &ids, &grad).unwrap().narrow(0, 0, 1).unwrap();
        within(&format!("index_add on {device}"), error(&added, 1.0 + k as f64 * TENTH), 1e-5);
    }
}

/// The norm's gradient of two rows of n equal numbers. They have no variance, so it is
/// h − mean(h), a million times.
fn gradient_of_constant_rows(what: &str, x: &Tensor, w: &Tensor, y: &LayerNormOutput) {
    let n = x.shape()[1];
    let g = Tensor::arange(0.0, 2.0 * n as f64, 1.0, DType::F32).unwrap();
    let g = g.reshape(&[2, n]).unwrap().mul_scalar(1.0 / n as f64).unwrap();
    let g = g.to_device(x.device()).unwrap();
    let (dx, _, db) = x.layer_norm_backward(w, &y.mean, &y.rstd, &g, None).unwrap();
    let middle = (n as f64 - 1.0) / 2.0 / n as f64;
    let tolerance = if n > 5000 { 20.0 } else { 2.0 };
    for (i, dx) in dx.narrow(0, 0, 1).unwrap().to_f64_vec().into_iter().enumerate() {
        let want = (i as f64 / n as f64 - middle) * 1e6;
        assert!((dx - want).abs() < tolerance, "{what}: gradient {dx}, not {want}");
    }
    assert!(db.to_f64_vec()[0].is_finite());
}

/// Layer norms of two rows of `n` times `c`: alone, and of the sum with 0.
fn norms_of_constant_rows(what: &str, x: &Tensor, c: f64) {
    let n = x.shape()[1];
    let (one, zero) = (x.ones_like().unwrap(), x.zeros_like().unwrap());
    let (w, b) = (one.select(0, 0).unwrap(), zero.select(0, 0).unwrap());
    let of_sum =
        |dropout| x.dropout_add_layer_norm(&zero, &w, Some(&b), 1e-12, dropout, true).unwrap();
    let norms = [
        x.layer_norm(&w, Some(&b), 1e-12).unwrap(),
        of_sum(None),
        of_sum(Some((0.0, RngKey::new(1)))),
    ];
    for y in norms {
        assert_eq!(y.output.to_f64_vec(), vec![0.0; 2 * n], "{what}");
        assert_eq!(y.mean.to_f64_vec(), [c as f32 as f64; 2], "{what}");
        let rstd = y.rstd.to_f64_vec()[0];
        assert!((rstd - 1e6).abs() <= 1.0, "{what}: {rstd}");
        gradient_of_constant_rows(what, x, &w, &y);
    }
    if let Ok(half) = x.to_dtype(DType::F16)
        && x.device() != Device::Cpu
        && c.abs() < 6e4
    {
        let y = half.layer_norm(&w, Some(&b), 1e-12).unwrap().output;
        assert_eq!(y.to_f64_vec(), vec![0.0; 2 * n], "{what}, f16");
    }
}

#[test]
fn constant_rows_have_no_variance() {
    for device in devices() {
        for n in [1, 3, 12, 100, 384, 768, 4097, 300_000] {
            for c in [7.7, 1.0 / 3.0, 12345.678, 1e-20, -1e6, 3e38, 0.0] {
                let x = Tensor::full_on(&[2, n], c, DType::F32, device).unwrap();
                let what = format!("{n} times {c} on {device}");
                norms_of_constant_rows(&what, &x, c);
                for correction in [0, 1, 2] {
                    let var = x.var(&[1], false, correction).unwrap().to_f64_vec();
                    let none = n <= correction;
                    assert!(var.iter().all(|&v| v == 0.0 || none && v.is_nan()), "{what}: {var:?}");
                }
                // PyTorch's sum leaves the range of f32 too.
                if device == Device::Cpu && c < 1e38 {
                    let mean = x.mean(&[1], false).unwrap().to_f64_vec();
                    assert_eq!(mean, [c as f32 as f64; 2], "{what}");
                }
            }
        }
    }
}

#[test]
fn rows_far_from_zero_keep_their_spread() {
    let n = 1024;
    for device in devices() {
        for offset in [0.0, 1e3, -1e4, 1e6] {
            let row: Vec<f32> =
                (0..4 * n).map(|i| (offset + (i % 7) as f64 / 4.0) as f32).collect();
            let x = Tensor::from_slice(&row, &[4, n]).unwrap().to_device(device).unwrap();
            let (w, b) =
                (Tensor::ones(&[n], DType::F32).unwrap(), Tensor::zeros(&[n], DType::F32).unwrap());
            let (w, b) = (w.to_device(device).unwrap(), b.to_device(device).unwrap());
            let y = x.layer_norm(&w, Some(&b), 1e-12).unwrap();
            let output = y.output.to_f64_vec();
            let var = x.var(&[1], false, 0).unwrap().to_f64_vec();
            let down = x.t().unwrap().copy().unwrap().var(&[0], false, 0).unwrap().to_f64_vec();
            for (r, row) in row.chunks(n).enumerate() {
                let mean = row.iter().map(|&x| x as f64).sum::<f64>() / n as f64;
                let truth = row.iter().map(|&x| (x as f64 - mean).powi(2)).sum::<f64>() / n as f64;
                let what = format!("row {r} at {offset} on {device}");
                assert!(
                    (y.mean.to_f64_vec()[r] - mean).abs() <= 6e-8 * offset.abs() + 2e-7,
                    "{what}: {:?}",
                    y.mean.to_f64_vec()
                );
                for var in [var[r], down[r]] {
                    assert!(
                        (var / truth - 1.0).abs() < 1e-5,
                        "{what}: variance {var}, not {truth}"
                    );
                }
                // PyTorch is off by 0.004 at 1e6. Half a unit in the last place of the mean is
                // 0.03, or 0.06 deviations.
                let most = 1e-6 + 6.1e-8 * offset.abs() / truth.sqrt();
                for (x, y) in row.iter().zip(&output[r * n..]) {
                    let want = (*x as f64 - mean) / truth.sqrt();
                    assert!((y - want).abs() <= most, "{what}: {y}, not {want}");
                }
            }
        }
    }
}

#[test]
fn variances_take_what_is_asked_from_the_divisor() {
    for device in devices() {
        let x: Vec<f32> = (0..60).map(|i| ((i * 7) % 13) as f32).collect();
        let x = Tensor::from_slice(&x, &[5, 12]).unwrap().to_device(device).unwrap();
        for (dims, n) in [(&[1][..], 12), (&[0], 5), (&[0, 1], 60)] {
            let squares = x.var(dims, false, 0).unwrap().to_f64_vec();
            for correction in [0, 1, 2, 4] {
                let got = x.var(dims, false, correction).unwrap().to_f64_vec();
                for (got, biased) in got.iter().zip(&squares) {
                    let want = biased * n as f64 / (n - correction) as f64;
                    assert!(
                        (got - want).abs() < 1e-5 * want,
                        "{dims:?} {correction} on {device}: {got}, not {want}"
                    );
                }
            }
            // A correction of n or more gives infinity, as in PyTorch.
            for correction in [n, n + 1] {
                let got = x.var(dims, false, correction).unwrap().to_f64_vec();
                assert!(got.iter().all(|v| *v == f64::INFINITY), "{dims:?} {correction}: {got:?}");
            }
        }
        // By hand: Σ(x − 2)² = 10 over five numbers.
        let x = Tensor::arange(0.0, 5.0, 1.0, DType::F32).unwrap().to_device(device).unwrap();
        let var = |correction| x.var(&[], false, correction).unwrap().item().unwrap();
        assert_eq!(
            [var(0), var(1), var(2), var(3)].map(|v| (v * 3e5).round()),
            [6e5, 7.5e5, 1e6, 1.5e6]
        );
    }
}
