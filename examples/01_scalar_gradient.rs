//! A gradient computed by hand and by the engine.
//!
//! z = x·y + sin x. By hand: ∂z/∂x = y + cos x and ∂z/∂y = x. The engine records the three
//! operations as they run, then walks them backwards with the chain rule.
//!
//! `cargo run --release --example 01_scalar_gradient`

use gradus::prelude::*;

fn main() -> Result<()> {
    let x = Var::leaf(Tensor::scalar(2f64));
    let y = Var::leaf(Tensor::scalar(5f64));

    let z = (&(&x * &y)? + &x.sin()?)?;
    let grads = z.backward()?;

    println!("z = x·y + sin x at x = 2, y = 5: {:.4}", z.item()?);
    let by_hand = [5.0 + 2f64.cos(), 2.0];
    for (name, var, hand) in [("x", &x, by_hand[0]), ("y", &y, by_hand[1])] {
        let engine = grads.get(var).expect("z depends on both").item()?;
        println!("∂z/∂{name}: by hand {hand:.6}, by the engine {engine:.6}");
        assert!((engine - hand).abs() < 1e-12);
    }

    // A trace shows the graph: what each operation took and made, and the gradient that came to it.
    let (_, trace) = trace(|| (&(&x * &y)? + &x.sin()?)?.backward())?;
    println!("\n{trace}");
    // The same as a page, which shows each formula with its numbers.
    let page = "target/01_scalar_gradient.html";
    std::fs::create_dir_all("target")
        .and_then(|()| std::fs::write(page, trace.to_html()))
        .expect("the folder target can be written");
    println!("open {page}\n");

    // With `create_graph` the gradient itself is recorded and can be differentiated again.
    let options = gradus::autograd::BackwardOptions { create_graph: true, ..Default::default() };
    let z = (&(&x * &y)? + &x.sin()?)?;
    let dx =
        grad(&[z], std::slice::from_ref(&x), None, options)?.remove(0).expect("z depends on x");
    let d2x = dx.backward()?.get(&x).expect("and so does ∂z/∂x").item()?;
    println!("∂²z/∂x²: by hand {:.6}, by the engine {d2x:.6}", -2f64.sin());
    assert!((d2x + 2f64.sin()).abs() < 1e-12);
    Ok(())
}
