//! Steps that would spoil the weights are skipped, and batches that do not fit in memory are cut.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gradus_autograd::Var;
use gradus_models::evaluation::Examiner;
use gradus_models::training::{
    Ended, Evaluation, Event, Every, Metric, OptimizerKind, Recipe, Session, SessionOptions,
    StepNumbers, Task, Trainer,
};
use gradus_models::{Error, Result};
use gradus_nn::{Forward, Init, Store};
use gradus_tensor::ErrorKind;

use crate::common::{destination, plain};

/// The loss is `w` times the mean of the numbers of the batch's examples. A batch of more than
/// `room` tokens does not fit in memory.
struct Numbers {
    store: Store,
    numbers: Vec<f64>,
    lengths: Vec<usize>,
    room: usize,
    /// The batches whose loss was computed.
    seen: Arc<Mutex<Vec<Vec<usize>>>>,
    can_split: bool,
}

impl Numbers {
    fn new(numbers: &[f64]) -> Numbers {
        let store = Store::new(0);
        store.root().parameter("w", &[1], Init::Ones).unwrap();
        Numbers {
            store,
            numbers: numbers.to_vec(),
            lengths: vec![2; numbers.len()],
            room: usize::MAX,
            seen: Arc::default(),
            can_split: true,
        }
    }

    fn trainer(self, recipe: Recipe) -> Trainer<Numbers> {
        let store = self.store.clone();
        Trainer::new(self, store, recipe).unwrap()
    }
}

impl Task for Numbers {
    type Set = ();
    type Findings = ();

    fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    fn loss(&self, batch: &[usize], _: &Forward) -> Result<Var> {
        if batch.iter().map(|&i| self.lengths[i]).sum::<usize>() > self.room {
            let error = gradus_tensor::Error::of(ErrorKind::OutOfMemory, "loss", "out of memory");
            return Err(error.into());
        }
        self.seen.lock().unwrap().push(batch.to_vec());
        let mean = batch.iter().map(|&i| self.numbers[i]).sum::<f64>() / batch.len() as f64;
        Ok(self.store.get("w").unwrap().var().mul_scalar(mean)?.sum_all()?)
    }

    fn can_split(&self) -> bool {
        self.can_split
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

/// One example a step, at a constant rate: nothing decays, nothing is clipped.
fn recipe(steps: u64) -> Recipe {
    Recipe {
        steps: Some(steps),
        batch_size: 1,
        lr: 1e-3,
        optimizer: OptimizerKind::Adam,
        ..plain()
    }
}

/// The numbers of all steps of a run, and how it ended.
fn run(task: Numbers, recipe: Recipe) -> (Vec<StepNumbers>, Vec<usize>, Result<Ended>) {
    let (dir, destination) = destination();
    let trainer = task.trainer(recipe);
    let options = SessionOptions { max_skipped: 3, ..SessionOptions::default() };
    let mut session = Session { trainer, dev: None, test: None, destination, options };
    let (mut steps, mut cuts) = (Vec::new(), Vec::new());
    let ended = session.run(&AtomicBool::new(false), &mut |event| -> Result<()> {
        match event {
            Event::Step(step) => steps.push(step.clone()),
            Event::Cut { tokens, .. } => cuts.push(tokens),
            _ => {}
        }
        Ok(())
    });
    drop(dir);
    (steps, cuts, ended)
}

fn skipped(steps: &[StepNumbers]) -> Vec<bool> {
    steps.iter().map(|step| step.skipped).collect()
}

/// The weight after a run over the numbers, one a step.
fn weight_after(numbers: &[f64]) -> f64 {
    let task = Numbers::new(numbers);
    let store = task.store.clone();
    let mut trainer = task.trainer(recipe(numbers.len() as u64));
    while trainer.step().unwrap().is_some() {}
    store.get("w").unwrap().tensor().item().unwrap()
}

/// The order of the epochs is the seed's; two runs over as many examples have the same.
#[test]
fn a_step_that_is_not_finite_leaves_no_trace() {
    for poison in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let mut numbers = [3.0; 8];
        numbers[5] = poison;
        let (steps, _, ended) = run(Numbers::new(&numbers), recipe(8));
        assert!(matches!(ended, Ok(Ended::Finished(_))));
        assert_eq!(skipped(&steps).iter().filter(|s| **s).count(), 1, "{poison}");
        assert_eq!(steps.last().unwrap().skipped_steps, 1);
        // Adam's moments and its count of steps know nothing of it: seven equal steps are left.
        assert_eq!(weight_after(&numbers), weight_after(&[3.0; 7]), "{poison}");
    }
}

#[test]
fn too_many_skipped_steps_in_a_row_end_the_run() {
    let (steps, _, ended) = run(Numbers::new(&[f64::NAN; 8]), recipe(8));
    assert_eq!(steps.len(), 3);
    let Err(Error::Diverged { step: 3, in_row: 3, loss, .. }) = ended else { panic!() };
    assert!(loss.is_nan());
}

#[test]
fn steps_skipped_here_and_there_do_not_end_it() {
    let numbers: Vec<f64> = (0..40).map(|i| if i % 5 == 0 { f64::NAN } else { 1.0 }).collect();
    let (steps, _, ended) = run(Numbers::new(&numbers), Recipe { seed: 1, ..recipe(40) });
    assert!(matches!(ended, Ok(Ended::Finished(_))), "{:?}", skipped(&steps));
    assert_eq!(steps.last().unwrap().skipped_steps, 8);
}

#[test]
fn a_spike_is_skipped_once_the_usual_norm_is_known() {
    let numbers = |spike| [vec![2.0; 39], vec![spike]].concat();
    let spikes = |spike| Recipe { skip_spikes: Some(spike), ..recipe(40) };
    // The seeds differ in when the spike comes: in the first 20 steps nothing is a spike yet.
    for seed in 0..6 {
        let (steps, ..) = run(Numbers::new(&numbers(21.0)), Recipe { seed, ..spikes(10.0) });
        let at = steps.iter().position(|step| step.grad_norm > 20.0).unwrap();
        assert_eq!(steps[at].skipped, at >= 20, "seed {seed}, step {}", at + 1);
        assert_eq!(steps.iter().filter(|step| step.skipped).count(), (at >= 20) as usize);
        // Without the flag, and below the factor, nothing is skipped.
        let (steps, ..) = run(Numbers::new(&numbers(21.0)), Recipe { seed, ..recipe(40) });
        assert!(!skipped(&steps).contains(&true));
        let (steps, ..) = run(Numbers::new(&numbers(19.0)), Recipe { seed, ..spikes(10.0) });
        assert!(!skipped(&steps).contains(&true));
    }
    let refused = spikes(1.0).validate().unwrap_err().to_string();
    assert!(refused.contains("skip_spikes is 1; it must be above 1"), "{refused}");
}

#[test]
fn a_batch_that_does_not_fit_is_cut_and_the_step_stays_the_same() {
    let numbers: Vec<f64> = (0..16).map(f64::from).collect();
    let step_of_16 = || Recipe { batch_size: 16, ..recipe(4) };
    let (whole, no_cuts, _) = run(Numbers::new(&numbers), step_of_16());
    assert!(no_cuts.is_empty());
    let task = Numbers { room: 8, ..Numbers::new(&numbers) };
    let seen = Arc::clone(&task.seen);
    let (cut, cuts, ended) = run(task, step_of_16());
    assert!(matches!(ended, Ok(Ended::Finished(_))));
    // 32 tokens do not fit, nor 16; later steps are cut from the start.
    assert_eq!(cuts, [8]);
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 4 * 4);
    assert!(seen.iter().all(|batch| batch.len() == 4));
    for (whole, cut) in whole.iter().zip(&cut) {
        assert!((whole.loss - cut.loss).abs() < 1e-5, "{} and {}", whole.loss, cut.loss);
        assert!((whole.grad_norm - cut.grad_norm).abs() < 1e-5);
        assert_eq!((whole.examples, whole.tokens), (cut.examples, cut.tokens));
    }
}

#[test]
fn checkpoints_come_by_time() {
    let saved = |save_every| {
        let (dir, destination) = destination();
        let trainer = Numbers::new(&[1.0; 4]).trainer(recipe(4));
        let options = SessionOptions { save_every, keep: 9, ..SessionOptions::default() };
        let mut session = Session { trainer, dev: None, test: None, destination, options };
        let mut saved = 0;
        let ended = session.run(&AtomicBool::new(false), &mut |event| -> Result<()> {
            saved += usize::from(matches!(event, Event::Saved(_)));
            Ok(())
        });
        assert!(matches!(ended, Ok(Ended::Finished(_))));
        drop(dir);
        saved
    };
    // The checkpoint at the end is no event.
    assert_eq!(saved(Some(Every::Time(Duration::ZERO))), 3);
    assert_eq!(saved(Some(Every::Time(Duration::from_secs(3600)))), 0);
    assert_eq!(saved(Some(Every::Steps(2))), 1);
}

#[test]
fn what_cannot_be_cut_ends_the_run() {
    let numbers = [1.0; 4];
    let batch_of_4 = || Recipe { batch_size: 4, ..recipe(4) };
    for task in [
        Numbers { room: 1, ..Numbers::new(&numbers) },
        Numbers { room: 4, can_split: false, ..Numbers::new(&numbers) },
    ] {
        let (_, _, ended) = run(task, batch_of_4());
        let Err(Error::Tensor(error)) = ended else { panic!() };
        assert_eq!(error.kind(), ErrorKind::OutOfMemory);
    }
}
