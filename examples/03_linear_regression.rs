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

    let loss = || losses::mse(&layer.forward(&x)?, &y, Reduction::Mean);

    let (_, first) = trace(|| loss()?.backward())?;
    for step in 0..=100 {
        let loss = loss()?;
        if step % 20 == 0 {
            println!("step {step:3}: loss {:.5}", loss.item()?);
        }
        optimizer.step(&loss.backward()?)?;
    }
    // A page that shows the first step and one after the last, side by side.
    let (_, last) = trace(|| loss()?.backward())?;
    let html = Page::new("Linear regression", &first).first("step 0", None);
    let html = html.step("step 101", &last, None).to_html();
    let page = "target/03_linear_regression.html";
    std::fs::create_dir_all("target")
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
