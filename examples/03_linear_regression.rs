//! Linear regression: the smallest training loop.
//!
//! The data is y = x·w + b with noise; gradient descent on the mean squared error recovers w and b.
//!
//! `cargo run --release --example 03_linear_regression`

use gradus::prelude::*;

fn main() -> Result<()> {
    let key = RngKey::new(7);
    let truth = Tensor::from_slice(&[2f32, -3.0, 0.5], &[3, 1])?;
    let x = Tensor::randn(&[200, 3], DType::F32, key.place("x"))?;
    let noise = Tensor::randn(&[200, 1], DType::F32, key.place("noise"))?.mul_scalar(0.1)?;
    let y = ((x.matmul(&truth)? + 4.0)? + noise)?;
    let (x, y) = (Var::constant(x), Var::constant(y));

    // A layer creates its parameters in a store: "regression.weight" and "regression.bias".
    let store = Store::new(0);
    let layer = Linear::new(&store.root().join("regression"), 3, 1, Init::Zeros)?;
    let mut optimizer = Sgd::new(store.parameters(), 0.1)?.momentum(0.9)?;

    for step in 0..=100 {
        let loss = losses::mse(&layer.forward(&x)?, &y, Reduction::Mean)?;
        if step % 20 == 0 {
            println!("step {step:3}: loss {:.5}", loss.item()?);
        }
        optimizer.step(&loss.backward()?)?;
    }
    for parameter in store.parameters() {
        println!("{} = {}", parameter.name(), parameter.tensor());
    }
    let weight = store.get("regression.weight").expect("made above").tensor();
    let error = (weight.t()? - truth)?.abs()?.max(&[], false)?.item()?;
    assert!(error < 0.05, "the weights should be found again, they are off by {error}");
    Ok(())
}
