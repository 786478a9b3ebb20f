//! A hundred steps of a masked language model on Shakespeare beside PyTorch: the same weights, batches
//! and masks. `models/tests/golden/shakespeare.py` makes the values.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use gradus_autograd::Var;
use gradus_models::data::Corpus;
use gradus_models::evaluation::{Evaluation, Examiner, Metric};
use gradus_models::masking::{MaskedTokens, Masking};
use gradus_models::tasks::{Guess, Masked, MaskedLanguageModel};
use gradus_models::training::{Recipe, Task, Trainer};
use gradus_models::{EncoderConfig, MaskedLm, Result, Tokenizer};
use gradus_nn::{Forward, Store};
use gradus_tensor::Tensor;
use gradus_tensor::io::safetensors::{self, SafeTensors};

const STEPS: u64 = 100;
const LENGTH: usize = 48;
/// The label of a token that is not masked.
const NONE: u8 = 255;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/shakespeare").join(name)
}

/// A task that keeps its batches.
struct Recorded {
    task: MaskedLanguageModel,
    batches: Mutex<Vec<Vec<MaskedTokens>>>,
}

impl Task for Recorded {
    type Set = Vec<MaskedTokens>;
    type Findings = Vec<Guess>;

    fn lengths(&self) -> &[usize] {
        self.task.lengths()
    }

    fn terms(&self, batch: &[usize]) -> f64 {
        self.task.terms(batch)
    }

    fn loss(&self, batch: &[usize], forward: &Forward) -> Result<Var> {
        let blocks = batch.iter().map(|&i| self.task.masked()[i].clone()).collect();
        self.batches.lock().unwrap().push(blocks);
        self.task.loss(batch, forward)
    }

    fn is_head(&self, name: &str) -> bool {
        self.task.is_head(name)
    }

    fn metrics(&self) -> &'static [Metric] {
        self.task.metrics()
    }

    fn examine(
        &self,
        set: &Self::Set,
        examiner: &mut dyn Examiner,
    ) -> Result<(Evaluation, Vec<Guess>)> {
        self.task.examine(set, examiner)
    }

    fn open_window(&mut self, epoch: u64, window: usize) -> Result<()> {
        self.task.open_window(epoch, window)
    }
}

fn trainer() -> Trainer<Recorded> {
    let text = std::fs::read_to_string(file("text.txt")).unwrap();
    let tokenizer = Tokenizer::train_wordpiece(&[&text], 200).unwrap();
    let vocab_size = tokenizer.vocab_size();
    assert_eq!(vocab_size, 200);
    let mut config = EncoderConfig::new(vocab_size, 2, 32, 2, 64);
    config.max_position_embeddings = LENGTH;
    config.hidden_dropout_prob = 0.0;
    config.attention_probs_dropout_prob = 0.0;
    let mask_id = tokenizer.mask_id().unwrap();
    let masking = Masking { vocab_size, mask_id, probability: 0.15, whole_words: false, seed: 0 };
    let store = Store::new(0);
    let model = MaskedLm::new(&store.root(), &config).unwrap();
    let masked = Masked { tokenizer, max_length: LENGTH, masking };
    let task = MaskedLanguageModel::new(model, Corpus::open(file("text.txt")).unwrap(), masked);
    let task = Recorded { task: task.unwrap(), batches: Mutex::default() };
    let recipe = Recipe { steps: Some(STEPS), batch_size: 8, lr: 2e-3, ..Recipe::default() };
    Trainer::new(task, store, recipe).unwrap()
}

/// The batches as a file holds them: the sizes, and the lengths, ids and labels of their blocks.
fn columns(batches: &[Vec<MaskedTokens>]) -> [(&'static str, Vec<u8>); 4] {
    let sizes = batches.iter().map(|batch| batch.len() as u8).collect();
    let blocks = || batches.iter().flatten();
    let lengths = blocks().map(|block| block.ids.len() as u8).collect();
    let ids = blocks().flat_map(|block| block.ids.iter().map(|&id| id as u8)).collect();
    let labels = blocks().flat_map(|block| {
        let mut labels = vec![NONE; block.ids.len()];
        for (&place, &label) in block.positions.iter().zip(&block.labels) {
            labels[place as usize] = label as u8;
        }
        labels
    });
    [("sizes", sizes), ("lengths", lengths), ("ids", ids), ("labels", labels.collect())]
}

#[test]
#[ignore = "writes models/tests/golden/shakespeare/batches.safetensors, for shakespeare.py"]
fn write_batches() {
    let mut trainer = trainer();
    (0..STEPS).for_each(|_| drop(trainer.step().unwrap().unwrap()));
    let batches = trainer.task().batches.lock().unwrap();
    let tensors = columns(&batches).map(|(name, values)| {
        (name.to_string(), Tensor::from_slice(&values, &[values.len()]).unwrap())
    });
    safetensors::save(file("batches.safetensors"), tensors, None).unwrap();
}

#[test]
fn a_hundred_steps_on_shakespeare() {
    let golden = SafeTensors::open(file("pytorch.safetensors")).unwrap();
    let mut trainer = trainer();
    for parameter in trainer.store().parameters() {
        parameter.set(golden.tensor(parameter.name()).unwrap()).unwrap();
    }
    let losses = golden.tensor("losses").unwrap().to_f64_vec();
    assert_eq!(losses.len() as u64, STEPS);
    assert!(losses[99] < losses[0] - 0.3, "PyTorch learns");
    for (step, theirs) in losses.iter().enumerate() {
        let ours = trainer.step().unwrap().unwrap().loss.item().unwrap();
        assert!((ours / theirs - 1.0).abs() < 1e-3, "step {step}: {ours}, PyTorch's is {theirs}");
    }
    let batches = SafeTensors::open(file("batches.safetensors")).unwrap();
    for (name, values) in columns(&trainer.task().batches.lock().unwrap()) {
        assert!(batches.tensor(name).unwrap().to_vec::<u8>().unwrap() == values, "{name}");
    }
}
