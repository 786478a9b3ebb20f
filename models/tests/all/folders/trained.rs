//! Training reads a folder, and writes one.

use std::fs;
use std::path::Path;

use gradus_models::pipelines::{self, Task, TextClassifier};
use gradus_models::{
    Checkpoint, EncoderConfig, Labels, Pretrained, SequenceClassifier, save_folder,
};
use gradus_tensor::io::safetensors::SafeTensors;
use serde_json::{Value, json};

use super::{Folder, base};

/// A classifier trained on a folder of sentence-transformers has its pooling; notes tell what it
/// does not follow.
#[test]
fn training_follows_what_a_classifier_can() {
    use gradus_models::Pooling;
    let st = |pooling: Value, more: &[&str]| {
        let mut list = json!([{"path": "", "type": "sentence_transformers.models.Transformer"},
            {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}]);
        for kind in more {
            let kind = format!("sentence_transformers.models.{kind}");
            list.as_array_mut().unwrap().push(json!({"path": "2_Dense", "type": kind}));
        }
        json!({"modules.json": list, "1_Pooling/config.json": pooling,
            "2_Dense/config.json": {"in_features": 8, "out_features": 2}})
    };
    for (files, pooling, told) in [
        (json!({}), None, None),
        (st(json!({"pooling_mode": "max"}), &[]), Some(Pooling::Max), None),
        (st(json!({}), &["Dense"]), Some(Pooling::Mean), Some("it leaves out Dense")),
        (st(json!({"pooling_mode": ["cls", "mean"]}), &[]), None, Some("several poolings")),
        (
            st(json!({"pooling_mode": "attention"}), &[]),
            None,
            Some("pooling_mode is \"attention\""),
        ),
        (st(json!({"pooling_modes": "mean"}), &[]), Some(Pooling::Mean), Some("`pooling_modes`")),
    ] {
        let folder = Folder::new(&files);
        let mut pretrained = Pretrained::open(folder.path()).unwrap();
        assert_eq!(pretrained.follow_sentence().unwrap(), pooling, "{files}");
        let notes = pretrained.notes.join("\n");
        match told {
            Some(part) => assert!(notes.contains(part), "{notes}"),
            None => assert_eq!(notes, "", "{files}"),
        }
    }
    // The written folder has the setting of lower case.
    let files = json!({"modules.json": st(json!({}), &[])["modules.json"], "1_Pooling/config.json": {},
        "sentence_bert_config.json": {"do_lower_case": true}});
    let folder = Folder::new(&files);
    let mut pretrained = Pretrained::open(folder.path()).unwrap();
    pretrained.follow_sentence().unwrap();
    let out = tempfile::tempdir().unwrap();
    pretrained.tokenizer.save(out.path()).unwrap();
    let again = gradus_models::Tokenizer::from_folder(out.path()).unwrap();
    let tokens = |t: &gradus_models::Tokenizer| t.encode("My Card café", None, 24).unwrap().tokens;
    assert_eq!(tokens(&pretrained.tokenizer), ["[CLS]", "my", "card", "café", "[SEP]"]);
    assert_eq!(tokens(&again), tokens(&pretrained.tokenizer));
    assert_eq!(again.notes(), [""; 0]);
}

fn labels(names: &[&str]) -> Labels {
    Labels::from_names(names.iter().map(|n| n.to_string()).collect()).unwrap()
}

/// The rows of the head that a classifier of these labels would take, and the note.
fn head_for(files: &Value, names: &[&str]) -> (Option<Vec<f32>>, Option<String>) {
    let folder = Folder::new(files);
    let mut pretrained = Pretrained::open(folder.path()).unwrap();
    let told = pretrained.fit_head(&labels(names));
    let store = pretrained.store(1);
    SequenceClassifier::new(
        &store.root(),
        &pretrained.config,
        gradus_models::Pooling::Cls,
        names.len(),
    )
    .unwrap();
    let bias = store.get("classifier.bias").unwrap().tensor().to_vec::<f32>().unwrap();
    (store.missing().is_empty().then_some(bias), told)
}

#[test]
fn a_head_is_taken_reordered_or_begun_anew() {
    let bias = Folder::new(&json!({})).tensors()["classifier.bias"].to_vec::<f32>().unwrap();
    let usual = json!({});
    assert_eq!(head_for(&usual, &["late", "lost", "pin"]), (Some(bias.clone()), None));
    let (found, told) = head_for(&usual, &["pin", "late", "lost"]);
    assert_eq!(found.unwrap(), [bias[2], bias[0], bias[1]]);
    assert!(told.unwrap().contains("another order"));
    for (files, names, part) in [
        (usual.clone(), &["late", "lost"][..], "it has 3 labels, the data has 2 labels"),
        (usual.clone(), &["late", "lost", "other"], "late, lost, pin"),
        (
            json!({"config.json": Folder::config(json!({"architectures": ["BertForTokenClassification"]}))}),
            &["late", "lost", "pin"],
            "words, not texts",
        ),
    ] {
        let (found, told) = head_for(&files, names);
        let told = told.unwrap();
        assert!(
            found.is_none() && told.contains("random weights") && told.contains(part),
            "{told}"
        );
    }
    // The activation of a cross-encoder goes with its head.
    let keys = json!({"sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity"},
        "sbert_ce_default_activation_function": "torch.nn.modules.linear.Identity"});
    let folder = Folder::new(&json!({"config.json": Folder::config(keys)}));
    for (names, stays) in [(&["late", "lost", "pin"][..], true), (&["late", "lost"], false)] {
        let mut pretrained = Pretrained::open(folder.path()).unwrap();
        pretrained.fit_head(&labels(names));
        for key in ["sentence_transformers", "sbert_ce_default_activation_function"] {
            assert_eq!(pretrained.config.extra.contains_key(key), stays, "{key}");
        }
    }
    // Labels without names match the data's labels by their numbers.
    let generic = json!({"config.json": Folder::config(json!({"id2label": {"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"}, "label2id": {}}))});
    assert_eq!(head_for(&generic, &["0", "1", "2"]), (Some(bias), None));
}

/// A classifier on the mean is written so that transformers either runs it or refuses it, but never
/// gives random answers.
#[test]
fn a_classifier_on_the_mean_comes_with_its_class() {
    let folder = Folder::new(
        &json!({"config.json": Folder::config(json!({"torch_dtype": "float16", "dtype": "float16"}))}),
    );
    let pretrained = Pretrained::open(folder.path()).unwrap();
    let store = pretrained.store(1);
    let mut config = pretrained.config.clone();
    let build = |config: &EncoderConfig| {
        let pooling = config.pooling.unwrap_or(gradus_models::Pooling::Cls);
        SequenceClassifier::new(&store.root(), config, pooling, 3).unwrap();
    };
    let out = tempfile::tempdir().unwrap();
    let path = out.path();
    let read = |name: &str| fs::read_to_string(path.join(name)).unwrap();
    let written = || serde_json::from_str::<Value>(&read("config.json")).unwrap();

    config.pooling = Some(gradus_models::Pooling::Mean);
    build(&config);
    save_folder(path, &config, &pretrained.tokenizer, &store).unwrap();
    let class = "BertForSequenceClassification";
    assert_eq!(written()["architectures"], json!([class]));
    assert_eq!(
        written()["auto_map"]["AutoModelForSequenceClassification"],
        format!("modeling_gradus.{class}")
    );
    assert_eq!(
        (&written()["dtype"], &written()["torch_dtype"]),
        (&json!("float32"), &json!("float32"))
    );
    assert!(
        read("modeling_gradus.py").contains(&format!("class {class}"))
            && read("README.md").contains("trust_remote_code")
    );
    let file = SafeTensors::open(path.join("model.safetensors")).unwrap();
    assert_eq!(file.info("classifier.weight").unwrap().1, [0]);
    assert_eq!(file.info("pooled_classifier.weight").unwrap().1, [3, 8]);
    // It opens again, complete, and without unexpected parameters.
    let checkpoint = Checkpoint::open(path).unwrap();
    assert_eq!(checkpoint.shape("classifier.weight").unwrap(), [3, 8]);
    let classifier = TextClassifier::open(path.to_str().unwrap()).unwrap();
    assert_eq!(classifier.unexpected(), [""; 0]);
    assert_eq!(pipelines::open(path.to_str().unwrap()).unwrap().task(), Task::Classify);

    let note = gradus_models::interchange::note(&config).unwrap();
    assert!(note.contains("trust_remote_code=True"), "{note}");

    // BERT's own pooling needs no class, and the older class is removed.
    let again = Pretrained::open(path.to_str().unwrap()).unwrap();
    let mut config = again.config.clone();
    config.pooling = Some(gradus_models::Pooling::Cls);
    config.architectures = vec!["BertForSequenceClassification".into()];
    let store = pretrained.store(1);
    SequenceClassifier::new(&store.root(), &config, gradus_models::Pooling::Cls, 3).unwrap();
    save_folder(path, &config, &again.tokenizer, &store).unwrap();
    assert_eq!(written()["auto_map"], Value::Null);
    assert_eq!(gradus_models::interchange::note(&config), None);
    let file = SafeTensors::open(path.join("model.safetensors")).unwrap();
    assert_eq!(file.info("classifier.weight").unwrap().1, [3, 8]);
}

/// The written folder has the tokenizer's settings from all files.
#[test]
fn a_saved_tokenizer_is_the_same_tokenizer() {
    let size = fs::read_to_string(base().join("vocab.txt")).unwrap().lines().count();
    for files in [
        json!({"special_tokens_map.json": {"cls_token": "<s>", "sep_token": "</s>"}}),
        json!({"added_tokens.json": {"[E1]": size, "covid19": size + 1}}),
        json!({"tokenizer_config.json": {"do_lower_case": true, "truncation_side": "left", "model_max_length": 6}}),
    ] {
        let folder = Folder::new(&files);
        let text = "My Card [E1] covid19 [SEP] is lost";
        let encode = |path: &Path| {
            let tokenizer = gradus_models::Tokenizer::from_folder(path).unwrap();
            tokenizer.encode(text, None, tokenizer.max_length().unwrap_or(24)).unwrap()
        };
        let before = encode(folder.0.path());
        let out = tempfile::tempdir().unwrap();
        let tokenizer = gradus_models::Tokenizer::from_folder(folder.0.path()).unwrap();
        tokenizer.save(out.path()).unwrap();
        assert_eq!(encode(out.path()), before, "{files}");
    }
}
