//! Linear regression: the smallest training loop.
//!
//! The data is y = x·w + b with noise; gradient descent on the mean squared error recovers w and b.
//!
//! `cargo run --release --example 03_linear_regression`

use gradus::autograd::trace::Page;
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

    // The first step and the last are traced, for a page that shows them side by side.
    let mut traced = Vec::new();
    for step in 0..=100 {
        let forward_and_back = || {
            let loss = losses::mse(&layer.forward(&x)?, &y, Reduction::Mean)?;
            Ok((loss.item()?, loss.backward()?))
        };
        let (loss, gradients) = if step % 100 == 0 {
            let (result, trace) = trace(forward_and_back)?;
            traced.push(trace);
            result
        } else {
            forward_and_back()?
        };
        if step % 20 == 0 {
            println!("step {step:3}: loss {loss:.5}");
        }
        optimizer.step(&gradients)?;
    }
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/target/03_linear_regression.html");
    let html = Page::new("Linear regression", &traced[0]).first("step 0", None);
    let html = html.step("step 100", &traced[1], None).to_html();
    std::fs::create_dir_all(concat!(env!("CARGO_MANIFEST_DIR"), "/target"))
        .and_then(|()| std::fs::write(page, html))
        .expect("the folder target can be written");
    println!("open {page}");
    for parameter in store.parameters() {
        println!("{} = {}", parameter.name(), parameter.tensor());
    }
    let weight = store.get("regression.weight").expect("made above").tensor();
    let error = (weight.t()? - truth)?.abs()?.max(&[], false)?.item()?;
    assert!(error < 0.05, "the weights should be found again, they are off by {error}");
    Ok(())
}
