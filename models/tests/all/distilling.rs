//! Distillation beside PyTorch; `models/tests/golden/distilling.py` makes the values.

use gradus_models::tasks::{Distillation, DistilledTexts, Distilling};
use gradus_models::training::Task;
use gradus_models::{
    BertConfig, Encoding, Pooling, Pretrained, SequenceClassifier, Tokenizer, save_folder,
};
use gradus_nn::Store;
use gradus_tensor::io::safetensors::SafeTensors;

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
    let mut config = BertConfig::new(50, layers, hidden, 2, 2 * hidden);
    config.max_position_embeddings = 24;
    config.hidden_dropout_prob = 0.0;
    config.attention_probs_dropout_prob = 0.0;
    SequenceClassifier::new(&store.root(), &config, Pooling::Cls, 3).unwrap()
}

/// The teacher. Its dropout, if it had any, would be off.
fn teacher(golden: &SafeTensors) -> SequenceClassifier {
    let store = Store::new(0);
    let mut config = BertConfig::new(50, 3, 24, 2, 48);
    config.max_position_embeddings = 24;
    config.hidden_dropout_prob = 0.5;
    config.classifier_dropout = Some(0.5);
    let teacher = SequenceClassifier::new(&store.root(), &config, Pooling::Cls, 3).unwrap();
    for parameter in store.parameters() {
        parameter.set(golden.tensor(&format!("teacher.{}", parameter.name())).unwrap()).unwrap();
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
}

/// A student of some of the teacher's layers has their weights, and the rest of the model.
#[test]
fn a_student_may_have_layers_of_its_teacher() {
    let dir = tempfile::tempdir().unwrap();
    let tokenizer =
        Tokenizer::train_wordpiece(&["where is my card", "my card is here"], 60).unwrap();
    let mut config = BertConfig::new(tokenizer.vocab_size(), 2, 16, 2, 32);
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
