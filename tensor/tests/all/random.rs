//! Random tensors: their moments, and their streams.

use gradus_tensor::{DType, RngKey, Tensor};

#[test]
fn integers_take_every_value_of_their_range() {
    let x = Tensor::randint(5, 9, &[1000], RngKey::new(1)).unwrap().to_vec::<u32>().unwrap();
    for value in 5..9 {
        let count = x.iter().filter(|x| **x == value).count();
        assert!((180..320).contains(&count), "{value} occurs {count} times in 1000");
    }
    assert!(x.iter().all(|x| (5..9).contains(x)));
}

#[test]
fn moments_and_streams() {
    let key = RngKey::new(0).step(3).place("x");
    let x = Tensor::randn(&[100_001], DType::F64, key).unwrap().to_f64_vec();
    let mean = x.iter().sum::<f64>() / x.len() as f64;
    let var = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / x.len() as f64;
    assert!(mean.abs() < 0.02 && (var - 1.0).abs() < 0.03, "{mean} {var}");
    let u = Tensor::rand(&[100_001], DType::F32, key).unwrap().to_f64_vec();
    assert!((u.iter().sum::<f64>() / u.len() as f64 - 0.5).abs() < 0.005);
    assert!(u.iter().all(|&u| (0.0..1.0).contains(&u)));
    assert_ne!(key.word(0), RngKey::new(0).step(4).place("x").word(0));
    assert_ne!(key.word(0), RngKey::new(0).step(3).place("y").word(0));
    let mut order = key.permutation(1000);
    assert_ne!(order, (0..1000).collect::<Vec<_>>());
    order.sort_unstable();
    assert_eq!(order, (0..1000).collect::<Vec<_>>());
}
