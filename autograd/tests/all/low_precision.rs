//! Layers in 8 and 16 bits: those in bf16 have gradients, of operands that were rounded.

use gradus_autograd::{BackwardOptions, Var, checkpoint, grad, low_precision, no_grad};
use gradus_tensor::ops::attention::Attention;
use gradus_tensor::{DType, Device, LowPrecision, Result, RngKey, Tensor, is_bf16_fast};
use proptest::prelude::*;

use crate::autocast::{assert_near, leaf};

fn in_bf16<R>(body: impl FnOnce() -> R) -> R {
    low_precision(Some(LowPrecision::Bf16), body)
}

/// What a kernel reads of an operand: bf16, where it computes in it.
fn rounded(x: &Tensor) -> Tensor {
    match is_bf16_fast() {
        true => x.to_dtype(DType::BF16).unwrap().to_dtype(DType::F32).unwrap(),
        false => x.clone(),
    }
}

/// x·Wᵀ + b, and the gradients of x, W and b for a gradient G, all of rounded operands; G may
/// depend on the result.
fn layer(
    [x, w, b]: [&Tensor; 3],
    g: impl FnOnce(&Tensor) -> Tensor,
) -> Result<(Tensor, [Tensor; 3])> {
    let (x, w) = (rounded(x), rounded(w));
    let z = x.matmul(&w.t()?)?.add(b)?;
    let g = g(&z);
    let low = rounded(&g);
    let grads = [low.matmul(&w)?, low.t()?.matmul(&x)?, g.sum(&[0], false)?];
    Ok((z, grads))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// A layer in bf16, with GELU or not, and layers side by side: values and gradients are those of
    /// rounded operands, also where backward is called outside the mode or inside.
    #[test]
    fn all_three_products_of_a_layer_are_in_bf16(
        m in 1..40usize, k in 1..70usize, n in 1..40usize, seed in 0..1000u64, inside: bool,
    ) {
        let cpu = Device::Cpu;
        let (x, w, b) = (leaf(&[m, k], seed, cpu), leaf(&[n, k], seed + 1, cpu), leaf(&[n], seed + 2, cpu));
        let seed_of_g = leaf(&[m, n], seed + 3, cpu).into_tensor();
        let operands = [&x, &w, &b].map(Var::tensor);
        let check = |what: &str, y: Var, truth: (Tensor, [Tensor; 3])| {
            assert_near(what, y.tensor(), &truth.0, 1e-5);
            let backward = || y.backward_with(Some(seed_of_g.clone()), BackwardOptions::default()).unwrap();
            let grads = if inside { in_bf16(backward) } else { backward() };
            for (v, truth) in [&x, &w, &b].iter().zip(truth.1) {
                assert_near(what, grads.get(v).unwrap(), &truth, 1e-5);
            }
        };
        let truth = layer(operands, |_| seed_of_g.clone()).unwrap();
        check("linear", in_bf16(|| x.linear(&w, Some(&b))).unwrap(), truth.clone());
        check("linear_cat", in_bf16(|| x.linear_cat(&[&w], &[&b])).unwrap(), truth);
        let (z, grads) = layer(operands, |z| {
            let z = Var::leaf(z.clone());
            let y = z.gelu().unwrap();
            let grads = y.backward_with(Some(seed_of_g.clone()), BackwardOptions::default()).unwrap();
            grads.get(&z).unwrap().clone()
        })
        .unwrap();
        let y = no_grad(|| Var::constant(z).gelu()).unwrap().into_tensor();
        check("linear_gelu", in_bf16(|| x.linear_gelu(&w, Some(&b))).unwrap(), (y, grads));
    }
}

/// A network of layers: a checkpoint computes the same again, and a gradient that is recorded is near
/// that of f32. Some weights are frozen.
#[test]
fn a_network_in_bf16() {
    let cpu = Device::Cpu;
    let leaves: Vec<Var> = [&[9usize, 16][..], &[32, 16], &[32], &[16, 32], &[16], &[16, 16]]
        .iter()
        .enumerate()
        .map(|(i, shape)| leaf(shape, i as u64, cpu))
        .collect();
    let network = |v: &[Var]| {
        let z = v[0].linear_gelu(&v[1], Some(&v[2]))?.linear(&v[3], Some(&v[4]))?;
        let frozen = Var::constant(v[5].tensor().clone());
        z.linear_cat(&[&v[5], &frozen], &[])?.square()?.mean_all()
    };
    let truth = network(&leaves).unwrap().backward().unwrap();
    let plain = in_bf16(|| network(&leaves)).unwrap().backward().unwrap();
    let again = leaves.clone();
    let twice = in_bf16(|| checkpoint(move || network(&again))).unwrap().backward().unwrap();
    let options = BackwardOptions { create_graph: true, retain_graph: true };
    let loss = in_bf16(|| network(&leaves)).unwrap();
    let recorded = grad(&[loss], &leaves, None, options).unwrap();
    for (i, v) in leaves.iter().enumerate() {
        let (what, of) = (format!("leaf {i}"), plain.get(v).unwrap());
        assert_near(&what, of, truth.get(v).unwrap(), 0.03);
        assert_eq!(of.to_f64_vec(), twice.get(v).unwrap().to_f64_vec(), "{what}, by a checkpoint");
        let recorded = recorded[i].as_ref().unwrap();
        assert!(recorded.requires_grad());
        assert_near(&what, recorded.tensor(), truth.get(v).unwrap(), 0.03);
        let differs = of.to_f64_vec() != truth.get(v).unwrap().to_f64_vec();
        assert_eq!(differs, is_bf16_fast(), "{what}: rounded where the processor is fast");
    }
}

/// Layers in 8 bits have no gradient.
#[test]
fn layers_in_8_bits_are_refused_where_they_would_be_recorded() {
    let (x, w, b) =
        (leaf(&[6, 8], 1, Device::Cpu), leaf(&[8, 8], 2, Device::Cpu), leaf(&[8], 3, Device::Cpu));
    low_precision(Some(LowPrecision::Int8), || {
        for layer in
            [x.linear(&w, Some(&b)), x.linear_gelu(&w, None), x.linear_cat(&[&w, &w], &[&b, &b])]
        {
            let error = layer.expect_err("a rounded layer was recorded").to_string();
            assert!(error.contains("no gradient") && error.contains("no_grad"), "{error}");
        }
    });
    for low in [LowPrecision::Int8, LowPrecision::Bf16] {
        let near = no_grad(|| low_precision(Some(low), || x.linear(&w, Some(&b)))).unwrap();
        let truth = no_grad(|| x.linear(&w, Some(&b))).unwrap();
        assert_near(&format!("{low:?}"), near.tensor(), truth.tensor(), 0.03);
    }
}

#[test]
fn attention_rounds_only_without_gradients() {
    let (tokens, hidden) = (70, 24);
    let [q, k, v] = [0, 1, 2]
        .map(|seed| Tensor::randn(&[tokens, hidden], DType::F32, RngKey::new(seed)).unwrap());
    let offsets = Tensor::from_slice(&[0u32, tokens as u32], &[2]).unwrap();
    let options = Attention { heads: 2, scale: 0.3, ..Default::default() };
    let attend = |q: &Var| {
        let [k, v] = [&k, &v].map(|x| Var::constant(x.clone()));
        q.attention(&k, &v, None, &offsets, &options).unwrap().tensor().to_vec::<f32>().unwrap()
    };
    let exact = attend(&Var::constant(q.clone()));
    for low in [LowPrecision::Bf16, LowPrecision::Int8] {
        let recorded = low_precision(Some(low), || attend(&Var::leaf(q.clone())));
        assert_eq!(recorded, exact, "{low:?}: what is recorded is f32");
        let rounded = no_grad(|| low_precision(Some(low), || attend(&Var::constant(q.clone()))));
        let asked = Attention { bf16: true, ..options };
        let (y, _) = q.attention(&k, &v, None, &offsets, &asked).unwrap();
        assert_eq!(rounded, y.to_vec::<f32>().unwrap(), "{low:?}: as if it were asked for");
        for (got, want) in rounded.iter().zip(&exact) {
            assert!((got - want).abs() <= 0.03, "{low:?}: {got}, not {want}");
        }
    }
}

/// A checkpoint computes attention twice: in f32 both times, so its value is that of its gradient.
#[test]
fn attention_in_a_checkpoint_is_the_same_both_times() {
    let (tokens, hidden) = (70, 24);
    let leaves: Vec<Var> = (0..3).map(|seed| leaf(&[tokens, hidden], seed, Device::Cpu)).collect();
    let network = move |v: &[Var]| {
        let offsets = Tensor::from_slice(&[0u32, tokens as u32], &[2])?;
        let options = Attention { heads: 2, scale: 0.3, ..Default::default() };
        // The inputs of attention are results, which a checkpoint does not record in forward.
        let [q, k, v] = [0, 1, 2].map(|i| v[i].mul_scalar(1.5));
        q?.attention(&k?, &v?, None, &offsets, &options)?.square()?.mean_all()
    };
    let plain = in_bf16(|| network(&leaves)).unwrap();
    let again = leaves.clone();
    let twice = in_bf16(|| checkpoint(move || network(&again))).unwrap();
    assert_eq!(plain.item().unwrap(), twice.item().unwrap());
    let [plain, twice] = [plain, twice].map(|loss| loss.backward().unwrap());
    for leaf in &leaves {
        let [a, b] = [&plain, &twice].map(|grads| grads.get(leaf).unwrap().to_f64_vec());
        assert_eq!(a, b);
    }
}
