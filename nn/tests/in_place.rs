//! A step of an optimiser copies nothing. The test runs alone, because it reads the process's
//! memory.

use gradus_autograd::Var;
use gradus_nn::{AdamW, Optimizer, ParamGroup, Parameter, Sgd};
use gradus_tensor::{DType, Tensor, memory_use};

/// Elements of the parameter: 4 MiB.
const N: usize = 1 << 20;

fn train(p: &Parameter, optimizer: &mut dyn Optimizer) {
    let direction = Var::constant(Tensor::ones(&[N], DType::F32).unwrap());
    for _ in 0..3 {
        let loss = p.var().mul(&direction).unwrap().sum_all().unwrap();
        let grads = loss.backward().unwrap();
        optimizer.step(&grads).unwrap();
    }
}

#[test]
fn a_step_is_in_place() {
    let p = Parameter::new("w", Tensor::ones(&[N], DType::F32).unwrap()).unwrap();
    let group = || vec![ParamGroup::new([&p], 0.1)];
    // Value, direction, gradient, momentum; one more for small tensors.
    train(&p, &mut Sgd::with_groups(group()).unwrap().momentum(0.9).unwrap());
    assert!(memory_use().peak < 17 << 20, "{:?}", memory_use());
    // Value, direction, gradient, two moments.
    train(&p, &mut AdamW::with_groups(group()).unwrap());
    assert!(memory_use().peak < 21 << 20, "{:?}", memory_use());
}
