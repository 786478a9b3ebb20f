//! Parameters, stores and paths.

use std::collections::HashMap;

use gradus_nn::{Init, Parameter, Source, Store};
use gradus_tensor::{DType, ErrorKind, Result, Tensor};

const NORMAL: Init = Init::Normal { std: 1.0 };

fn values(parameter: &Parameter) -> Vec<f32> {
    parameter.tensor().to_vec().unwrap()
}

#[test]
fn initialisation_depends_on_seed_and_name_alone() {
    let (a, b) = (Store::new(7), Store::new(7));
    let x = a.root().join("x").parameter("weight", &[3, 4], NORMAL).unwrap();
    let y = a.root().join("y").parameter("weight", &[3, 4], NORMAL).unwrap();
    let y2 = (&b.root() / "y").parameter("weight", &[3, 4], NORMAL).unwrap();
    let x2 = (&b.root() / "x").parameter("weight", &[3, 4], NORMAL).unwrap();
    assert_eq!(values(&x), values(&x2));
    assert_eq!(values(&y), values(&y2));
    assert_ne!(values(&x), values(&y));
    let other = Store::new(8).root().join("x").parameter("weight", &[3, 4], NORMAL).unwrap();
    assert_ne!(values(&x), values(&other));
    let names = |s: &Store| s.parameters().iter().map(|p| p.name().to_string()).collect::<Vec<_>>();
    assert_eq!(names(&a), ["x.weight", "y.weight"]);
    assert_eq!(names(&b), ["y.weight", "x.weight"]);
    assert!(a.missing().is_empty());
}

#[test]
fn paths() {
    let store = Store::new(0);
    let path = &store.root() / "encoder" / "layer" / 3;
    assert_eq!(path.name(), "encoder.layer.3");
    assert_eq!(path.join("output").name(), "encoder.layer.3.output");
    assert_eq!(store.root().name(), "");
    let parameter = path.parameter("bias", &[2], Init::Zeros).unwrap();
    assert_eq!(parameter.name(), "encoder.layer.3.bias");
    assert_eq!(store.get("encoder.layer.3.bias").unwrap().shape(), [2]);
    assert!(store.get("encoder.layer.3").is_none());
    assert_eq!(format!("{path:?}"), "Path(encoder.layer.3)");
}

#[test]
fn one_name_is_one_parameter() {
    let store = Store::new(0);
    let first = store.root().parameter("weight", &[2, 3], NORMAL).unwrap();
    let second = store.root().parameter("weight", &[2, 3], Init::Zeros).unwrap();
    first.set(Tensor::ones(&[2, 3], DType::F32).unwrap()).unwrap();
    assert_eq!(values(&second), [1.0; 6]);
    assert_eq!(store.parameters().len(), 1);
    let error = store.root().parameter("weight", &[3, 2], NORMAL).unwrap_err().to_string();
    assert!(error.contains("weight") && error.contains("[3, 2]") && error.contains("[2, 3]"));
}

struct Checkpoint(HashMap<&'static str, Tensor>);

impl Source for Checkpoint {
    fn tensor(&self, name: &str) -> Result<Option<Tensor>> {
        Ok(self.0.get(name).cloned())
    }
}

#[test]
fn a_checkpoint_gives_what_it_has() {
    let half = Tensor::from_slice(&[1f32, -2.5], &[2]).unwrap();
    let source = Checkpoint(HashMap::from([
        ("m.f16", half.to_dtype(DType::F16).unwrap()),
        ("m.bf16", half.to_dtype(DType::BF16).unwrap()),
        ("m.f64", half.to_dtype(DType::F64).unwrap()),
        ("m.f32", half.clone()),
        ("m.ids", half.to_dtype(DType::U32).unwrap()),
    ]));
    let store = Store::with_source(0, source);
    let path = store.root().join("m");
    for name in ["f16", "bf16", "f64", "f32"] {
        let parameter = path.parameter(name, &[2], NORMAL).unwrap();
        assert_eq!((parameter.dtype(), values(&parameter)), (DType::F32, vec![1.0, -2.5]));
    }
    path.parameter("head", &[2], NORMAL).unwrap();
    assert_eq!(store.missing(), ["m.head"]);
    let error = Store::with_source(0, Checkpoint(HashMap::from([("w", half)])))
        .root()
        .parameter("w", &[4, 2], NORMAL)
        .unwrap_err()
        .to_string();
    assert!(error.contains("w is [2]") && error.contains("[4, 2]"), "{error}");
    let error = path.parameter("ids", &[2], NORMAL).unwrap_err().to_string();
    assert!(error.contains("m.ids") && error.contains("u32"), "{error}");
    // The failure left no parameter behind.
    assert!(store.get("m.ids").is_none());
}

#[test]
fn updates_keep_the_identity_and_are_in_place() {
    let parameter = Parameter::new("w", Tensor::ones(&[3], DType::F32).unwrap()).unwrap();
    let before = parameter.var();
    let loss = before.square().unwrap().sum_all().unwrap();
    let other = parameter.clone();
    other.update(|t| t.mul_scalar_(2.0)).unwrap();
    assert_eq!(values(&parameter), [2.0; 3]);
    assert_eq!(before.tensor().to_vec::<f32>().unwrap(), [1.0; 3]); // who held it keeps it
    assert_eq!(parameter.var().id(), before.id());
    let grads = loss.backward().unwrap();
    assert_eq!(parameter.grad(&grads).unwrap().to_vec::<f32>().unwrap(), [2.0; 3]);

    drop((before, loss, grads));
    let held = parameter.tensor();
    assert!(parameter.update(|t| Ok(t.shares_storage(&held))).unwrap());

    let error = parameter.set(Tensor::ones(&[4], DType::F32).unwrap()).unwrap_err().to_string();
    assert!(error.contains("w is [3]") && error.contains("[4]"), "{error}");
    assert!(parameter.set(Tensor::ones(&[3], DType::F64).unwrap()).is_err());
    assert!(Parameter::new("ids", Tensor::ones(&[3], DType::U32).unwrap()).is_err());
}

#[test]
fn a_frozen_parameter_is_a_constant() {
    let parameter = Parameter::new("w", Tensor::ones(&[3], DType::F32).unwrap()).unwrap();
    let id = parameter.var().id();
    parameter.set_trainable(false);
    assert!(!parameter.trainable() && !parameter.var().requires_grad());
    assert!(parameter.var().sum_all().unwrap().backward().is_err());
    parameter.set_trainable(true);
    assert_eq!(parameter.var().id(), id);
}

#[test]
fn a_store_in_f64() {
    let store = Store::in_dtype(0, DType::F64);
    let parameter = store.root().parameter("w", &[2, 2], Init::XavierNormal).unwrap();
    assert_eq!(parameter.dtype(), DType::F64);
}

#[test]
fn a_value_that_does_not_fit_is_an_error_of_its_kind() {
    let w = Parameter::new("w", Tensor::zeros(&[2], DType::F32).unwrap()).unwrap();
    let kind =
        |shape: &[usize], dtype| w.set(Tensor::zeros(shape, dtype).unwrap()).unwrap_err().kind();
    assert_eq!(kind(&[3], DType::F32), ErrorKind::Shape);
    assert_eq!(kind(&[2], DType::F64), ErrorKind::DType);
    let y = w.var().mul_scalar(2.0).unwrap();
    let seeded = |shape: &[usize], dtype| {
        let seed = Tensor::zeros(shape, dtype).unwrap();
        y.backward_with(Some(seed), Default::default()).err().unwrap().kind()
    };
    assert_eq!(seeded(&[3], DType::F32), ErrorKind::Shape);
    assert_eq!(seeded(&[2], DType::F64), ErrorKind::DType);
}

#[test]
fn parameters_are_shown_by_name_and_shape() {
    let store = Store::new(0);
    let parameter = store.root().join("head").parameter("bias", &[2], Init::Zeros).unwrap();
    assert_eq!(format!("{parameter:?}"), "Parameter(head.bias [2] f32)");
    assert_eq!(format!("{store:?}"), "[Parameter(head.bias [2] f32)]");
}
