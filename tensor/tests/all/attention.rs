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

/// The output and the gradients of query, key and value for one sequence that begins at token
/// `start`.
fn composed([q, k, v, g]: [&Tensor; 4], start: usize, options: &Attention) -> [Tensor; 4] {
    let n = q.shape()[0];
    let heads = (0..HEADS).map(|head| {
        let of = |t: &Tensor| t.narrow(1, head * D, D).unwrap();
        let (q, k, v, g) = (of(q), of(k), of(v), of(g));
        let p = q.matmul(&k.t().unwrap()).unwrap().mul_scalar(options.scale).unwrap();
        let p = p.softmax(-1).unwrap();
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
    let (out, lse) = q.attention(&k, &v, &offsets, options).unwrap();
    let (dq, dk, dv) = q.attention_backward(&k, &v, &offsets, &lse, &g, options).unwrap();
    for ((name, got), want) in ["output", "dq", "dk", "dv"].iter().zip([out, dq, dk, dv]).zip(parts)
    {
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
        let options = Attention { heads: HEADS, scale, dropout };
        for lengths in [&[47, 48, 49][..], &[64], &[97], &[1, 130, 0, 2], &[300]] {
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
        for scale in [1e-5, 0.1] {
            let options = Attention { heads: 1, scale, dropout: None };
            let (y, _) = x.attention(&x, &v, &offsets, &options).unwrap();
            for row in y.to_f64_vec().chunks(4) {
                let near = row.iter().zip([4.0, 5.0, 6.0, 7.0]).all(|(a, b)| (a - b).abs() < 1e-5);
                assert!(near, "{dtype}, scale {scale}: {row:?}");
            }
        }
    }
}
