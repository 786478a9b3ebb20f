//! Examples that are read window by window: the order, the epochs, and resuming inside a window.

use gradus_autograd::Var;
use gradus_models::data::{Corpus, WINDOW};
use gradus_models::evaluation::Examiner;
use gradus_models::masking::Masking;
use gradus_models::tasks::{Masked, MaskedLanguageModel};
use gradus_models::training::{Evaluation, Metric, Recipe, ScheduleKind, Task, Trainer};
use gradus_models::{EncoderConfig, MaskedLm, Result, Tokenizer};
use gradus_nn::{Forward, Init, Store};

/// Windows of 5, 3 and 4 examples. An example's number is 100·epoch + 10·window + its place.
struct Windows {
    store: Store,
    lengths: Vec<usize>,
    open: (u64, usize),
}

const SIZES: [usize; 3] = [5, 3, 4];

impl Windows {
    fn new(store: &Store) -> Windows {
        store.root().parameter("w", &[1], Init::Ones).unwrap();
        Windows { store: store.clone(), lengths: Vec::new(), open: (0, 0) }
    }

    fn number(&self, example: usize) -> f64 {
        (100 * self.open.0 as usize + 10 * self.open.1 + example) as f64
    }
}

impl Task for Windows {
    type Set = ();
    type Findings = ();

    fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    fn loss(&self, batch: &[usize], _: &Forward) -> Result<Var> {
        let mean = batch.iter().map(|&i| self.number(i)).sum::<f64>() / batch.len() as f64;
        Ok(self.store.get("w").unwrap().var().mul_scalar(mean / 1e3)?.sum_all()?)
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

    fn examples(&self) -> usize {
        SIZES.iter().sum()
    }

    fn windows(&self) -> usize {
        SIZES.len()
    }

    fn open_window(&mut self, epoch: u64, window: usize) -> Result<()> {
        (self.open, self.lengths) = ((epoch, window), vec![1; SIZES[window]]);
        Ok(())
    }
}

fn trainer() -> (Trainer<Windows>, Store) {
    let store = Store::new(0);
    let recipe = Recipe {
        epochs: 2,
        batch_size: 2,
        warmup: 0.0,
        schedule: ScheduleKind::Constant,
        ..Recipe::default()
    };
    (Trainer::new(Windows::new(&store), store.clone(), recipe).unwrap(), store)
}

#[test]
fn every_window_of_every_epoch_is_seen_whole() {
    let (mut trainer, _) = trainer();
    let (mut seen, mut epochs, mut ends) = (0, Vec::new(), Vec::new());
    for _ in 0..6 {
        let step = trainer.step().unwrap().unwrap();
        seen += step.examples;
        epochs.push(step.epoch);
        ends.push(step.ends_epoch);
    }
    // 5, 3 and 4 examples make 3, 2 and 2 batches of two; 12 examples are said to make 6 steps.
    assert_eq!(seen, 2 + 2 + 1 + 2 + 1 + 2);
    let third = 1.0 / 3.0;
    let truth =
        [third / 3.0, 2.0 * third / 3.0, third, third + third / 2.0, 2.0 * third, 2.5 * third];
    for (epoch, truth) in epochs.iter().zip(truth) {
        assert!((epoch - truth).abs() < 1e-12, "{epoch} and {truth}");
    }
    assert_eq!(ends, [false; 6]);
    let last = trainer.step().unwrap().unwrap();
    assert!(last.ends_epoch && last.epoch == 1.0);
}

#[test]
fn a_run_resumes_inside_a_window() {
    let tokenizer = Tokenizer::train_wordpiece(&["a b c"], 20).unwrap();
    let config = EncoderConfig::new(tokenizer.vocab_size(), 1, 4, 1, 4);
    let weight = |store: &Store| store.get("w").unwrap().tensor().to_vec::<f32>().unwrap()[0];
    let (mut whole, whole_store) = trainer();
    while whole.step().unwrap().is_some() {}
    for stop in 1..=12 {
        let folder = tempfile::tempdir().unwrap();
        let (mut first, first_store) = trainer();
        for _ in 0..stop {
            first.step().unwrap().unwrap();
        }
        let checkpoint = first.save_checkpoint(folder.path(), &config, &tokenizer).unwrap();
        let (mut second, second_store) = trainer();
        second_store.get("w").unwrap().set(first_store.get("w").unwrap().tensor()).unwrap();
        second.resume(&checkpoint).unwrap();
        while second.step().unwrap().is_some() {}
        assert_eq!(weight(&second_store).to_bits(), weight(&whole_store).to_bits(), "step {stop}");
    }
}

/// A task reads one window before its first step, and has the blocks of one in memory, however long
/// the text is.
#[test]
fn memory_does_not_grow_with_the_text() {
    let line = "the tiger sleeps in the forest of the night, and wakes\n";
    let tokenizer = Tokenizer::train_wordpiece(&[line], 60).unwrap();
    let of = |windows: usize| {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), line.repeat(windows * WINDOW as usize / line.len())).unwrap();
        let corpus = Corpus::open(file.path()).unwrap();
        assert_eq!(corpus.windows(), windows);
        let masking = Masking {
            vocab_size: tokenizer.vocab_size(),
            mask_id: tokenizer.mask_id().unwrap(),
            probability: 0.15,
            whole_words: false,
            seed: 0,
        };
        let config = EncoderConfig::new(tokenizer.vocab_size(), 1, 8, 2, 16);
        let model = MaskedLm::new(&Store::new(0).root(), &config).unwrap();
        let masked = Masked { tokenizer: tokenizer.clone(), max_length: 64, masking };
        let mut task = MaskedLanguageModel::new(model, corpus, masked).unwrap();
        let before = task.corpus().bytes_read();
        let mut held = Vec::new();
        for window in 0..windows {
            task.open_window(1, window).unwrap();
            held.push(task.lengths().iter().sum::<usize>());
        }
        let read = task.corpus().bytes_read();
        (before, read, held.into_iter().max().unwrap())
    };
    let (short, long) = (of(2), of(7));
    for (before, _, held) in [short, long] {
        assert!((WINDOW - 100..WINDOW + 100).contains(&before), "{before} bytes before a step");
        // A token is a byte of text at the least, and each block has two more.
        assert!(held < WINDOW as usize, "{held} tokens in memory");
    }
    assert!(long.2 < short.2 + 1000, "{} and {} tokens in memory", short.2, long.2);
    assert!(long.1 < 9 * WINDOW, "a window is read once: {} bytes", long.1);
}
