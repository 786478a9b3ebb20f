//! Attention over sequences longer than the blocks of its kernels, forward and backward, on both
//! devices, against its definition in other operations.

use gradus_tensor::ops::attention::Attention;
use gradus_tensor::{DType, Device, RngKey, Tensor};
use gradus_testing::gpu;

const HEADS: usize = 2;
const D: usize = 20;

fn random(tokens: usize, dtype: DType, name: &str) -> Tensor {
    Tensor::randn(&[tokens, HEADS * D], dtype, RngKey::new(3).place(name)).unwrap()
}

/// The scores, those of keys that the query does not see −∞.
fn seen(options: &Attention, scores: &Tensor) -> Tensor {
    let n = scores.shape()[0];
    let mut values = scores.to_f64_vec();
    for (at, value) in values.iter_mut().enumerate() {
        let (query, key) = ((at / n) as isize, (at % n) as isize);
        let far = options.window.is_some_and(|window| (query - key).unsigned_abs() > window);
        if far || (options.causal && key > query) {
            *value = f64::NEG_INFINITY;
        }
    }
    Tensor::from_slice(&values, &[n, n]).unwrap().to_dtype(scores.dtype()).unwrap()
}

/// The output and the gradients of query, key and value for one sequence that begins at token
/// `start`.
fn composed([q, k, v, g]: [&Tensor; 4], start: usize, options: &Attention) -> [Tensor; 4] {
    let n = q.shape()[0];
    let heads = (0..HEADS).map(|head| {
        let of = |t: &Tensor| t.narrow(1, head * D, D).unwrap();
        let (q, k, v, g) = (of(q), of(k), of(v), of(g));
        let p = q.matmul(&k.t().unwrap()).unwrap().mul_scalar(options.scale).unwrap();
        let p = seen(options, &p).softmax(-1).unwrap();
        // Dropout multiplies the probabilities by these factors.
        let kept = match options.dropout {
            None => p.ones_like().unwrap(),
            Some((rate, key)) => {
                let mask = Tensor::attention_dropout_mask(start, n, HEADS, rate, key).unwrap();
                let mask = mask.select(0, head).unwrap().to_dtype(q.dtype()).unwrap();
                mask.mul_scalar(1.0 / (1.0 - rate)).unwrap()
            }
        };
        let dropped = p.mul(&kept).unwrap();
        let dp = g.matmul(&v.t().unwrap()).unwrap().mul(&kept).unwrap();
        let ds = p.softmax_backward(&dp, -1).unwrap().mul_scalar(options.scale).unwrap();
        [
            dropped.matmul(&v).unwrap(),
            ds.matmul(&k).unwrap(),
            ds.t().unwrap().matmul(&q).unwrap(),
            dropped.t().unwrap().matmul(&g).unwrap(),
        ]
    });
    let heads: Vec<[Tensor; 4]> = heads.collect();
    std::array::from_fn(|i| {
        let parts: Vec<&Tensor> = heads.iter().map(|head| &head[i]).collect();
        Tensor::cat(&parts, 1).unwrap()
    })
}

fn check(device: Device, dtype: DType, lengths: &[usize], options: &Attention, tolerance: f64) {
    let tokens = lengths.iter().sum();
    let inputs = ["q", "k", "v", "g"].map(|name| random(tokens, dtype, name));
    let mut bounds = vec![0u32];
    let mut parts: [Vec<Tensor>; 4] = Default::default();
    for &n in lengths {
        let start = bounds[bounds.len() - 1] as usize;
        let sequence = inputs.each_ref().map(|t| t.narrow(0, start, n).unwrap());
        let results = composed(sequence.each_ref(), start, options);
        parts.iter_mut().zip(results).for_each(|(parts, result)| parts.push(result));
        bounds.push((start + n) as u32);
    }
    let offsets = Tensor::from_slice(&bounds, &[bounds.len()]).unwrap().to_device(device).unwrap();
    let [q, k, v, g] = inputs.map(|t| t.to_device(device).unwrap());
    let (out, lse) = q.attention(&k, &v, None, &offsets, options).unwrap();
    let grads = q.attention_backward([&k, &v], None, &offsets, [&lse, &g], options).unwrap();
    let results = [out, grads.query, grads.key, grads.value];
    for ((name, got), want) in ["output", "dq", "dk", "dv"].iter().zip(results).zip(parts) {
        let want = Tensor::cat(&want.iter().collect::<Vec<_>>(), 0).unwrap().to_f64_vec();
        for (i, (got, want)) in got.to_f64_vec().into_iter().zip(want).enumerate() {
            let token = i / (HEADS * D);
            assert!(
                (got - want).abs() <= tolerance * want.abs().max(1.0),
                "{name} of {lengths:?} {dtype} on {device}, token {token}: {got}, not {want}"
            );
        }
    }
}

#[test]
fn long_sequences_attend_as_short_ones() {
    let scale = 1.0 / (D as f64).sqrt();
    for dropout in [None, Some((0.3, RngKey::new(9)))] {
        for lengths in [&[47, 48, 49][..], &[64], &[97], &[1, 130, 0, 2], &[210], &[300]] {
            let n = lengths[0];
            let window = Some(n / 3);
            let (causal, window) = match n % 4 {
                0 => (false, None),
                1 => (true, None),
                2 => (true, window),
                _ => (false, window),
            };
            let options = Attention { heads: HEADS, scale, dropout, causal, window, bf16: false };
            let plain = Attention { causal: false, window: None, ..options };
            check(Device::Cpu, DType::F32, lengths, &plain, 2e-5);
            check(Device::Cpu, DType::F64, lengths, &options, 1e-12);
            check(Device::Cpu, DType::F32, lengths, &options, 2e-5);
            if let Some(device) = gpu() {
                check(device, DType::F32, lengths, &options, 2e-5);
            }
        }
    }
}

/// Scores far beyond the range of the exponential, before and after they are scaled: equal scores
/// have equal probabilities.
#[test]
fn large_scores_do_not_overflow() {
    for dtype in [DType::F32, DType::F64] {
        let x = Tensor::full(&[3, 4], 1e4, dtype).unwrap();
        let v = Tensor::arange(0.0, 12.0, 1.0, dtype).unwrap().reshape(&[3, 4]).unwrap();
        let offsets = Tensor::from_slice(&[0u32, 3], &[2]).unwrap();
        for scale in [1e-5, 0.1, 7.3e29] {
            let options = Attention { scale, ..Default::default() };
            let (y, _) = x.attention(&x, &v, None, &offsets, &options).unwrap();
            for row in y.to_f64_vec().chunks(4) {
                let near = row.iter().zip([4.0, 5.0, 6.0, 7.0]).all(|(a, b)| (a - b).abs() < 1e-5);
                assert!(near, "{dtype}, scale {scale}: {row:?}");
            }
        }
    }
}

/// A bias that does not fit is refused by name.
#[test]
fn a_bias_of_another_shape_is_refused() {
    let x = Tensor::ones(&[3, 4], DType::F32).unwrap();
    let offsets = Tensor::from_slice(&[0u32, 3], &[2]).unwrap();
    let options = Attention { heads: 2, ..Default::default() };
    for (shape, dtype) in [
        (&[2, 4][..], DType::F32),
        (&[1, 3], DType::F32),
        (&[3], DType::F32),
        (&[2, 3], DType::F64),
    ] {
        let bias = Tensor::ones(shape, dtype).unwrap();
        let error = x.attention(&x, &x, Some(&bias), &offsets, &options).err().unwrap().to_string();
        assert!(error.contains("the bias of the scores is"), "{error}");
        assert!(error.contains("f32 [2, 2·m + 1]"), "{error}");
    }
}

/// Each token sees itself where it sees nothing else: with a window of 0 its own value remains.
#[test]
fn a_window_of_nothing() {
    let devices = [Some(Device::Cpu), gpu()];
    for device in devices.into_iter().flatten() {
        let x = random(70, DType::F32, "q").to_device(device).unwrap();
        let offsets = Tensor::from_slice(&[0u32, 70], &[2]).unwrap().to_device(device).unwrap();
        let options = Attention { heads: HEADS, window: Some(0), ..Default::default() };
        let (y, _) = x.attention(&x, &x, None, &offsets, &options).unwrap();
        assert_eq!(y.to_f64_vec(), x.to_f64_vec());
    }
}
