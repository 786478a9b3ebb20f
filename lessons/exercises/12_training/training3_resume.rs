// Chapter 12, training. Exercise 3: to go on as if nothing had happened.
//
// A run of days will be interrupted. A run that is resumed exactly gives the same bits as one that
// never stopped, so a stop costs nothing and hides nothing. What does the next step depend on?
//
// - the weights;
// - the optimiser's state: Adam's two moments of each weight, and the number of its steps, which the
//   bias correction needs;
// - the number of the step: here dropout draws from it, elsewhere the schedule and the order of the
//   examples do.
//
// No generator of random numbers is on the list: in Gradus a random number is a function of seed,
// step and place, and nothing is hidden in a state.
//
// Read: models/src/training/state.rs; nn/src/optim/mod.rs, `state` and `load_state`.

use std::collections::HashMap;
use std::path::Path;

use check::training::{Batch, Network, points};
use gradus::prelude::*;
use gradus::tensor::io::safetensors::{SafeTensors, save};

/// A run: a network, its optimiser, and the steps done.
struct Run {
    network: Network,
    optimizer: AdamW,
    step: u64,
}

impl Run {
    fn new() -> Result<Run> {
        let network = Network::new(0)?;
        let optimizer = AdamW::new(network.store.parameters(), 0.02)?;
        Ok(Run { network, optimizer, step: 0 })
    }

    /// The next step, on the batch whose turn it is. Returns the loss.
    fn next(&mut self, data: &[Batch]) -> Result<f64> {
        let batch = &data[self.step as usize % data.len()];
        let logits = self.network.forward(&batch.x, &Forward::training(5, self.step))?;
        let loss = losses::cross_entropy(&logits, &batch.labels, &CrossEntropy::default())?;
        self.optimizer.step(&loss.backward()?)?;
        self.step += 1;
        loss.item()
    }

    /// Writes everything that the next step depends on into one file.
    fn write(&self, path: &Path) -> Result<()> {
        let mut tensors: Vec<(String, Tensor)> = Vec::new();
        // TODO: the parameters (`network.store.parameters()`: `name()`, `tensor()`), the optimiser's
        // state (`optimizer.state()?`, a list of names and tensors), and the step, a tensor of one
        // number. Put something before the names, so that they cannot be mixed up.
        todo!("everything that the next step depends on");
        save(path, tensors, None)
    }

    /// A run that goes on from a file.
    fn read(path: &Path) -> Result<Run> {
        let file = SafeTensors::open(path)?;
        let mut run = Run::new()?;
        // TODO: give each parameter its tensor (`set`), the optimiser its state (`load_state` takes a
        // `HashMap<String, Tensor>`), and the run its step. `file.names()` lists what is there.
        todo!("put everything back")
    }
}

fn main() -> Result<()> {
    let (data, path) = (points(4, 16)?, std::env::temp_dir().join("gradus-lesson.safetensors"));
    let mut run = Run::new()?;
    for _ in 0..5 {
        println!("loss {:.4}", run.next(&data)?);
    }
    run.write(&path)?;
    println!("resumed: loss {:.4}", Run::read(&path)?.next(&data)?);
    println!("straight on: loss {:.4}", run.next(&data)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use check::training::same_weights;

    /// A run after five steps, and what was read back from its file.
    fn stopped_and_resumed() -> (Run, Run) {
        let data = points(3, 16).unwrap();
        let folder = check::training::folder();
        let path = folder.path().join("run.safetensors");
        let mut run = Run::new().unwrap();
        for _ in 0..5 {
            run.next(&data).unwrap();
        }
        run.write(&path).unwrap_or_else(|error| panic!("write: {error}"));
        let resumed = Run::read(&path).unwrap_or_else(|error| panic!("read: {error}"));
        (run, resumed)
    }

    #[test]
    fn the_weights_are_back() {
        let (run, resumed) = stopped_and_resumed();
        same_weights("a run of 5 steps", &resumed.network, &run.network);
    }

    #[test]
    fn the_state_of_the_optimizer_is_back() {
        let (run, resumed) = stopped_and_resumed();
        let of = |run: &Run| run.optimizer.state().unwrap();
        let names = |run: &Run| of(run).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        let input = "a run of 5 steps";
        check::same("the names in the optimiser's state", input, &names(&resumed), &names(&run));
        for ((name, yours), (_, expected)) in of(&resumed).iter().zip(of(&run)) {
            check::near(name, input, yours, &expected, 0.0);
        }
    }

    #[test]
    fn the_next_steps_have_the_same_bits() {
        let data = points(3, 16).unwrap();
        let (mut run, mut resumed) = stopped_and_resumed();
        for step in 6..12 {
            let (expected, yours) = (run.next(&data).unwrap(), resumed.next(&data).unwrap());
            let input = format!("stopped after 5 steps, step {step}");
            check::near("the loss", &input, &[yours][..], &[expected][..], 0.0);
            same_weights(&input, &resumed.network, &run.network);
        }
    }
}
