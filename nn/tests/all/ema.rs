//! Moving averages of parameters, by hand.

use gradus_nn::{Ema, Parameter};
use gradus_tensor::Tensor;

fn value(parameter: &Parameter) -> f64 {
    parameter.tensor().item().unwrap()
}

#[test]
fn averages_follow_the_values() {
    let scalar = |x: f32| Tensor::scalar(x);
    let w = Parameter::new("w", scalar(8.0)).unwrap();
    let mut ema = Ema::new(std::slice::from_ref(&w), 0.75).unwrap();
    let average = |ema: &Ema| ema.state()[0].1.item().unwrap();
    let mut want = 8.0;
    for step in [4f32, -2.0, 16.0] {
        w.set(scalar(step)).unwrap();
        ema.update().unwrap();
        want = 0.75 * want + 0.25 * f64::from(step);
        assert_eq!((average(&ema), value(&w)), (want, f64::from(step)));
    }
    ema.swap().unwrap();
    assert_eq!((average(&ema), value(&w)), (16.0, want));
    ema.swap().unwrap();
    assert_eq!((average(&ema), value(&w)), (want, 16.0));
}

#[test]
fn a_decay_is_within_0_and_1() {
    for decay in [0.0, 1.0] {
        assert!(Ema::new(&[], decay).is_ok());
    }
    for decay in [-0.1, 1.1, f64::NAN] {
        let error = Ema::new(&[], decay).err().expect("refused").to_string();
        assert!(error.contains("[ema] the decay is"), "{error}");
    }
}
