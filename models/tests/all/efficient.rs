//! Efficient fine-tuning beside PyTorch and PEFT: fifty steps with frozen layers, a rate that decays
//! from layer to layer, averaged weights and low-rank adaptation. `models/tests/golden/efficient.py`
//! makes the values. And what each must keep: the bits of a resumed run, the values of frozen
//! parameters, the numbers of a run without activation checkpointing.

use crate::common::{load_weights, run, save, small_trainer};
use crate::tasks::{config, encodings, golden};
use gradus_models::tasks::{Answers, Classification, Encoded};
use gradus_models::training::{Evaluation, Lora, Recipe, Task, Trainer};
use gradus_models::{Error, Pooling, SequenceClassifier};
use gradus_nn::Store;
use gradus_tensor::io::safetensors::SafeTensors;

fn efficient() -> SafeTensors {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/efficient.safetensors");
    SafeTensors::open(path).unwrap()
}

fn recipe() -> Recipe {
    Recipe { steps: Some(50), batch_size: 12, lr: 2e-3, ..Recipe::default() }
}

fn labels() -> Vec<u32> {
    golden().tensor("single").unwrap().to_f64_vec().iter().map(|&label| label as u32).collect()
}

pub fn examples() -> Encoded {
    Encoded { encodings: encodings(&golden()), answers: Answers::Single(labels()) }
}

/// A trainer of the classifier of `tasks.py`, with its first weights; those of low-rank parts are
/// PEFT's of the case `name`.
pub fn trainer(name: &str, recipe: Recipe) -> Trainer<Classification> {
    let store = Store::new(0);
    recipe.adapt(&store, &config(50)).unwrap();
    let model = SequenceClassifier::new(&store.root(), &config(50), Pooling::Cls, 3).unwrap();
    let (golden, values) = (golden(), efficient());
    for parameter in store.parameters() {
        let of = parameter.name();
        if let Ok(tensor) = golden.tensor(&format!("single.{of}")) {
            parameter.set(tensor).unwrap();
        } else if let Ok(tensor) = values.tensor(&format!("{name}.{of}")) {
            parameter.set(tensor).unwrap();
        }
    }
    Trainer::new(Classification::new(model, examples()), store, recipe).unwrap()
}

/// Trains, and compares every loss and norm; `each` looks at the trainer after every step.
fn fifty_steps(
    name: &str,
    recipe: Recipe,
    mut each: impl FnMut(&mut Trainer<Classification>, usize),
) {
    let values = efficient();
    let numbers = |key: &str| values.tensor(&format!("{name}.{key}")).unwrap().to_f64_vec();
    let mut trainer = trainer(name, recipe);
    for (at, (loss, norm)) in numbers("losses").iter().zip(numbers("norms")).enumerate() {
        let step = trainer.step().unwrap().unwrap();
        let (ours, our_norm) = (step.loss.item().unwrap(), step.grad_norm.item().unwrap());
        assert!((ours - loss).abs() < 1e-4, "{name}, step {at}: loss {ours}, PyTorch's is {loss}");
        assert!(
            (our_norm / norm - 1.0).abs() < 1e-3,
            "{name}, step {at}: norm {our_norm}, not {norm}"
        );
        each(&mut trainer, at);
    }
}

fn lora(rank: usize, alpha: f64, targets: &[&str]) -> Lora {
    let targets = targets.iter().map(|target| target.to_string()).collect();
    Lora { rank, alpha, targets, ..Lora::default() }
}

#[test]
fn frozen_layers() {
    let freeze = vec!["embeddings".into(), "encoder.layer.0.*".into()];
    fifty_steps("freeze", Recipe { freeze, ..recipe() }, |_, _| ());
}

#[test]
fn a_rate_that_decays_by_layer() {
    let recipe = Recipe { layer_decay: Some(0.6), head_lr: Some(5e-3), ..recipe() };
    fifty_steps("layer_decay", recipe, |_, _| ());
}

#[test]
fn averaged_weights() {
    let losses = efficient().tensor("ema.of_averages").unwrap().to_f64_vec();
    fifty_steps("ema", Recipe { ema: Some(0.9), ..recipe() }, |trainer, at| {
        trainer.swap_averages().unwrap();
        let loss = trainer.task().evaluate(&examples(), &mut |_, _| ()).unwrap().loss;
        trainer.swap_averages().unwrap();
        assert!((loss - losses[at]).abs() < 1e-4, "step {at}: {loss}, PyTorch's is {}", losses[at]);
    });
}

#[test]
fn low_rank_adaptation() {
    let lora = lora(4, 8.0, &["query", "value"]);
    fifty_steps("lora", Recipe { lora: Some(lora), ..recipe() }, |_, _| ());
}

#[test]
fn low_rank_adaptation_of_dense_layers_scaled_by_the_root_of_the_rank() {
    let lora = Lora {
        rslora: true,
        modules_to_save: vec!["pooler".into()],
        ..lora(3, 5.0, &["attention.output.dense", "intermediate.dense", "key"])
    };
    fifty_steps("lora_dense", Recipe { lora: Some(lora), ..recipe() }, |_, _| ());
}

fn bits(trainer: &Trainer<Classification>) -> Vec<(String, Vec<f32>)> {
    let values = trainer.store().parameters().into_iter();
    values.map(|p| (p.name().to_string(), p.tensor().to_vec::<f32>().unwrap())).collect()
}

#[test]
fn what_is_frozen_keeps_its_value_and_has_no_state() {
    let freeze = vec!["*.bias".into(), "embeddings".into(), "bert.encoder.layer.0".into()];
    let recipe = Recipe { steps: Some(3), freeze, weight_decay: 0.5, ..recipe() };
    let mut trainer = trainer("freeze", recipe);
    let before = bits(&trainer);
    run(&mut trainer, 3);
    let frozen = |name: &str| {
        name.ends_with(".bias") || name.contains("embeddings") || name.contains("layer.0.")
    };
    for ((name, before), (_, after)) in before.iter().zip(bits(&trainer)) {
        assert_eq!(*before == after, frozen(name), "{name}");
    }
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = save(&trainer, dir.path());
    let state = SafeTensors::open(checkpoint.join("optimizer.safetensors")).unwrap();
    let of_frozen = |name: &String| name.contains('.') && frozen(name);
    assert_eq!(state.names().into_iter().find(of_frozen), None);
    let (trained, all) = trainer.parameter_counts();
    let count = |keep: &dyn Fn(&str) -> bool| -> usize {
        before.iter().filter(|(name, _)| keep(name)).map(|(_, values)| values.len()).sum()
    };
    assert_eq!((trained, all), (count(&|name| !frozen(name)), count(&|_| true)));
    assert!(trainer.without_gradient().unwrap().is_empty());
}

fn refused(recipe: Recipe) -> String {
    let store = Store::new(0);
    recipe.adapt(&store, &config(50)).unwrap();
    let model = SequenceClassifier::new(&store.root(), &config(50), Pooling::Cls, 3).unwrap();
    let error = Trainer::new(Classification::new(model, examples()), store, recipe).err().unwrap();
    assert!(matches!(error, Error::Recipe { .. }));
    error.to_string()
}

#[test]
fn names_that_match_nothing_are_refused_with_near_ones() {
    let freeze = |pattern: &str| refused(Recipe { freeze: vec![pattern.into()], ..recipe() });
    let error = freeze("encoder.layers.0.*");
    assert!(
        error.contains("freeze is encoder.layers.0.*") && error.contains("encoder.layer.0,"),
        "{error}"
    );
    assert!(freeze("embedings").contains("embeddings"));
    assert!(freeze("*").contains("leaves no parameter to train"));
    assert!(freeze("a[").contains("it is no pattern"));
    let lora = |target: &str| refused(Recipe { lora: Some(lora(4, 8.0, &[target])), ..recipe() });
    let error = lora("querry");
    assert!(
        error.contains("lora_targets is querry") && error.contains("attention.self.query"),
        "{error}"
    );
    assert!(lora("classifier").contains("no linear layer of the encoder"));
    let saved = Lora { modules_to_save: vec!["poler".into()], ..Lora::default() };
    let error = refused(Recipe { lora: Some(saved), ..recipe() });
    assert!(error.contains("lora_modules_to_save is poler") && error.contains("pooler"), "{error}");
}

#[test]
fn numbers_out_of_their_range_are_refused_by_name() {
    let said = |recipe: Recipe| recipe.validate().unwrap_err().to_string();
    for decay in [0.0, 1.01, -0.5, f64::NAN] {
        assert!(said(Recipe { layer_decay: Some(decay), ..recipe() }).contains("layer_decay is"));
    }
    for decay in [1.0, -0.1, f64::NAN] {
        assert!(said(Recipe { ema: Some(decay), ..recipe() }).contains("ema is"));
    }
    let lora = |lora: Lora| said(Recipe { lora: Some(lora), ..recipe() });
    assert!(lora(Lora { rank: 0, ..Lora::default() }).contains("lora_rank is 0"));
    assert!(lora(Lora { alpha: 0.0, ..Lora::default() }).contains("lora_alpha is 0"));
    assert!(lora(Lora { dropout: 1.0, ..Lora::default() }).contains("lora_dropout is 1"));
    assert!(lora(Lora { targets: vec![], ..Lora::default() }).contains("lora_targets is empty"));
}

#[test]
fn a_store_that_is_not_adapted_is_refused() {
    let store = Store::new(0);
    let model = SequenceClassifier::new(&store.root(), &config(50), Pooling::Cls, 3).unwrap();
    let recipe = Recipe { lora: Some(Lora::default()), ..recipe() };
    let error = Trainer::new(Classification::new(model, examples()), store, recipe).err().unwrap();
    assert!(error.to_string().contains("Recipe::adapt"), "{error}");
}

/// Activation checkpointing runs every layer twice, and changes no bit: dropout included.
#[test]
fn activation_checkpointing_changes_no_bit() {
    for lora in [None, Some(Lora { dropout: 0.3, ..Lora::default() })] {
        let recipe = |activation_checkpointing| Recipe {
            steps: Some(3),
            batch_size: 8,
            lora: lora.clone(),
            activation_checkpointing,
            ..Recipe::default()
        };
        let [kept, again] = [false, true].map(|checkpointing| {
            let mut trainer = small_trainer(recipe(checkpointing));
            run(&mut trainer, 3);
            bits(&trainer)
        });
        assert!(kept == again);
    }
}

fn result(loss: f64) -> Evaluation {
    Evaluation::new(3, loss, [("accuracy", 0.5)])
}

/// A resumed run goes on to the same bits: the weights, their averages and the best of them.
#[test]
fn averages_are_resumed_and_the_best_model_has_them() {
    let recipe = || Recipe { steps: Some(6), batch_size: 8, ema: Some(0.5), ..Recipe::default() };
    let dir = tempfile::tempdir().unwrap();
    let mut whole = small_trainer(recipe());
    run(&mut whole, 3);
    whole.swap_averages().unwrap();
    let best = bits(&whole);
    whole.evaluated(result(0.1));
    whole.swap_averages().unwrap();
    assert!(bits(&whole) != best);
    let checkpoint = save(&whole, dir.path());
    run(&mut whole, 3);

    let mut resumed = small_trainer(recipe());
    load_weights(&resumed, &checkpoint);
    resumed.resume(&checkpoint).unwrap();
    run(&mut resumed, 3);
    assert!(bits(&resumed) == bits(&whole));
    for trainer in [&mut whole, &mut resumed] {
        trainer.swap_best().unwrap();
        assert!(bits(trainer) == best, "the best model is the average of its step");
        trainer.swap_best().unwrap();
        trainer.swap_averages().unwrap();
    }
    assert!(bits(&resumed) == bits(&whole), "the averages");

    let mut without = small_trainer(Recipe { ema: None, ..recipe() });
    let error = without.resume(&checkpoint).unwrap_err().to_string();
    assert!(error.contains("ema was 0.5, and is not set"), "{error}");
}
