//! Reductions, softmax and layer norm against their definitions in f64, over all kinds of views.

use crate::reference::*;
use gradus_tensor::{DType, Tensor};
use proptest::prelude::*;

const REDUCTIONS: [&str; 8] = ["sum", "prod", "mean", "max", "min", "var", "var0", "logsumexp"];

fn reduce(x: &Tensor, name: &str, dims: &[isize], keepdim: bool) -> gradus_tensor::Result<Tensor> {
    match name {
        "sum" => x.sum(dims, keepdim),
        "prod" => x.prod(dims, keepdim),
        "mean" => x.mean(dims, keepdim),
        "max" => x.max(dims, keepdim),
        "min" => x.min(dims, keepdim),
        "var" => x.var(dims, keepdim, 1),
        "var0" => x.var(dims, keepdim, 0),
        _ => x.logsumexp(dims, keepdim),
    }
}

fn by_definition(name: &str, xs: &[f64]) -> f64 {
    let (n, sum) = (xs.len() as f64, xs.iter().sum::<f64>());
    let squares = || xs.iter().map(|x| (x - sum / n).powi(2)).sum::<f64>();
    match name {
        "sum" => sum,
        "prod" => xs.iter().product(),
        "mean" => sum / n,
        "max" => xs.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        "min" => xs.iter().copied().fold(f64::INFINITY, f64::min),
        "var" => squares() / (n - 1.0).max(0.0),
        "var0" => squares() / n,
        _ => xs.iter().map(|x| x.exp()).sum::<f64>().ln(),
    }
}

/// The dimensions that the bits of `mask` name; all if there are none.
fn chosen(mask: u8, rank: usize) -> (Vec<isize>, Vec<usize>) {
    let dims: Vec<usize> = (0..rank).filter(|d| mask >> d & 1 == 1).collect();
    // Every second dimension is counted from the end.
    let given = dims.iter().map(|&d| d as isize - if d % 2 == 0 { rank as isize } else { 0 });
    let resolved = if dims.is_empty() { (0..rank).collect() } else { dims.clone() };
    (given.collect(), resolved)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn reductions(
        seed: u64, shape in shape(), kind in kind(), dtype in float(), mask: u8, keepdim: bool,
        name in prop::sample::select(&REDUCTIONS[..]),
    ) {
        let x = view(seed, &shape, kind, dtype);
        let (dims, resolved) = chosen(mask, shape.len());
        let slices = slices(&x, &resolved);
        // Long products leave the range of f32.
        prop_assume!(name != "prod" || slices.iter().all(|s| s.len() <= 64));
        let empty = resolved.iter().any(|&d| shape[d] == 0);
        let got = reduce(&x, name, &dims, keepdim);
        if empty && (name == "max" || name == "min") {
            prop_assert!(got.is_err());
            return Ok(());
        }
        let got = got.unwrap();
        let mut want_shape = shape.clone();
        for &d in resolved.iter().rev() {
            if keepdim { want_shape[d] = 1 } else { want_shape.remove(d); }
        }
        prop_assert_eq!(got.shape(), &want_shape[..]);
        let want: Vec<f64> = slices.iter().map(|s| by_definition(name, s)).collect();
        close(&got.to_f64_vec(), &want, 20.0 * tolerance(dtype), name);
        // The order of summation depends on the shape alone.
        let row_major = reduce(&x.copy().unwrap(), name, &dims, keepdim).unwrap();
        let bits = |t: &Tensor| t.to_f64_vec().into_iter().map(f64::to_bits).collect::<Vec<_>>();
        prop_assert_eq!(bits(&got), bits(&row_major));
    }

    #[test]
    fn arg_extrema(seed: u64, shape in shape(), kind in kind(), pick: usize, coarse: bool) {
        prop_assume!(!shape.is_empty());
        let d = pick % shape.len();
        // Coarse values repeat: the first of equals wins.
        let mut x = view(seed, &shape, kind, DType::F32);
        if coarse { x = x.floor().unwrap(); }
        let argmax = x.argmax(d as isize, false);
        if shape[d] == 0 {
            prop_assert!(argmax.is_err());
            return Ok(());
        }
        let first = |s: &[f64], best: f64| s.iter().position(|&x| x == best).unwrap() as u32;
        let slices = slices(&x, &[d]);
        let want: Vec<u32> = slices.iter().map(|s| first(s, by_definition("max", s))).collect();
        prop_assert_eq!(argmax.unwrap().to_vec::<u32>().unwrap(), want);
        let want: Vec<u32> = slices.iter().map(|s| first(s, by_definition("min", s))).collect();
        let argmin = x.argmin(d as isize - shape.len() as isize, true).unwrap();
        prop_assert_eq!(argmin.size(d as isize).unwrap(), 1);
        prop_assert_eq!(argmin.to_vec::<u32>().unwrap(), want);
    }

    #[test]
    fn integers(seed: u64, shape in shape(), kind in kind(), mask: u8, bytes: bool) {
        let dtype = if bytes { DType::U8 } else { DType::U32 };
        let x = view(seed, &shape, kind, DType::F64).affine(60.0, 120.0).unwrap();
        let x = x.to_dtype(dtype).unwrap();
        let (dims, resolved) = chosen(mask, shape.len());
        let slices = slices(&x, &resolved);
        let sum = x.sum(&dims, false).unwrap();
        prop_assert_eq!(sum.dtype(), DType::U32);
        let want: Vec<f64> = slices.iter().map(|s| s.iter().sum()).collect();
        prop_assert_eq!(sum.to_f64_vec(), want);
        if !slices.iter().any(|s| s.is_empty()) && !shape.contains(&0) {
            let want: Vec<f64> = slices.iter().map(|s| by_definition("max", s)).collect();
            let max = x.max(&dims, false).unwrap();
            prop_assert_eq!(max.dtype(), dtype);
            prop_assert_eq!(max.to_f64_vec(), want);
        }
        prop_assert!(x.mean(&dims, false).is_err());
    }

    #[test]
    fn sum_to_undoes_broadcasting(seed: u64, shape in shape(), mask: u8, drop: usize) {
        let x = numbers(seed, &shape, DType::F64);
        let lead = drop % (shape.len() + 1);
        let mut small = shape[lead..].to_vec();
        let mut dims: Vec<usize> = (0..lead).collect();
        for d in lead..shape.len() {
            if mask >> d & 1 == 1 {
                small[d - lead] = 1;
                dims.push(d);
            }
        }
        let got = x.sum_to(&small).unwrap();
        prop_assert_eq!(got.shape(), &small[..]);
        let want: Vec<f64> = slices(&x, &dims).iter().map(|s| s.iter().sum()).collect();
        close(&got.to_f64_vec(), &want, 1e-11, "sum_to");
        if small == shape {
            prop_assert!(got.shares_storage(&x));
        }
    }

    #[test]
    fn softmax_and_its_logarithm(
        seed: u64, shape in shape(), kind in kind(), dtype in float(), pick: usize,
    ) {
        prop_assume!(!shape.is_empty());
        let d = pick % shape.len();
        let dim = d as isize;
        let x = view(seed, &shape, kind, dtype).affine(3.0, 100.0).unwrap();
        let y = x.softmax(dim).unwrap();
        prop_assert_eq!(y.shape(), &shape[..]);
        prop_assert!(y.is_contiguous());
        let log = x.log_softmax(dim).unwrap();
        let g = view(seed ^ 1, &shape, kind, dtype);
        let dx = y.softmax_backward(&g, dim).unwrap();
        let dlog = log.log_softmax_backward(&g, dim).unwrap();
        let tol = 4.0 * tolerance(dtype);
        let gs = slices(&g, &[d]);
        let (ys, logs) = (slices(&y, &[d]), slices(&log, &[d]));
        let (dxs, dlogs) = (slices(&dx, &[d]), slices(&dlog, &[d]));
        for (i, x) in slices(&x, &[d]).iter().enumerate() {
            let lse = by_definition("logsumexp", &x.iter().map(|v| v - 100.0).collect::<Vec<_>>());
            let want_log: Vec<f64> = x.iter().map(|v| v - 100.0 - lse).collect();
            let want: Vec<f64> = want_log.iter().map(|v| v.exp()).collect();
            close(&ys[i], &want, tol, "softmax");
            close(&logs[i], &want_log, tol, "log_softmax");
            let g = &gs[i];
            let dot: f64 = g.iter().zip(&want).map(|(g, y)| g * y).sum();
            let want_dx: Vec<f64> = g.iter().zip(&want).map(|(g, y)| y * (g - dot)).collect();
            close(&dxs[i], &want_dx, tol, "softmax_backward");
            let sum: f64 = g.iter().sum();
            let want_dx: Vec<f64> = g.iter().zip(&want).map(|(g, y)| g - y * sum).collect();
            close(&dlogs[i], &want_dx, 10.0 * tol, "log_softmax_backward");
        }
    }

    #[test]
    fn layer_norm(seed: u64, shape in shape(), kind in kind(), dtype in float()) {
        prop_assume!(!shape.is_empty());
        // eps is large, because a broadcast row has no variance and 1/√eps magnifies rounding
        // errors.
        let (d, eps) = (shape.len() - 1, 0.1);
        let n = shape[d];
        let x = view(seed, &shape, kind, dtype).affine(1.0, 3.0).unwrap();
        let g = view(seed ^ 1, &shape, kind, dtype);
        let (w, b) = (view(seed ^ 2, &[n], kind, dtype), view(seed ^ 3, &[n], kind, dtype));
        let y = x.layer_norm(&w, Some(&b), eps).unwrap();
        let (dx, dw, db) = x.layer_norm_backward(&w, &y.mean, &y.rstd, &g, None).unwrap();
        prop_assert_eq!(y.output.shape(), &shape[..]);
        prop_assert_eq!(y.mean.shape(), &shape[..d]);
        prop_assert_eq!(dw.shape(), &[n][..]);
        prop_assert_eq!(dx.shape(), &shape[..]);
        let (ws, bs) = (w.to_f64_vec(), b.to_f64_vec());
        let (mut want_y, mut want_dx) = (vec![], vec![]);
        let (mut want_dw, mut want_db) = (vec![0.0; n], vec![0.0; n]);
        let (mut means, mut rstds) = (vec![], vec![]);
        for (x, g) in slices(&x, &[d]).iter().zip(slices(&g, &[d])) {
            let mean = by_definition("mean", x);
            let rstd = 1.0 / (by_definition("var0", x) + eps).sqrt();
            let normed: Vec<f64> = x.iter().map(|v| (v - mean) * rstd).collect();
            let h: Vec<f64> = (0..n).map(|j| g[j] * ws[j]).collect();
            let sum: f64 = h.iter().sum::<f64>() / n as f64;
            let dot: f64 = (0..n).map(|j| h[j] * normed[j]).sum::<f64>() / n as f64;
            for j in 0..n {
                want_y.push(normed[j] * ws[j] + bs[j]);
                want_dx.push(rstd * (h[j] - sum - normed[j] * dot));
                want_dw[j] += g[j] * normed[j];
                want_db[j] += g[j];
            }
            means.push(mean);
            rstds.push(rstd);
        }
        let tol = 50.0 * tolerance(dtype);
        close(&y.output.to_f64_vec(), &want_y, tol, "output");
        close(&y.mean.to_f64_vec(), &means, tol, "mean");
        close(&y.rstd.to_f64_vec(), &rstds, tol, "rstd");
        close(&dx.to_f64_vec(), &want_dx, 20.0 * tol, "dx");
        close(&dw.to_f64_vec(), &want_dw, 20.0 * tol, "dweight");
        close(&db.to_f64_vec(), &want_db, 20.0 * tol, "dbias");
    }
}

#[test]
fn threads_change_nothing() {
    let x = numbers(1, &[3000, 200], DType::F32);
    let g = numbers(2, &[3000, 200], DType::F32);
    let w = numbers(3, &[200], DType::F32);
    same_for_any_threads(|| {
        let mut all = Vec::new();
        for name in REDUCTIONS {
            for dims in [&[0][..], &[1], &[]] {
                all.push(reduce(&x, name, dims, false).unwrap());
                all.push(reduce(&x.t().unwrap(), name, dims, false).unwrap());
            }
        }
        let y = x.softmax(-1).unwrap();
        all.extend([y.softmax_backward(&g, -1).unwrap(), y, x.argmax(1, false).unwrap()]);
        let y = x.log_softmax(0).unwrap();
        all.extend([y.log_softmax_backward(&g, 0).unwrap(), y]);
        let y = x.layer_norm(&w, Some(&w), 1e-5).unwrap();
        let (dx, dw, db) = x.layer_norm_backward(&w, &y.mean, &y.rstd, &g, None).unwrap();
        all.extend([y.output, y.mean, y.rstd, dx, dw, db]);
        all.iter().flat_map(|t| t.to_f64_vec().into_iter().map(f64::to_bits)).collect::<Vec<_>>()
    });
}

#[test]
fn special_values() {
    let (inf, nan) = (f32::INFINITY, f32::NAN);
    let row = |v: &[f32]| Tensor::from_slice(v, &[v.len()]).unwrap();
    let item = |t: gradus_tensor::Result<Tensor>| t.unwrap().item().unwrap();
    assert_eq!(item(row(&[-inf; 3]).logsumexp(&[], false)), f64::NEG_INFINITY);
    assert_eq!(item(row(&[1.0, inf, -inf]).logsumexp(&[], false)), f64::INFINITY);
    assert!(item(row(&[1.0, nan, inf]).logsumexp(&[], false)).is_nan());
    let large = item(row(&[1000.0, 1000.0]).logsumexp(&[], false));
    assert!((large - 1000.0 - 2f64.ln()).abs() < 1e-4);

    for at in 0..40 {
        let mut v: Vec<f32> = (0..40).map(|i| i as f32).collect();
        v[at] = nan;
        let x = row(&v);
        assert!(item(x.max(&[], false)).is_nan() && item(x.min(&[], false)).is_nan());
        assert_eq!(item(x.argmax(0, false)), at as f64);
        assert_eq!(item(x.argmin(0, false)), at as f64);
    }
    assert_eq!(item(row(&[-inf; 20]).argmax(0, false)), 0.0);
    assert_eq!(item(row(&[-inf; 20]).max(&[], false)), f64::NEG_INFINITY);

    let y = row(&[-inf; 20]).softmax(0).unwrap();
    assert!(y.to_f64_vec().iter().all(|v| v.is_nan()));
    let y = row(&[0.0, -inf, 0.0]).softmax(0).unwrap();
    assert_eq!(y.to_f64_vec(), [0.5, 0.0, 0.5]);
    let y = row(&[0.0, -inf, 0.0]).log_softmax(0).unwrap();
    assert_eq!(y.to_f64_vec()[1], f64::NEG_INFINITY);
    assert!(item(row(&[3.0]).var(&[], false, 1)).is_nan());
}

#[test]
fn refusals_say_what_to_do() {
    let x = Tensor::zeros(&[2, 0, 3], DType::F32).unwrap();
    let says = |r: gradus_tensor::Result<Tensor>, words: &[&str]| {
        let message = r.unwrap_err().to_string();
        assert!(words.iter().all(|w| message.contains(w)), "{message}");
    };
    says(x.max(&[1], false), &["[max]", "[2, 0, 3]"]);
    says(x.argmax(1, false), &["[argmax]", "[2, 0, 3]"]);
    says(x.sum(&[3], false), &["[sum]", "3"]);
    says(x.sum(&[1, -2], false), &["[sum]", "twice"]);
    says(x.sum_to(&[2, 2, 3]), &["[sum_to]", "[2, 2, 3]", "[2, 0, 3]"]);
    says(x.sum_to(&[1, 2, 0, 3]), &["[sum_to]", "fewer"]);
    says(Tensor::scalar(1f32).softmax(-1), &["[softmax]", "scalar"]);
    says(x.softmax_backward(&x.narrow(0, 0, 1).unwrap(), 0), &["[softmax_backward]", "[1, 0, 3]"]);
    says(x.to_dtype(DType::U32).unwrap().mean_all(), &["u32", "to_dtype"]);
    let w = Tensor::ones(&[4], DType::F32).unwrap();
    says(
        x.layer_norm(&w, Some(&w), 1e-5).map(|y| y.output),
        &["[layer_norm]", "weight", "[4]", "[3]"],
    );
    let y = Tensor::scalar(1f32).layer_norm(&w, Some(&w), 1e-5).map(|y| y.output);
    says(y, &["[layer_norm]", "scalar"]);
}
