//! A small network on a curve: two layers learn sin x on [−π, π].
//!
//! `cargo run --release --example 04_curve`

use gradus::prelude::*;

struct Network {
    hidden: Linear,
    output: Linear,
}

impl Network {
    fn new(path: &Path) -> Result<Self> {
        Ok(Network {
            hidden: Linear::new(&path.join("hidden"), 1, 32, Init::XavierUniform)?,
            output: Linear::new(&path.join("output"), 32, 1, Init::XavierUniform)?,
        })
    }

    fn forward(&self, x: &Var) -> Result<Var> {
        self.output.forward(&Activation::Tanh.forward(&self.hidden.forward(x)?)?)
    }
}

fn main() -> Result<()> {
    let pi = std::f64::consts::PI;
    let x = Tensor::linspace(-pi, pi, 128, DType::F32)?.reshape(&[128, 1])?;
    let (x, y) = (Var::constant(x.clone()), Var::constant(x.sin()?));

    let store = Store::new(0);
    let network = Network::new(&store.root())?;
    let mut optimizer = AdamW::new(store.parameters(), 0.02)?;
    let mut last = f64::INFINITY;
    for step in 0..=1000 {
        let loss = losses::mse(&network.forward(&x)?, &y, Reduction::Mean)?;
        last = loss.item()?;
        if step % 200 == 0 {
            println!("step {step:4}: mean squared error {last:.6}");
        }
        optimizer.step(&loss.backward()?)?;
    }
    assert!(last < 1e-3, "the curve should be learnt");

    // The curve (·) and the network (o), drawn sideways.
    let learnt = no_grad(|| network.forward(&x))?.tensor().to_vec::<f32>()?;
    for i in (0..128).step_by(8) {
        let column = |v: f32| ((v + 1.1) * 25.0) as usize;
        let mut line = vec![' '; 58];
        line[column(y.tensor().to_vec::<f32>()?[i])] = '·';
        line[column(learnt[i]).min(57)] = 'o';
        println!("{}", line.into_iter().collect::<String>());
    }
    Ok(())
}
