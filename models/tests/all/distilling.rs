//! Distillation beside PyTorch; `models/tests/golden/distilling.py` makes the values.

use gradus_models::tasks::{Distillation, DistilledTexts, Distilling, HiddenMatch};
use gradus_models::training::{Recipe, Task, Trainer};
use gradus_models::{
    EncoderConfig, Encoding, Pooling, Pretrained, SequenceClassifier, Tokenizer, save_folder,
};
use gradus_nn::Store;
use gradus_tensor::io::safetensors::SafeTensors;

use crate::common::plain;
use crate::tasks::fifty_steps;

fn golden() -> SafeTensors {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/distilling.safetensors");
    SafeTensors::open(path).unwrap()
}

fn numbers(golden: &SafeTensors, name: &str) -> Vec<u32> {
    golden.tensor(name).unwrap().to_f64_vec().into_iter().map(|n| n as u32).collect()
}

/// The texts as the student and the teacher read them: the teacher has two tokens more of each.
fn texts(golden: &SafeTensors, labelled: bool) -> DistilledTexts {
    let lengths = numbers(golden, "lengths");
    let read = |name: &str, more: usize| {
        let mut ids = numbers(golden, name).into_iter();
        let encoding = |&length: &u32| {
            let ids: Vec<u32> = ids.by_ref().take(length as usize + more).collect();
            Encoding { type_ids: vec![0; ids.len()], ids, ..Encoding::default() }
        };
        lengths.iter().map(encoding).collect::<Vec<_>>()
    };
    DistilledTexts {
        student: read("ids", 0),
        teacher: Some(read("taught", 2)),
        labels: labelled.then(|| numbers(golden, "labels")),
    }
}

fn classifier(store: &Store, hidden: usize, layers: usize) -> SequenceClassifier {
    let mut config = EncoderConfig::new(50, layers, hidden, 2, 2 * hidden);
    config.max_position_embeddings = 24;
    config.hidden_dropout_prob = 0.0;
    config.attention_probs_dropout_prob = 0.0;
    SequenceClassifier::new(&store.root(), &config, Pooling::Cls, 3).unwrap()
}

fn teacher(golden: &SafeTensors) -> SequenceClassifier {
    teacher_of(golden, "teacher", 24)
}

/// A teacher. Its dropout, if it had any, would be off.
fn teacher_of(golden: &SafeTensors, name: &str, hidden: usize) -> SequenceClassifier {
    let store = Store::new(0);
    let mut config = EncoderConfig::new(50, 3, hidden, 2, 2 * hidden);
    config.max_position_embeddings = 24;
    config.hidden_dropout_prob = 0.5;
    config.classifier_dropout = Some(0.5);
    let teacher = SequenceClassifier::new(&store.root(), &config, Pooling::Cls, 3).unwrap();
    for parameter in store.parameters() {
        parameter.set(golden.tensor(&format!("{name}.{}", parameter.name())).unwrap()).unwrap();
    }
    teacher
}

fn distillation(store: &Store, golden: &SafeTensors, labelled: bool) -> Distillation {
    let how = Distilling { temperature: 3.0, alpha: if labelled { 0.7 } else { 1.0 } };
    let student = classifier(store, 16, 2);
    Distillation::new(student, teacher(golden), texts(golden, labelled), how).unwrap()
}

#[test]
fn fifty_steps_with_labels_and_without() {
    let golden = golden();
    for (name, labelled) in [("labelled", true), ("unlabelled", false)] {
        fifty_steps(name, &golden, |store| distillation(store, &golden, labelled));
    }
}

/// A student whose hidden states learn too. Both models read the same tokens.
fn hidden(store: &Store, golden: &SafeTensors, (name, width): (&str, usize)) -> Distillation {
    let how = Distilling { temperature: 3.0, alpha: 0.7 };
    let texts = DistilledTexts { teacher: None, ..texts(golden, true) };
    let teacher = teacher_of(golden, name, width);
    let task = Distillation::new(classifier(store, 16, 2), teacher, texts, how).unwrap();
    let pairs = vec![[0, 0], [1, 1], [2, 3]];
    task.match_hidden(HiddenMatch { pairs, weight: 0.5 }, 0).unwrap()
}

#[test]
fn fifty_steps_with_hidden_states() {
    let golden = golden();
    for (name, teacher) in [("projected", ("teacher", 24)), ("same_width", ("narrow", 16))] {
        fifty_steps(name, &golden, |store| hidden(store, &golden, teacher));
    }
}

/// Texts of unequal lengths weigh the same in one batch and in four.
#[test]
fn hidden_states_in_four_batches_are_those_of_one() {
    let golden = golden();
    let grads = |batch_size, accumulate| {
        let store = Store::new(0);
        let task = hidden(&store, &golden, ("teacher", 24));
        let beside = task.beside().unwrap().clone();
        for parameter in store.parameters().into_iter().chain(beside.parameters()) {
            let value = golden.tensor(&format!("projected.{}", parameter.name())).unwrap();
            parameter.set(value).unwrap();
        }
        let recipe = Recipe { batch_size, accumulate, lr: 1.0, ..plain() };
        let mut trainer = Trainer::new(task, store.clone(), recipe).unwrap();
        trainer.step().unwrap();
        let parameters = store.parameters().into_iter().chain(beside.parameters());
        let moved = |p: gradus_nn::Parameter| {
            let name = format!("projected.{}", p.name());
            let (was, is) = (golden.tensor(&name).unwrap().to_f64_vec(), p.tensor().to_f64_vec());
            was.into_iter().zip(is).map(|(was, is)| was - is).collect::<Vec<f64>>()
        };
        parameters.flat_map(moved).collect::<Vec<f64>>()
    };
    let (one, four) = (grads(12, 1), grads(3, 4));
    let far = one.iter().zip(&four).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    let largest = one.iter().fold(0.0f64, |most, g| most.max(g.abs()));
    assert!(far < 1e-6 * largest.max(1.0), "{far:e} apart, of {largest}");
}

/// The projection is in a checkpoint and in no model folder, and a run from a checkpoint ends with
/// the same bits of both.
#[test]
fn the_projection_is_resumed_and_not_published() {
    let (golden, dir) = (golden(), tempfile::tempdir().unwrap());
    let tokenizer = Tokenizer::train_wordpiece(&["a b c"], 60).unwrap();
    let recipe =
        Recipe { steps: Some(8), batch_size: 4, lr: 1e-2, ema: Some(0.9), ..Recipe::default() };
    let trainer = |seed| {
        let store = Store::new(seed);
        let task = hidden(&store, &golden, ("teacher", 24));
        Trainer::new(task, store, recipe.clone()).unwrap()
    };
    let bits = |trainer: &Trainer<Distillation>| {
        let beside = trainer.task().beside().unwrap().parameters();
        let all = trainer.store().parameters().into_iter().chain(beside);
        all.map(|p| p.tensor().to_vec::<f32>().unwrap()).collect::<Vec<_>>()
    };
    let mut whole = trainer(3);
    let config = whole.task().student().encoder().config().clone();
    (0..5).for_each(|_| drop(whole.step().unwrap()));
    let checkpoint = whole.save_checkpoint(dir.path(), &config, &tokenizer).unwrap();
    while whole.step().unwrap().is_some() {}

    let names = |file: &str| SafeTensors::open(checkpoint.join(file)).unwrap().names();
    assert_eq!(names("beside.safetensors"), ["projection.bias", "projection.weight"]);
    let is_projection = |name: &String| name.contains("projection");
    assert!(!names("model.safetensors").iter().any(is_projection));
    assert!(names("optimizer.safetensors").iter().any(is_projection));

    let mut resumed = trainer(4);
    let file = SafeTensors::open(checkpoint.join("model.safetensors")).unwrap();
    for parameter in resumed.store().parameters() {
        parameter.set(file.tensor(parameter.name()).unwrap()).unwrap();
    }
    resumed.resume(&checkpoint).unwrap();
    while resumed.step().unwrap().is_some() {}
    assert!(bits(&resumed) == bits(&whole), "the resumed run ended with other bits");

    // A projection of another step is not taken.
    let path = checkpoint.join("beside.safetensors");
    let beside = whole.task().beside().unwrap().parameters();
    let later = beside.iter().map(|p| (p.name().to_string(), p.tensor()));
    gradus_tensor::io::safetensors::save(&path, later, None).unwrap();
    let error = trainer(3).resume(&checkpoint).unwrap_err().to_string();
    assert!(error.contains("beside.safetensors"), "{error}");
}

/// The teacher has no parameter in the student's store, and an evaluation has the loss of training.
#[test]
fn the_teacher_stays_as_it_is() {
    let golden = golden();
    let store = Store::new(0);
    let mut task = distillation(&store, &golden, true);
    for parameter in store.parameters() {
        let name = format!("labelled.{}", parameter.name());
        parameter.set(golden.tensor(&name).unwrap()).unwrap();
    }
    let result = task.evaluate(&texts(&golden, true), &mut |_, _| {}).unwrap();
    let first = golden.tensor("labelled.losses").unwrap().to_f64_vec()[0];
    assert!((result.loss - first).abs() < 1e-5, "{} and {first}", result.loss);
    let names: Vec<&str> = task.metrics().iter().map(|metric| metric.name).collect();
    assert_eq!((names[0], *names.last().unwrap()), ("accuracy", "agreement"));
    assert!(names.iter().all(|name| result.get(name).is_some()), "{result:?}");

    // Without labels the agreement decides.
    let result = task.evaluate(&texts(&golden, false), &mut |_, _| {}).unwrap();
    assert!(result.get("accuracy").is_none() && result.get("agreement").is_some());
    task.measure_by_labels(false);
    assert_eq!(task.metrics()[0].name, "agreement");
}

#[test]
fn what_would_be_wrong_is_refused_by_name() {
    let golden = golden();
    let of = |labelled, temperature, alpha| {
        let student = classifier(&Store::new(0), 16, 2);
        let how = Distilling { temperature, alpha };
        let made = Distillation::new(student, teacher(&golden), texts(&golden, labelled), how);
        made.err().map(|error| error.to_string()).unwrap_or_default()
    };
    assert!(of(true, 0.0, 0.5).contains("temperature is 0; it must be above 0"));
    assert!(of(true, 1.0, 1.5).contains("alpha is 1.5"));
    assert!(of(false, 1.0, 0.5).contains("the data has no labels"));
    assert_eq!(of(true, 1.0, 0.0), "");

    let match_hidden = |pairs: &[[usize; 2]], weight, texts| {
        let how = Distilling { temperature: 1.0, alpha: 0.5 };
        let student = classifier(&Store::new(0), 16, 2);
        let task = Distillation::new(student, teacher(&golden), texts, how).unwrap();
        let made = task.match_hidden(HiddenMatch { pairs: pairs.to_vec(), weight }, 0);
        made.err().map(|error| error.to_string()).unwrap_or_default()
    };
    let same = || DistilledTexts { teacher: None, ..texts(&golden, true) };
    assert_eq!(match_hidden(&[[2, 3]], 1.0, same()), "");
    for pair in [[3, 0], [0, 4]] {
        let error = match_hidden(&[[1, 1], pair], 1.0, same());
        assert!(error.contains(&format!("{}:{}", pair[0], pair[1])), "{error}");
        assert!(error.contains("to 2, the teacher 0 to 3"), "{error}");
    }
    assert!(match_hidden(&[[2, 3]], 0.0, same()).contains("hidden_weight is 0"));
    assert!(match_hidden(&[], 1.0, same()).contains("hidden is empty"));
    let other = match_hidden(&[[2, 3]], 1.0, texts(&golden, true));
    assert!(other.contains("the same tokens"), "{other}");
}

/// A student of some of the teacher's layers has their weights, and the rest of the model.
#[test]
fn a_student_may_have_layers_of_its_teacher() {
    let dir = tempfile::tempdir().unwrap();
    let tokenizer =
        Tokenizer::train_wordpiece(&["where is my card", "my card is here"], 60).unwrap();
    let mut config = EncoderConfig::new(tokenizer.vocab_size(), 2, 16, 2, 32);
    config.id2label = ["a", "b", "c"].map(String::from).to_vec();
    let store = Store::new(5);
    SequenceClassifier::new(&store.root(), &config, Pooling::Cls, 3).unwrap();
    save_folder(dir.path(), &config, &tokenizer, &store).unwrap();
    let mut student = Pretrained::open(dir.path().to_str().unwrap()).unwrap();
    for layers in [&[2][..], &[1, 0], &[]] {
        assert!(student.keep_layers(layers).unwrap_err().to_string().contains("0 to 1"));
    }
    student.keep_layers(&[1]).unwrap();
    assert_eq!(student.config.num_hidden_layers, 1);
    let store = student.store(0);
    SequenceClassifier::new(&store.root(), &student.config, Pooling::Cls, 3).unwrap();
    assert!(store.missing().is_empty());
    let file = SafeTensors::open(dir.path().join("model.safetensors")).unwrap();
    for parameter in store.parameters() {
        let name = parameter.name().replace("layer.0.", "layer.1.");
        let theirs = file.tensor(&name).unwrap().to_f64_vec();
        assert_eq!(parameter.tensor().to_f64_vec(), theirs, "{name}");
    }
}
