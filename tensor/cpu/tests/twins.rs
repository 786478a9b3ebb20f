//! Kernels in f32, which run on the processor's vectors, against the same kernels in f64, which are
//! plain loops. Runs on every processor, also under an emulator.

use gradus_base::op::attention::{Attention, GradientLayout, Sequences};
use gradus_base::op::layer_norm::{Operands, Saved};
use gradus_base::op::unary::UnaryOp;
use gradus_base::{DType, RngKey};
use gradus_cpu::{
    Array, View, attention, copy, create, layer_norm, matmul, random, softmax, unary,
};

/// Random numbers that f32 holds exactly.
fn random(shape: &[usize], seed: u64) -> Array {
    random::randn(shape, DType::F32, RngKey::new(seed)).unwrap()
}

fn wide(x: &Array) -> Array {
    copy::convert(x.view(), DType::F64).unwrap()
}

fn assert_close(name: &str, got: View, want: View, tolerance: f64) {
    assert_eq!(got.shape(), want.shape(), "{name}");
    let (got, want) = (got.to_f64_vec("test").unwrap(), want.to_f64_vec("test").unwrap());
    for (i, (got, want)) in got.into_iter().zip(want).enumerate() {
        let error = (got - want).abs();
        assert!(error <= tolerance * want.abs().max(1.0), "{name}, element {i}: {got}, not {want}");
    }
}

/// Runs `kernel` on the operands in both types and compares its results.
fn check(name: &str, operands: &[Array], tolerance: f64, kernel: impl Fn(&[View]) -> Vec<Array>) {
    let wide: Vec<Array> = operands.iter().map(wide).collect();
    let of = |operands: &[Array]| kernel(&operands.iter().map(Array::view).collect::<Vec<_>>());
    let (got, want) = (of(operands), of(&wide));
    for (i, (got, want)) in got.iter().zip(&want).enumerate() {
        assert_close(&format!("{name}, result {i}"), got.view(), want.view(), tolerance);
    }
}

#[test]
fn attention_forward_and_backward() {
    for (heads, d) in [(2, 32), (3, 20), (1, 64)] {
        let bounds = [0, 1, 18, 147];
        let offsets = create::list("test", 4, DType::U32, &|i| bounds[i] as f64).unwrap();
        let window = (heads == 3).then_some(30);
        let options = Attention { heads, scale: 0.2, window, ..Default::default() };
        let mut operands: Vec<Array> = (0..4).map(|i| random(&[147, heads * d], i)).collect();
        operands.push(random(&[heads, 21], 4));
        check("attention", &operands, 2e-5, |of| {
            let (q, k, v, bias, offsets) = (of[0], of[1], of[2], of[4], offsets.view());
            let bias = (heads != 2).then_some(bias);
            let sequences = Sequences { q, k, v, bias, offsets, bounds: &bounds };
            let (y, lse) = attention::forward(sequences, &options).unwrap();
            let layout = GradientLayout { row: heads * d, part: 147 * heads * d, bias: true };
            let (grads, dbias) =
                attention::backward(sequences, lse.view(), of[3], &options, layout).unwrap();
            [y, lse, grads].into_iter().chain(dbias).collect()
        });
    }
}

#[test]
fn layers_with_and_without_gelu() {
    for (m, k, n) in [(1, 40, 33), (13, 384, 70), (200, 61, 16)] {
        let operands = [random(&[m, k], 0), random(&[n, k], 1), random(&[n], 2)];
        check("linear", &operands, 1e-4, |of| {
            let (gelu, before) = matmul::linear_gelu(of[0], of[1], Some(of[2]), true).unwrap();
            let y = matmul::linear(of[0], of[1], Some(of[2])).unwrap();
            vec![gelu, before.expect("kept"), y]
        });
    }
}

#[test]
fn layer_norm_forward_and_backward() {
    for (rows, n) in [(3, 16), (7, 384), (40, 37)] {
        let [x, g] = [0, 1].map(|seed| random(&[rows, n], seed));
        let [weight, bias] = [2, 3].map(|seed| random(&[n], seed));
        check("layer_norm", &[x, g, weight, bias], 2e-5, |of| {
            let (eps, rms) = (1e-12, n % 2 == 0);
            let operands = Operands { x: of[0], weight: of[2], bias: Some(of[3]), eps, rms };
            let y = layer_norm::forward(operands, None).unwrap();
            let (mean, rstd) = (y.mean.view(), y.rstd.view());
            let saved = Saved { x: of[0], weight: of[2], mean, rstd, rms };
            let (dx, _, dw, db) = layer_norm::backward(saved, vec![of[1]], None).unwrap();
            vec![y.output, dx, dw, db]
        });
    }
}

#[test]
fn gelu_and_other_functions() {
    let ops = [UnaryOp::Gelu, UnaryOp::GeluTanh, UnaryOp::Silu, UnaryOp::Sigmoid, UnaryOp::Tanh];
    for op in ops {
        check(op.name(), &[random(&[2011], 0), random(&[2011], 1)], 2e-6, |of| {
            vec![unary::forward(of[0], op).unwrap(), unary::backward(of[0], op, of[1]).unwrap()]
        });
    }
}

#[test]
fn softmax_and_its_logarithm() {
    check("softmax", &[random(&[9, 131], 0), random(&[9, 131], 1)], 2e-6, |of| {
        let y = softmax::softmax(of[0]).unwrap();
        let dx = softmax::softmax_backward(y.view(), of[1]).unwrap();
        vec![y, dx, softmax::log_softmax(of[0]).unwrap()]
    });
}
