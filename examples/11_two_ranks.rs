//! Data-parallel training on two ranks, in plain code: the same bits as on one.
//!
//! A step has four micro-batches of eight points. One process computes all four; of two ranks each
//! computes two. What makes the bits equal is the order of the sum: a tree, ((0 + 1) + (2 + 3)), of
//! which a rank computes a whole branch. The ranks are threads here; over MPI they would be
//! processes, and the code would be the same. `models/src/training/ranks/` does this for any number
//! of ranks and micro-batches, and sends while backward still runs.
//!
//! `cargo run --release --example 11_two_ranks`

use std::ops::Range;

use gradus::models::Result;
use gradus::models::training::ranks::{Communicator, in_process};
use gradus::prelude::*;

const MICRO_BATCHES: usize = 4;
const POINTS: usize = 8;
const STEPS: u64 = 50;

fn main() -> Result<()> {
    let alone = train(None)?;
    let ranks: Vec<Vec<u32>> =
        in_process(2, |me| train(Some(&*me))).into_iter().collect::<Result<_>>()?;
    println!("{} weights after {STEPS} steps", alone.len());
    for (rank, weights) in ranks.iter().enumerate() {
        let equal = alone.iter().zip(weights).filter(|(a, b)| a == b).count();
        println!("rank {rank}: {equal} of {} have the bits of one process", alone.len());
        assert_eq!(&alone, weights);
    }
    Ok(())
}

/// A network of two layers, with dropout.
struct Network {
    first: Linear,
    second: Linear,
    dropout: Dropout,
}

impl Network {
    fn new(store: &Store) -> Result<Network> {
        let root = store.root();
        Ok(Network {
            first: Linear::new(&root.join("first"), 2, 16, Init::Normal { std: 0.5 })?,
            second: Linear::new(&root.join("second"), 16, 1, Init::Normal { std: 0.5 })?,
            dropout: Dropout::new(&root.join("dropout"), 0.1)?,
        })
    }

    fn forward(&self, x: &Var, forward: &Forward) -> Result<Var> {
        let hidden = self.dropout.forward(&self.first.forward(x)?.tanh()?, forward)?;
        Ok(self.second.forward(&hidden)?)
    }
}

/// Trains alone, or as one of two ranks. Returns the bits of the weights.
fn train(ranks: Option<&dyn Communicator>) -> Result<Vec<u32>> {
    // Every rank begins with the same weights: they follow from the seed.
    let store = Store::new(0);
    let network = Network::new(&store)?;
    let parameters = store.parameters();
    let mut optimizer = AdamW::new(&parameters, 1e-2)?;
    for step in 0..STEPS {
        let gradients = match ranks {
            None => branch(&network, step, 0..MICRO_BATCHES)?,
            Some(me) => shared(&network, &parameters, step, me)?,
        };
        // Everybody has the same sum, and so makes the same step.
        optimizer.step(&gradients)?;
    }
    let bits = |p: &Parameter| -> Result<Vec<u32>> {
        Ok(p.tensor().to_vec::<f32>()?.into_iter().map(f32::to_bits).collect())
    };
    Ok(parameters.iter().map(bits).collect::<Result<Vec<_>>>()?.concat())
}

/// The points of a micro-batch: they depend on its number in the run alone, whoever computes it.
fn points(number: u64) -> Result<(Var, Var)> {
    let x = Tensor::randn(&[POINTS, 2], DType::F32, RngKey::new(1).place("points").step(number))?;
    // The product of the two coordinates.
    let y = x.narrow(1, 0, 1)?.mul(&x.narrow(1, 1, 1)?)?;
    Ok((Var::constant(x), Var::constant(y)))
}

/// The gradients of one micro-batch, weighted so that their sum is the mean over the step.
fn leaf(network: &Network, step: u64, at: usize) -> Result<Gradients> {
    // Dropout is keyed by the number in the run too.
    let number = step * MICRO_BATCHES as u64 + at as u64;
    let (x, y) = points(number)?;
    let predicted = network.forward(&x, &Forward::training(0, number))?;
    let loss = losses::mse(&predicted, &y, Reduction::Mean)?;
    Ok(loss.mul_scalar(1.0 / MICRO_BATCHES as f64)?.backward()?)
}

/// The sum over a branch of the tree.
fn branch(network: &Network, step: u64, leaves: Range<usize>) -> Result<Gradients> {
    if leaves.len() == 1 {
        return leaf(network, step, leaves.start);
    }
    let middle = leaves.start + leaves.len() / 2;
    let mut sum = branch(network, step, leaves.start..middle)?;
    sum.accumulate(branch(network, step, middle..leaves.end)?)?;
    Ok(sum)
}

/// The sum over the whole step, of which this rank computes a half.
///
/// Each parameter has an owner. A rank sends the owner its own half of the gradient; the owner adds
/// the two halves, the left one first, and sends back the sum. So a gradient travels twice, and
/// each rank adds only its share of the parameters.
fn shared(
    network: &Network,
    parameters: &[Parameter],
    step: u64,
    me: &dyn Communicator,
) -> Result<Gradients> {
    let (rank, other) = (me.rank(), 1 - me.rank());
    let half = MICRO_BATCHES / 2;
    let own = branch(network, step, rank * half..(rank + 1) * half)?;
    let owner = |at: usize| at % 2;
    for (at, parameter) in parameters.iter().enumerate().filter(|(at, _)| owner(*at) == other) {
        me.send(other, at as u16, bytes(&own, parameter)?)?;
    }
    let mut total = Gradients::default();
    for (at, parameter) in parameters.iter().enumerate().filter(|(at, _)| owner(*at) == rank) {
        let theirs = numbers(&me.receive(other, at as u16)?);
        let mine = numbers(&bytes(&own, parameter)?);
        let (left, right) = if rank == 0 { (mine, theirs) } else { (theirs, mine) };
        let sum: Vec<f32> = left.iter().zip(right).map(|(a, b)| a + b).collect();
        total.insert(parameter.id(), Tensor::from_slice(&sum, parameter.shape())?);
        me.send(other, at as u16, bytes(&total, parameter)?)?;
    }
    for (at, parameter) in parameters.iter().enumerate().filter(|(at, _)| owner(*at) == other) {
        let sum = numbers(&me.receive(other, at as u16)?);
        total.insert(parameter.id(), Tensor::from_slice(&sum, parameter.shape())?);
    }
    Ok(total)
}

/// The gradient of a parameter as a message.
fn bytes(gradients: &Gradients, parameter: &Parameter) -> Result<Vec<u8>> {
    let gradient = parameter.grad(gradients).expect("every layer is used");
    Ok(gradient.to_vec::<f32>()?.into_iter().flat_map(f32::to_ne_bytes).collect())
}

fn numbers(message: &[u8]) -> Vec<f32> {
    message.as_chunks().0.iter().map(|bytes| f32::from_ne_bytes(*bytes)).collect()
}
