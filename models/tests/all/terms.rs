//! A step of several batches: each is weighed by the terms of its loss.

use crate::common::plain;
use gradus_autograd::Var;
use gradus_models::Result;
use gradus_models::evaluation::Examiner;
use gradus_models::training::{Evaluation, Metric, Recipe, Task, Trainer};
use gradus_nn::{Forward, Init, Store};

/// Every example has some words, each with a number. The loss is the mean over the words of
/// `w·number`, so the gradient of `w` is the mean of the numbers.
pub struct Words {
    store: Store,
    lengths: Vec<usize>,
    numbers: Vec<Vec<f64>>,
}

impl Words {
    pub fn new(numbers: &[&[f64]]) -> (Words, Store) {
        let store = Store::new(0);
        store.root().parameter("w", &[1], Init::Ones).unwrap();
        let numbers: Vec<Vec<f64>> = numbers.iter().map(|numbers| numbers.to_vec()).collect();
        let lengths = numbers.iter().map(|numbers| numbers.len().max(1)).collect();
        (Words { store: store.clone(), lengths, numbers }, store)
    }
}

impl Task for Words {
    type Set = ();
    type Findings = ();

    fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    fn terms(&self, batch: &[usize]) -> f64 {
        batch.iter().map(|&i| self.numbers[i].len() as f64).sum()
    }

    fn loss(&self, batch: &[usize], _: &Forward) -> Result<Var> {
        let all: Vec<f64> = batch.iter().flat_map(|&i| self.numbers[i].clone()).collect();
        assert!(!all.is_empty(), "the loss of no words is not asked for");
        let mean = all.iter().sum::<f64>() / all.len() as f64;
        Ok(self.store.get("w").unwrap().var().mul_scalar(mean)?.sum_all()?)
    }

    fn is_head(&self, _: &str) -> bool {
        false
    }

    fn metrics(&self) -> &'static [Metric] {
        &[]
    }

    fn examine(&self, _: &(), _: &mut dyn Examiner) -> Result<(Evaluation, ())> {
        Ok((Evaluation::new(0, 0.0, []), ()))
    }
}

/// The loss of one step, and how far it moves the weight.
fn step(numbers: &[&[f64]], batch_size: usize, accumulate: usize) -> Result<(f64, f64)> {
    let (task, store) = Words::new(numbers);
    let recipe = Recipe { batch_size, accumulate, lr: 1.0, ..plain() };
    let step = Trainer::new(task, store.clone(), recipe)?.step()?.unwrap();
    Ok((step.loss.item()?, 1.0 - store.get("w").unwrap().tensor().item()?))
}

#[test]
fn small_batches_weigh_by_their_terms() {
    let words: [&[f64]; 4] = [&[4.0], &[1.0, 2.0, 3.0, 1.0, 1.0], &[7.0, 9.0], &[]];
    let mean = 28.0 / 8.0;
    for (batch_size, accumulate) in [(4, 1), (2, 2), (1, 4)] {
        let (loss, gradient) = step(&words, batch_size, accumulate).unwrap();
        let what = format!("{accumulate} batches of {batch_size}");
        assert!((loss - mean).abs() < 1e-6, "{what}: loss {loss}");
        assert!((gradient - mean).abs() < 1e-6, "{what}: gradient {gradient}");
    }
}

#[test]
fn a_step_without_terms_is_an_error() {
    let error = step(&[&[], &[]], 1, 2).unwrap_err().to_string();
    assert!(error.contains("nothing to learn") || error.contains("anything to learn"), "{error}");
}
