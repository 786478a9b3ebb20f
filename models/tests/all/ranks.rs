//! Several ranks give the bits of one process.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use gradus_autograd::{Var, checkpoint};
use gradus_models::evaluation::Examiner;
use gradus_models::training::ranks::{Communicator, RankOptions, Reduce, Tag, in_process};
use gradus_models::training::{Evaluation, Metric, OptimizerKind, Recipe, Task, Trainer};
use gradus_models::{Error, Result};
use gradus_nn::{Forward, Init, Store};
use gradus_tensor::io::safetensors::SafeTensors;
use proptest::prelude::*;

use crate::common::{plain, trainer};
use crate::{embed, tasks, terms};

/// Small buckets: many, with large gradients in several and small ones together.
const SMALL: RankOptions =
    RankOptions { reduce: Reduce::Exact, shard_optimizer: false, bucket: 700, timeline: None };

/// The bits of everything that a step changes and tells: the loss, the norm and the weights.
fn bits<T: Task>(trainer: &mut Trainer<T>) -> Result<Vec<u32>> {
    let mut bits = Vec::new();
    while let Some(step) = trainer.step()? {
        bits.push((step.loss.item()? as f32).to_bits());
        bits.push((step.grad_norm.item()? as f32).to_bits());
    }
    let beside = trainer.task().beside().map(Store::parameters).unwrap_or_default();
    for parameter in trainer.store().parameters().iter().chain(&beside) {
        bits.extend(parameter.tensor().to_vec::<f32>()?.iter().map(|x| x.to_bits()));
    }
    Ok(bits)
}

/// The bits on each of some ranks.
fn on_ranks<T: Task>(
    ranks: usize,
    options: RankOptions,
    make: impl Fn() -> Trainer<T> + Sync,
) -> Vec<Result<Vec<u32>>> {
    in_process(ranks, |me: Arc<dyn Communicator>| {
        let mut trainer = make();
        trainer.set_ranks(me, options)?;
        bits(&mut trainer)
    })
}

/// Checks that 2, 3 and 4 ranks give the bits of one process.
fn same_bits<T: Task>(options: RankOptions, make: impl Fn() -> Trainer<T> + Sync) {
    let alone = bits(&mut make()).unwrap();
    for ranks in [2, 3, 4] {
        for (rank, found) in on_ranks(ranks, options, &make).into_iter().enumerate() {
            assert!(found.unwrap() == alone, "rank {rank} of {ranks} has other bits");
        }
    }
}

/// Five micro-batches of three of 23 texts: a step of five, then one of three with a short batch.
fn recipe() -> Recipe {
    Recipe { steps: Some(20), batch_size: 3, accumulate: 5, lr: 1e-3, ..Recipe::default() }
}

#[test]
fn classification_with_dropout() {
    same_bits(SMALL, || trainer(recipe(), 23, 0.2));
}

#[test]
fn frozen_parameters_averages_and_spikes() {
    let recipe = Recipe {
        freeze: vec!["embeddings".into(), "encoder.layer.0".into()],
        ema: Some(0.9),
        skip_spikes: Some(1.5),
        activation_checkpointing: true,
        ..recipe()
    };
    same_bits(RankOptions::default(), || trainer(recipe.clone(), 23, 0.2));
}

#[test]
fn a_sharded_optimizer() {
    let sharded = RankOptions { shard_optimizer: true, ..SMALL };
    same_bits(sharded, || trainer(recipe(), 23, 0.2));
    let fast = RankOptions { reduce: Reduce::Fast, ..sharded };
    let make = || trainer(Recipe { steps: Some(2), ..recipe() }, 23, 0.2);
    let [one, other] = on_ranks(2, fast, make).try_into().unwrap();
    assert!(one.unwrap() == other.unwrap(), "the ranks part");
}

/// The folder of a checkpoint is that of one process, and goes on on any number of ranks.
#[test]
fn checkpoints_of_shards_are_those_of_one_process() {
    let (_keep, destination) = crate::common::destination();
    let sharded = RankOptions { shard_optimizer: true, ..SMALL };
    let folder = tempfile::tempdir().unwrap();
    let save = |trainer: &Trainer<_>, name: &str| {
        let out = folder.path().join(name);
        trainer.save_checkpoint(&out, &destination.config, &destination.tokenizer)
    };
    let mut alone = trainer(recipe(), 23, 0.1);
    crate::common::run(&mut alone, 7);
    let whole = save(&alone, "alone").unwrap();
    let saved = in_process(3, |me| {
        let mut trainer = trainer(recipe(), 23, 0.1);
        trainer.set_ranks(me, sharded)?;
        crate::common::run(&mut trainer, 7);
        let (own, all) = trainer.optimizer_bytes();
        assert!(own < all / 2, "{own} of {all}");
        save(&trainer, "three")
    });
    let saved = saved.into_iter().map(Result::unwrap).next().unwrap();
    for file in ["optimizer.safetensors", "model.safetensors", "trainer_state.json"] {
        let [one, other] = [&whole, &saved].map(|at| std::fs::read(at.join(file)).unwrap());
        assert!(one == other, "{file}");
    }
    let rest = bits(&mut alone).unwrap();
    let weights = SafeTensors::open(saved.join("model.safetensors")).unwrap();
    let resumed = in_process(2, |me| {
        let mut trainer = trainer(recipe(), 23, 0.1);
        for parameter in trainer.store().parameters() {
            parameter.set(weights.tensor(parameter.name())?)?;
        }
        trainer.set_ranks(me, sharded)?;
        trainer.resume(&saved)?;
        bits(&mut trainer)
    });
    for resumed in resumed {
        assert!(resumed.unwrap() == rest);
    }
}

#[test]
fn masked_words_with_windows() {
    same_bits(SMALL, || {
        let store = Store::new(3);
        let task = tasks::masked_words(&store, true);
        let recipe = Recipe { batch_size: 1, accumulate: 4, ..recipe() };
        Trainer::new(task, store, recipe).unwrap()
    });
}

#[test]
fn embeddings_with_negatives_of_a_batch_and_of_a_step() {
    for cached in [false, true] {
        same_bits(SMALL, || {
            let pairs = embed::pairs(&embed::golden(), 1, false);
            let (task, store) = embed::task(pairs, Default::default(), cached, 0.1);
            let recipe = Recipe { batch_size: 3, accumulate: 4, ..recipe() };
            Trainer::new(task, store, recipe).unwrap()
        });
    }
}

#[test]
fn more_ranks_than_micro_batches_are_refused() {
    let make = || trainer(Recipe { accumulate: 2, ..recipe() }, 23, 0.0);
    for refused in on_ranks(3, RankOptions::default(), make) {
        let error = refused.unwrap_err().to_string();
        assert!(error.contains("accumulate is 2") && error.contains("3 ranks"), "{error}");
    }
}

#[test]
fn the_fast_reduction_differs_by_rounding_alone() {
    let recipe = Recipe { steps: Some(1), accumulate: 5, batch_size: 3, ..plain() };
    let make = || trainer(recipe.clone(), 23, 0.1);
    let alone = bits(&mut make()).unwrap();
    let fast = RankOptions { reduce: Reduce::Fast, ..SMALL };
    for found in on_ranks(3, fast, make) {
        let found = found.unwrap();
        let near = |(a, b): (&u32, &u32)| {
            let (a, b) = (f32::from_bits(*a), f32::from_bits(*b));
            (a - b).abs() <= 1e-6 * a.abs().max(1.0)
        };
        assert!(found.iter().zip(&alone).all(near));
    }
}

#[test]
fn a_rank_that_fails_ends_the_others() {
    let results = in_process(3, |me| {
        let own = me.rank();
        let mut trainer = trainer(recipe(), 23, 0.0);
        trainer.set_ranks(me.clone(), SMALL)?;
        for step in 0..5 {
            if own == 2 && step == 3 {
                me.fail("the disk is full");
                return Ok::<_, Error>(());
            }
            trainer.step()?;
        }
        Ok(())
    });
    for rank in [0, 1] {
        let error = results[rank].as_ref().unwrap_err().to_string();
        assert!(error.contains("rank 2: the disk is full"), "{error}");
    }
}

#[test]
fn only_rank_0_writes() {
    let folder = tempfile::tempdir().unwrap();
    let (_keep, destination) = crate::common::destination();
    let written = in_process(2, |me| {
        let out = folder.path().join(me.rank().to_string());
        let mut trainer = trainer(recipe(), 23, 0.0);
        trainer.set_ranks(me, SMALL)?;
        trainer.step()?;
        trainer.save_checkpoint(&out, &destination.config, &destination.tokenizer)?;
        Ok::<_, Error>(out.exists())
    });
    assert_eq!(written.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [true, false]);
}

/// Counts the messages of a rank.
struct Counted(Arc<dyn Communicator>, Arc<AtomicUsize>);

impl Communicator for Counted {
    fn rank(&self) -> usize {
        self.0.rank()
    }

    fn size(&self) -> usize {
        self.0.size()
    }

    fn send(&self, to: usize, tag: Tag, message: Vec<u8>) -> Result<()> {
        let sent = self.0.send(to, tag, message);
        self.1.fetch_add(1, Ordering::SeqCst);
        sent
    }

    fn receive(&self, from: usize, tag: Tag) -> Result<Vec<u8>> {
        self.0.receive(from, tag)
    }

    fn arrived(&self, from: usize, tag: Tag) -> Result<Option<(Vec<u8>, Instant)>> {
        self.0.arrived(from, tag)
    }

    fn fail(&self, message: &str) {
        self.0.fail(message);
    }
}

/// The loss is `late · f(early)`. Backward runs `f` again when it has the gradient of `late`, and
/// before it has that of `early`: `f` notes how many messages there were.
struct Watched {
    store: Store,
    sent: Arc<AtomicUsize>,
    seen: Arc<Mutex<Vec<usize>>>,
    /// Messages of another rank, of which the last pass awaits the first.
    awaited: Option<Arc<AtomicUsize>>,
}

impl Task for Watched {
    type Set = ();
    type Findings = ();

    fn lengths(&self) -> &[usize] {
        &[1; 4]
    }

    fn loss(&self, _: &[usize], _: &Forward) -> Result<Var> {
        let [early, late] = ["early", "late"].map(|name| self.store.get(name).unwrap().var());
        let (sent, seen, awaited) = (self.sent.clone(), self.seen.clone(), self.awaited.clone());
        let inner = checkpoint(move || {
            let mut seen = seen.lock().unwrap();
            seen.push(sent.load(Ordering::SeqCst));
            while seen.len() == 3
                && awaited.as_ref().is_some_and(|other| other.load(Ordering::SeqCst) == 0)
            {
                std::thread::yield_now();
            }
            early.square()
        })?;
        Ok(late.mul(&inner)?.sum_all()?)
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

#[test]
fn gradients_and_sums_are_sent_while_backward_still_runs() {
    let all: [Arc<AtomicUsize>; 2] = Default::default();
    let seen = in_process(2, |me| {
        let (sent, seen) = (all[me.rank()].clone(), Arc::new(Mutex::new(Vec::new())));
        let awaited = (me.rank() == 0).then(|| all[1].clone());
        let store = Store::new(0);
        for name in ["early", "late"] {
            store.root().parameter(name, &[8], Init::Ones).unwrap();
        }
        let (own, noted) = (sent.clone(), seen.clone());
        let task = Watched { store: store.clone(), sent: own, seen: noted, awaited };
        let recipe = Recipe { batch_size: 1, accumulate: 4, ..plain() };
        let mut trainer = Trainer::new(task, store, recipe).unwrap();
        // A bucket for each: that of `late`, the last parameter, belongs to rank 0.
        let options = RankOptions { bucket: 8, ..SMALL };
        trainer.set_ranks(Arc::new(Counted(me, sent)), options).unwrap();
        trainer.step().unwrap();
        seen.lock().unwrap().clone()
    });
    // Forward and backward of two micro-batches: nothing is sent before the last backward. In it
    // rank 1 sends its gradient of `late`, and rank 0, which has it by then, the sum.
    assert_eq!(seen, [[0, 0, 0, 1], [0, 0, 0, 1]]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..Default::default() })]

    /// Examples with 0 to 4 terms each, whose numbers have no short sum.
    #[test]
    fn any_batches_on_any_ranks(
        sizes in prop::collection::vec(0usize..5, 1..30),
        batch_size in 1usize..5,
        accumulate in 1usize..9,
        ranks in 1usize..6,
    ) {
        prop_assume!(ranks <= accumulate);
        let numbers: Vec<Vec<f64>> = sizes
            .iter()
            .enumerate()
            .map(|(i, n)| (0..*n).map(|j| 1.0 / (3 + 7 * i + j) as f64).collect())
            .collect();
        let make = || {
            let rows: Vec<&[f64]> = numbers.iter().map(Vec::as_slice).collect();
            let (task, store) = terms::Words::new(&rows);
            let optimizer = OptimizerKind::AdamW;
            let recipe = Recipe { steps: Some(4), batch_size, accumulate, optimizer, ..plain() };
            Trainer::new(task, store, recipe).unwrap()
        };
        let alone = bits(&mut make()).map_err(|e| e.to_string());
        for found in on_ranks(ranks, SMALL, make) {
            match (&alone, found) {
                (Ok(alone), Ok(found)) => prop_assert_eq!(alone, &found),
                // A step without terms is an error everywhere.
                (Err(_), Err(_)) => {}
                (alone, found) => prop_assert!(false, "{:?} and {:?}", alone, found),
            }
        }
    }
}
