// Chapter 12, training. Exercise 1: the loop.
//
// Training is four lines, again and again: the loss of a batch, its gradients, a step, next. Three
// things are easily forgotten:
//
// - In training dropout is on, with other random numbers in every step. `Forward::training(seed,
//   step)` says both. In evaluation it is off: `Forward::inference()`.
// - An evaluation records no graph: `no_grad(|| …)`. Otherwise it keeps every value for a backward
//   that never comes.
// - Gradients are a value that `backward` returns, so there is nothing to set to zero between steps.
//
// Read: lessons/check/src/training.rs, the network and its data; models/src/training/trainer.rs,
// `one_step`; examples/04_curve.rs.

use check::training::{Batch, Network, points};
use gradus::prelude::*;

const SEED: u64 = 5;

/// The mean loss of a batch.
fn loss(network: &Network, batch: &Batch, forward: &Forward) -> Result<Var> {
    let logits = network.forward(&batch.x, forward)?;
    losses::cross_entropy(&logits, &batch.labels, &CrossEntropy::default())
}

/// A step for each batch, the first of which is step number `first`. Returns the losses.
fn train(
    network: &Network,
    optimizer: &mut dyn Optimizer,
    batches: &[Batch],
    first: u64,
) -> Result<Vec<f64>> {
    let mut losses = Vec::new();
    for (step, batch) in (first..).zip(batches) {
        let loss = loss(network, batch, &Forward::training(SEED, step))?;
        optimizer.step(&loss.backward()?)?;
        losses.push(loss.item()?);
    }
    Ok(losses)
}

/// The share of examples whose larger logit is that of the label.
fn accuracy(network: &Network, batches: &[Batch]) -> Result<f64> {
    let (mut right, mut all) = (0, 0);
    for batch in batches {
        let logits = no_grad(|| network.forward(&batch.x, &Forward::inference()))?;
        let guesses = logits.tensor().argmax(-1, false)?.to_vec::<u32>()?;
        let labels = batch.labels.to_vec::<u32>()?;
        right += guesses.iter().zip(&labels).filter(|(guess, label)| guess == label).count();
        all += labels.len();
    }
    Ok(right as f64 / all as f64)
}

fn main() -> Result<()> {
    let (network, data) = (Network::new(0)?, points(20, 64)?);
    let (train_set, test_set) = data.split_at(16);
    let mut optimizer = AdamW::new(network.store.parameters(), 0.02)?;
    for epoch in 0..10 {
        let losses = train(&network, &mut optimizer, train_set, epoch * 16)?;
        let mean = losses.iter().sum::<f64>() / losses.len() as f64;
        let accuracy = accuracy(&network, test_set)?;
        println!("epoch {epoch}: mean loss {mean:.3}, accuracy {:.0}%", accuracy * 100.0);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use check::training::same_weights;

    /// A `Forward` in words.
    fn named(forward: &Forward) -> String {
        let step = (0..100).find(|&step| Forward::training(SEED, step).key == forward.key);
        match (forward.training, step) {
            (false, _) => "inference".to_string(),
            (true, Some(step)) => format!("training, step {step}"),
            (true, None) => "training, with another seed".to_string(),
        }
    }

    #[test]
    fn every_batch_is_a_step() {
        let (yours, engine, data) =
            (Network::new(1).unwrap(), Network::new(1).unwrap(), points(4, 8).unwrap());
        let mut optimizer = Sgd::new(yours.store.parameters(), 0.1).unwrap();
        let losses = train(&yours, &mut optimizer, &data, 10).unwrap();
        let mut reference = Sgd::new(engine.store.parameters(), 0.1).unwrap();
        let mut expected = Vec::new();
        for (step, batch) in (10..).zip(&data) {
            let loss = loss(&engine, batch, &Forward::training(SEED, step)).unwrap();
            reference.step(&loss.backward().unwrap()).unwrap();
            expected.push(loss.item().unwrap());
        }
        let wanted: Vec<String> = (10..14).map(|step| format!("training, step {step}")).collect();
        let calls: Vec<String> = yours.take_calls().iter().map(|c| named(&c.forward)).collect();
        check::same("how the network was called", "4 batches from step 10", &calls, &wanted);
        check::near("the losses", "4 batches from step 10", &losses, &expected, 1e-6);
        same_weights("after 4 steps", &yours, &engine);
    }

    #[test]
    fn an_evaluation_drops_nothing_and_records_nothing() {
        let (network, data) = (Network::new(1).unwrap(), points(2, 50).unwrap());
        accuracy(&network, &data).unwrap();
        for call in network.take_calls() {
            let how = named(&call.forward);
            assert!(how == "inference", "the evaluation ran with dropout: {how}");
            assert!(
                !call.recorded,
                "the evaluation recorded a graph; `no_grad` keeps it from that"
            );
        }
    }

    #[test]
    fn the_accuracy_is_a_share_of_all_examples() {
        let network = Network::new(1).unwrap();
        // Batches of different sizes: the mean of their accuracies would be something else.
        let data = [points(1, 50).unwrap(), points(3, 4).unwrap()].concat();
        let mut right = 0;
        for batch in &data {
            let logits = network.forward(&batch.x, &Forward::inference()).unwrap();
            let logits = logits.tensor().to_vec::<f32>().unwrap();
            let labels = batch.labels.to_vec::<u32>().unwrap();
            let is_right = |(pair, label): (&[f32], u32)| (pair[1] > pair[0]) == (label == 1);
            right += logits.chunks(2).zip(labels).filter(|&case| is_right(case)).count();
        }
        let yours = accuracy(&network, &data).unwrap();
        let input = "a batch of 50 examples, then three of 4";
        check::near("the accuracy", input, &[yours][..], &[right as f64 / 62.0][..], 1e-12);
    }

    #[test]
    fn it_learns() {
        let (network, data) = (Network::new(0).unwrap(), points(20, 64).unwrap());
        let mut optimizer = AdamW::new(network.store.parameters(), 0.02).unwrap();
        for epoch in 0..10 {
            train(&network, &mut optimizer, &data[..16], epoch * 16).unwrap();
        }
        let accuracy = accuracy(&network, &data[16..]).unwrap();
        assert!(
            accuracy > 0.9,
            "after 160 steps the accuracy is {accuracy:.2}, expected above 0.9"
        );
    }
}
