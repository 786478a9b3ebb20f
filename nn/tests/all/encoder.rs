//! The encoder layer against its formula, which is written out here in single operations, in f64.
//! The tests cover the place and rate of every dropout, sequences longer than attention's blocks,
//! and the gradients of all parameters.

use gradus_autograd::ops::attention::attention_composed;
use gradus_autograd::{Gradients, Var};
use gradus_nn::{Activation, EncoderLayer, Forward, LayerConfig, Store};
use gradus_tensor::ops::attention::Attention;
use gradus_tensor::{DType, Result, RngKey, Tensor};

const OFFSETS: [u32; 5] = [0, 70, 71, 71, 200];
const WIDTH: usize = 12;
const HEADS: usize = 3;
const EPS: f64 = 1e-3;

fn config(activation: Activation, dropout: f64, attention_dropout: f64) -> LayerConfig {
    LayerConfig {
        hidden: WIDTH,
        heads: HEADS,
        intermediate: 20,
        activation,
        dropout,
        attention_dropout,
        layer_norm_eps: EPS,
        init_std: 0.3,
        ..LayerConfig::default()
    }
}

/// A store in which no parameter consists only of zeros or only of ones.
fn store() -> Store {
    Store::in_dtype(3, DType::F64)
}

fn shake(store: &Store) {
    for parameter in store.parameters() {
        let noise =
            Tensor::randn(parameter.shape(), DType::F64, RngKey::new(9).place(parameter.name()));
        let noise = noise.unwrap().mul_scalar(0.2).unwrap();
        parameter.set(parameter.tensor().add(&noise).unwrap()).unwrap();
    }
}

/// The layer, written as its formula.
struct Formula<'a> {
    store: &'a Store,
    config: &'a LayerConfig,
    forward: Forward,
}

impl Formula<'_> {
    fn parameter(&self, name: &str) -> Var {
        self.store.get(name).unwrap_or_else(|| panic!("no {name}")).var()
    }

    fn linear(&self, x: &Var, name: &str) -> Result<Var> {
        let weight = self.parameter(&format!("{name}.weight"));
        x.matmul(&weight.t()?)?.add(&self.parameter(&format!("{name}.bias")))
    }

    fn norm(&self, x: &Var, name: &str) -> Result<Var> {
        let centred = x.sub(&x.mean(&[-1], true)?)?;
        let variance = centred.square()?.mean(&[-1], true)?;
        let unit = centred.div(&variance.add_scalar(self.config.layer_norm_eps)?.sqrt()?)?;
        unit.mul(&self.parameter(&format!("{name}.weight")))?
            .add(&self.parameter(&format!("{name}.bias")))
    }

    fn dropped(&self, x: &Var, place: &str) -> Result<Var> {
        match self.forward.training {
            true => x.dropout(self.config.dropout, self.forward.key.place(place)),
            false => Ok(x.clone()),
        }
    }

    fn run(&self, x: &Var) -> Result<Var> {
        let at = |name: &str| format!("layer.attention.{name}");
        let [q, k, v] =
            ["query", "key", "value"].map(|n| self.linear(x, &at(&format!("self.{n}"))));
        let key = self.forward.key.place(&at("self"));
        let rate = self.config.attention_dropout;
        let options = Attention {
            heads: HEADS,
            scale: 1.0 / ((WIDTH / HEADS) as f64).sqrt(),
            dropout: (self.forward.training && rate > 0.0).then_some((rate, key)),
            ..Default::default()
        };
        let offsets = Tensor::from_slice(&OFFSETS, &[OFFSETS.len()])?;
        let context = attention_composed([&q?, &k?, &v?], None, &offsets, &options)?;
        let y = self.dropped(&self.linear(&context, &at("output.dense"))?, &at("output"))?;
        let attended = self.norm(&y.add(x)?, &at("output.LayerNorm"))?;
        let between = self.linear(&attended, "layer.intermediate.dense")?;
        let between = self.config.activation.forward(&between)?;
        let y = self.dropped(&self.linear(&between, "layer.output.dense")?, "layer.output")?;
        self.norm(&y.add(&attended)?, "layer.output.LayerNorm")
    }
}

fn assert_near(what: &str, ours: &Tensor, truth: &Tensor) {
    let (ours, truth) = (ours.to_f64_vec(), truth.to_f64_vec());
    let largest = truth.iter().fold(1f64, |m, x| m.max(x.abs()));
    let near = ours.iter().zip(&truth).all(|(a, b)| (a - b).abs() <= 1e-10 * largest);
    assert!(near && ours.len() == truth.len(), "{what}");
}

#[test]
fn an_encoder_layer_is_its_formula() {
    let training = Forward::training(7, 11);
    let cases = [
        (Activation::Gelu, 0.0, 0.0, training),
        (Activation::Gelu, 0.3, 0.0, training),
        (Activation::Relu, 0.0, 0.4, training),
        (Activation::GeluTanh, 0.2, 0.4, training),
        (Activation::Silu, 0.2, 0.4, Forward::inference()),
        (Activation::Tanh, 0.5, 0.1, training),
    ];
    for (activation, dropout, attention_dropout, forward) in cases {
        let config = config(activation, dropout, attention_dropout);
        let store = store();
        let layer = EncoderLayer::new(&(&store.root() / "layer"), &config).unwrap();
        shake(&store);
        let x = Var::leaf(Tensor::randn(&[200, WIDTH], DType::F64, RngKey::new(1)).unwrap());
        let offsets = Tensor::from_slice(&OFFSETS, &[OFFSETS.len()]).unwrap();
        let ours = layer.forward(&x, &offsets, &forward).unwrap();
        let truth = Formula { store: &store, config: &config, forward }.run(&x).unwrap();
        let what = format!("{activation:?}, {dropout}, {attention_dropout}, {forward:?}");
        assert_near(&what, ours.tensor(), truth.tensor());
        let weights = Tensor::randn(&[200, WIDTH], DType::F64, RngKey::new(2)).unwrap();
        let gradients = |y: &Var| -> Gradients {
            y.mul(&Var::constant(weights.clone())).unwrap().sum_all().unwrap().backward().unwrap()
        };
        let (ours, truth) = (gradients(&ours), gradients(&truth));
        assert_near(&what, ours.get(&x).unwrap(), truth.get(&x).unwrap());
        for parameter in store.parameters() {
            let [ours, truth] = [&ours, &truth].map(|g| parameter.grad(g).unwrap());
            assert_near(&format!("{what}: {}", parameter.name()), ours, truth);
        }
    }
}
