//! Gated linear layers, RMS norm and rotary embedding: their parts agree with the whole.

use gradus_autograd::Var;
use gradus_nn::{Activation, Forward, GatedLinear, Init, Linear, RmsNorm, RotaryEmbedding, Store};
use gradus_tensor::{DType, Device, RngKey, Tensor};
use gradus_testing::assert_near;

fn randn(shape: &[usize], seed: u64) -> Tensor {
    Tensor::randn(shape, DType::F32, RngKey::new(seed)).unwrap()
}

/// One layer of twice the width, two layers, and the product written out, for both orders.
#[test]
fn a_gated_linear_is_the_product_of_its_halves() {
    let (root, init) = (Store::new(5).root(), Init::Normal { std: 0.5 });
    let (store, forward) = (root.store(), Forward::inference());
    let x = Var::constant(randn(&[7, 5], 1));
    for (i, first) in [true, false].into_iter().enumerate() {
        let at = |name: &str| root.join(format!("{i}.{name}"));
        let both = Linear::no_bias(&at("Wi"), 5, 6, init).unwrap();
        let halves = both.weight.tensor().chunk(2, 0).unwrap();
        let two =
            ["gate_proj", "up_proj"].map(|name| Linear::no_bias(&at(name), 5, 3, init).unwrap());
        for (layer, half) in two.iter().zip(&halves) {
            layer.weight.set(half.copy().unwrap()).unwrap();
        }
        let [a, b] = two.each_ref().map(|layer| layer.forward(&x).unwrap());
        let (gate, other) = if first { (&a, &b) } else { (&b, &a) };
        let product = gate.gelu().unwrap().mul(other).unwrap().tensor().to_f64_vec();
        for parts in [vec![both], two.into()] {
            let gated = GatedLinear::new(parts, Activation::Gelu, first).unwrap();
            let y = gated.forward(&x, &forward).unwrap();
            assert_near("gated", y.tensor(), &product, |_| 1e-5);
        }
    }
    assert!(store.get("0.Wi.weight").is_some() && store.get("1.up_proj.weight").is_some());
    let layer = Linear::no_bias(&root.join("tanh"), 5, 6, init).unwrap();
    let error = GatedLinear::new(vec![layer], Activation::Tanh, true).err().unwrap().to_string();
    assert!(error.contains("no gated unit has the activation Tanh"), "{error}");
}

#[test]
fn an_rms_norm_of_a_sum() {
    let store = Store::new(0);
    let norm = RmsNorm::new(&store.root().join("norm"), 6, 1e-6).unwrap();
    norm.weight.set(randn(&[6], 3)).unwrap();
    let [x, residual] = [1, 2].map(|seed| Var::constant(randn(&[4, 6], seed)));
    let truth = norm.forward(&x.add(&residual).unwrap()).unwrap().tensor().to_f64_vec();
    let y = norm.forward_residual(&x, &residual, None).unwrap();
    assert_near("the norm of the sum", y.tensor(), &truth, |_| 1e-6);
    let error = RmsNorm::new(&store.root().join("bad"), 6, -1.0).err().unwrap().to_string();
    assert!(error.contains("bad") && error.contains("eps is -1"), "{error}");
}

/// Values stay, and what queries and keys become does not depend on each other.
#[test]
fn rotary_embedding_turns_queries_and_keys_alone() {
    let rotary = RotaryEmbedding::new(10, 4, 100.0, Device::Cpu).unwrap();
    let (heads, hidden) = (2, 12);
    let qkv = Var::constant(randn(&[3, 3 * hidden], 4));
    let positions = Tensor::from_slice(&[0u32, 9, 4], &[3]).unwrap();
    let y = rotary.forward(&qkv, &positions, heads).unwrap();
    let part = |x: &Var, i: usize| x.narrow(1, i * hidden, hidden).unwrap();
    assert_eq!(part(&y, 2).tensor().to_f64_vec(), part(&qkv, 2).tensor().to_f64_vec());
    for i in [0, 1] {
        let x = part(&qkv, i);
        let alone = Var::cat(&[&x, &x, &x], 1).unwrap();
        let alone = rotary.forward(&alone, &positions, heads).unwrap();
        assert_eq!(part(&y, i).tensor().to_f64_vec(), part(&alone, 0).tensor().to_f64_vec());
        assert_ne!(part(&y, i).tensor().to_f64_vec(), x.tensor().to_f64_vec());
    }
    let far = Tensor::from_slice(&[0u32, 10, 4], &[3]).unwrap();
    let error = rotary.forward(&qkv, &far, heads).err().unwrap().to_string();
    assert!(error.contains("id 10 at position 1"), "{error}");
}
