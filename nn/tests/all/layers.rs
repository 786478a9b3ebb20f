//! Layers against PyTorch and transformers; packing, dropout, threads.

use crate::golden::*;
use gradus_autograd::Var;
use gradus_nn::{
    Activation, AdamW, Dropout, Embedding, EncoderLayer, Forward, Init, LayerConfig, LayerNorm,
    Linear, Optimizer, Path, Store, clip_grad_norm, param_groups,
};
use gradus_tensor::{DType, RngKey, Tensor};

const INFERENCE: Forward = Forward::inference();

#[test]
fn linear() {
    let store = Store::with_source(0, GoldenSource("linear."));
    let layer = Linear::new(&store.root(), 5, 4, Init::Zeros).unwrap();
    let x = leaf("linear.input");
    let (w, b) = (layer.weight.var(), layer.bias.as_ref().unwrap().var());
    check(
        "linear",
        &layer.forward(&x).unwrap(),
        &[("input", &x), ("weight", &w), ("bias", &b)],
        1e-6,
    );

    let store = Store::with_source(0, GoldenSource("linear_no_bias."));
    let layer = Linear::no_bias(&store.root(), 5, 4, Init::Zeros).unwrap();
    let x = leaf("linear_no_bias.input");
    let w = layer.weight.var();
    check("linear_no_bias", &layer.forward(&x).unwrap(), &[("input", &x), ("weight", &w)], 1e-6);
    assert_eq!(store.parameters().len(), 1);
}

#[test]
fn embedding() {
    let store = Store::with_source(0, GoldenSource("embedding."));
    let layer = Embedding::new(&store.root(), 6, 4, Init::Zeros).unwrap();
    let y = layer.forward(&ids("embedding.input")).unwrap();
    check("embedding", &y, &[("weight", &layer.weight().var())], 1e-6);
}

#[test]
fn layer_norm() {
    let store = Store::with_source(0, GoldenSource("layer_norm."));
    let layer = LayerNorm::new(&store.root(), 6, 1e-5).unwrap();
    let x = leaf("layer_norm.input");
    let (w, b) = (layer.weight.var(), layer.bias.as_ref().unwrap().var());
    check(
        "layer_norm",
        &layer.forward(&x).unwrap(),
        &[("input", &x), ("weight", &w), ("bias", &b)],
        2e-6,
    );
}

#[test]
fn activations() {
    for activation in Activation::ALL {
        let name = match activation {
            Activation::Gelu => "gelu",
            Activation::GeluTanh => "gelu_tanh",
            Activation::Relu => "relu",
            Activation::Silu => "silu",
            Activation::Tanh => "tanh",
            other => panic!("{other:?} has no golden values"),
        };
        let x = leaf(&format!("{name}.input"));
        check(name, &activation.forward(&x).unwrap(), &[("input", &x)], 2e-6);
        // Its name in a configuration.
        let written = String::from(*activation);
        assert_eq!(Activation::try_from(written.clone()), Ok(*activation), "{written}");
    }
    assert_eq!(String::from(Activation::Silu), "silu");
    assert!(Activation::try_from("softplus".to_string()).is_err());
}

fn small() -> LayerConfig {
    LayerConfig { hidden: 8, heads: 2, intermediate: 12, init_std: 0.5, ..LayerConfig::default() }
}

#[test]
fn encoder_layer_is_that_of_transformers() {
    let store = Store::with_source(0, GoldenSource("encoder."));
    let layer = EncoderLayer::new(&store.root(), &small()).unwrap();
    assert!(store.missing().is_empty(), "not in transformers' layer: {:?}", store.missing());
    assert_eq!(store.parameters().len(), 16);
    let x = leaf("encoder.input");
    let y = layer.forward(&x, &ids("encoder.offsets"), &INFERENCE).unwrap();
    let grads = check("encoder", &y, &[("input", &x)], 3e-6);
    for parameter in store.parameters() {
        let grad = parameter.grad(&grads).expect("every parameter takes part");
        if parameter.name() == "attention.self.key.bias" {
            // Softmax does not see what all keys share: this gradient is 0 up to rounding.
            assert!(grad.to_f64_vec().into_iter().all(|g| g.abs() < 1e-5));
            continue;
        }
        assert_close(grad, &format!("encoder.grad.{}", parameter.name()), 5e-6);
    }
}

#[test]
fn a_sequence_alone_and_packed_agree() {
    let store = Store::new(1);
    let config = LayerConfig { hidden: 48, heads: 4, intermediate: 96, ..small() };
    let layer = EncoderLayer::new(&store.root(), &config).unwrap();
    let offsets = [0u32, 7, 8, 8, 45, 110];
    let x = Tensor::randn(&[110, 48], DType::F32, RngKey::new(2)).unwrap();
    let forward = |x: Tensor, offsets: &[u32]| {
        let offsets = Tensor::from_slice(offsets, &[offsets.len()]).unwrap();
        layer.forward(&Var::constant(x), &offsets, &INFERENCE).unwrap().into_tensor()
    };
    let packed = forward(x.clone(), &offsets);
    for w in offsets.windows(2) {
        let (start, n) = (w[0] as usize, (w[1] - w[0]) as usize);
        let alone = forward(x.narrow(0, start, n).unwrap(), &[0, n as u32]);
        let same = packed.narrow(0, start, n).unwrap();
        for (a, b) in alone.to_f64_vec().into_iter().zip(same.to_f64_vec()) {
            assert!((a - b).abs() < 1e-6, "{a} alone, {b} in the batch");
        }
    }
}

#[test]
fn dropout_depends_on_seed_step_and_place() {
    let root = Store::new(0).root();
    let x = Var::leaf(Tensor::ones(&[200, 100], DType::F32).unwrap());
    let run = |place: &Path, forward: Forward| {
        let y = Dropout::new(place, 0.25).unwrap().forward(&x, &forward).unwrap();
        y.tensor().to_vec::<f32>().unwrap()
    };
    let (a, b) = (&root / "a", &root / "b");
    let y = run(&a, Forward::training(1, 2));
    assert_eq!(y, run(&a, Forward::training(1, 2)));
    assert_ne!(y, run(&b, Forward::training(1, 2)));
    assert_ne!(y, run(&a, Forward::training(1, 3)));
    assert_ne!(y, run(&a, Forward::training(2, 2)));
    let dropped = y.iter().filter(|&&y| y == 0.0).count() as f64 / 20_000.0;
    assert!((dropped - 0.25).abs() < 0.015, "{dropped}");
    assert!(y.iter().all(|&y| y == 0.0 || (y - 1.0 / 0.75).abs() < 1e-6));
    assert_eq!(run(&a, INFERENCE), x.tensor().to_vec::<f32>().unwrap());
    // The gradient of the sum is the mask itself.
    let sum =
        Dropout::new(&a, 0.25).unwrap().forward(&x, &Forward::training(1, 2)).unwrap().sum_all();
    let grads = sum.unwrap().backward().unwrap();
    assert_eq!(grads.get(&x).unwrap().to_vec::<f32>().unwrap(), y);
    let error = Dropout::new(&a, 1.5).unwrap_err();
    assert!(error.to_string().starts_with("a: [dropout]"), "{error}");
}

#[test]
fn all_dropouts_of_an_encoder_act_in_training() {
    let store = Store::new(1);
    let x = Var::constant(Tensor::randn(&[6, 8], DType::F32, RngKey::new(2)).unwrap());
    let offsets = Tensor::from_slice(&[0u32, 2, 6], &[3]).unwrap();
    let run = |dropout, attention_dropout, forward: &Forward| {
        let config = LayerConfig { dropout, attention_dropout, ..small() };
        let layer = EncoderLayer::new(&store.root(), &config).unwrap();
        layer.forward(&x, &offsets, forward).unwrap().tensor().to_vec::<f32>().unwrap()
    };
    let training = Forward::training(0, 0);
    let plain = run(0.0, 0.0, &training);
    assert_eq!(plain, run(0.5, 0.5, &INFERENCE));
    assert_ne!(plain, run(0.5, 0.0, &training));
    assert_ne!(plain, run(0.0, 0.5, &training));
    assert_eq!(run(0.3, 0.3, &training), run(0.3, 0.3, &training));
    assert_ne!(run(0.3, 0.3, &training), run(0.3, 0.3, &Forward::training(0, 1)));
}

/// The bits of the parameters after five training steps of an encoder layer with dropout.
fn train_bits() -> Vec<Vec<u32>> {
    let store = Store::new(5);
    let config = LayerConfig { hidden: 96, heads: 4, intermediate: 192, ..small() };
    let layer = EncoderLayer::new(&store.root(), &config).unwrap();
    let groups = param_groups(&store.parameters(), 1e-3, None, |_| false, 0.01);
    let mut optimizer = AdamW::with_groups(groups).unwrap();
    let x = Var::constant(Tensor::randn(&[300, 96], DType::F32, RngKey::new(2)).unwrap());
    let offsets = Tensor::from_slice(&[0u32, 120, 130, 300], &[4]).unwrap();
    for step in 0..5 {
        let y = layer.forward(&x, &offsets, &Forward::training(7, step)).unwrap();
        let grads = y.square().unwrap().mul(&x).unwrap().mean_all().unwrap().backward().unwrap();
        drop(y);
        let clip = clip_grad_norm(&grads, &store.parameters(), 0.01).unwrap();
        optimizer.step_scaled(&grads, 1.0, Some(&clip.scale)).unwrap();
    }
    let bits = |p: gradus_nn::Parameter| {
        p.tensor().to_vec::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
    };
    store.parameters().into_iter().map(bits).collect()
}

#[test]
fn threads_do_not_matter() {
    let one = with_threads(1, train_bits);
    assert!(one == with_threads(2, train_bits), "1 and 2 threads differ");
    assert!(one == with_threads(3, train_bits), "1 and 3 threads differ");
}

#[test]
fn errors_name_the_path() {
    let store = Store::new(0);
    let path = &store.root() / "encoder" / "layer" / 3;
    let layer = EncoderLayer::new(&path, &small()).unwrap();
    let x = |shape: &[usize]| Var::constant(Tensor::zeros(shape, DType::F32).unwrap());
    let offsets = Tensor::from_slice(&[0u32, 4], &[2]).unwrap();
    let error = layer.forward(&x(&[4, 7]), &offsets, &INFERENCE).unwrap_err().to_string();
    assert!(error.starts_with("encoder.layer.3.attention.self.query: [linear_cat]"), "{error}");
    let error = layer.forward(&x(&[5, 8]), &offsets, &INFERENCE).unwrap_err().to_string();
    assert!(error.starts_with("encoder.layer.3.attention.self: [attention]"), "{error}");
    let config = LayerConfig { heads: 3, ..small() };
    let error = EncoderLayer::new(&path, &config).err().unwrap().to_string();
    assert!(error.starts_with("encoder.layer.3.attention: ") && error.contains('8'), "{error}");
    let table = Embedding::new(&(&path / "table"), 3, 2, Init::Zeros).unwrap();
    let error = table.forward(&Tensor::from_slice(&[3u32], &[1]).unwrap()).unwrap_err().to_string();
    assert!(error.starts_with("encoder.layer.3.table: [embedding]"), "{error}");
}

#[test]
fn a_model_can_be_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<EncoderLayer>();
    shared::<Store>();
    shared::<Path>();
}
