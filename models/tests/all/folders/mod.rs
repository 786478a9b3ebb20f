//! The settings of a folder are obeyed, as `transformers` and sentence-transformers obey them, or
//! refused by name.
//!
//! `cases.json` has their answers; `make.py` made it.

mod refused;
mod trained;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use gradus_models::pipelines::{TextClassifier, TextEmbedder};
use gradus_models::{Pretrained, SequenceClassifier, save_folder};
use gradus_tensor::Tensor;
use gradus_tensor::io::safetensors::{self, SafeTensors};
use serde_json::{Value, json};

fn base() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/folders/base")
}

/// A copy of the base with some files changed, in the notation of `make.py`.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new(files: &Value) -> Folder {
        let folder = Folder(tempfile::tempdir().unwrap());
        let below = files["move"].as_str().unwrap_or_default();
        fs::create_dir_all(folder.file(below)).unwrap();
        for entry in fs::read_dir(base()).unwrap().flatten() {
            fs::copy(entry.path(), folder.file(below).join(entry.file_name())).unwrap();
        }
        if let Some(outputs) = files["head"].as_u64() {
            folder.cut_head(outputs as usize);
        }
        for (path, content) in files.as_object().into_iter().flatten() {
            if path != "move" && path != "head" {
                folder.write(path, content);
            }
        }
        folder
    }

    fn write(&self, path: &str, content: &Value) {
        let path = self.file(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        match content {
            Value::Null => fs::remove_file(&path).unwrap(),
            Value::String(text) => fs::write(&path, text).unwrap(),
            Value::Object(map) if map.contains_key("tensors") => {
                let tensors = map["tensors"].as_object().unwrap();
                let tensors = tensors.iter().map(|(name, values)| (name.clone(), tensor(values)));
                safetensors::save(&path, tensors, None).unwrap();
            }
            other => fs::write(&path, other.to_string()).unwrap(),
        }
    }

    /// Leaves the first outputs of the head.
    fn cut_head(&self, outputs: usize) {
        let mut tensors = self.tensors();
        for name in ["classifier.weight", "classifier.bias"] {
            let cut = tensors[name].narrow(0, 0, outputs).unwrap();
            tensors.insert(name.into(), cut);
        }
        safetensors::save(self.file("model.safetensors"), tensors, None).unwrap();
    }

    fn tensors(&self) -> BTreeMap<String, Tensor> {
        self.tensors_of(&["model.safetensors"])
    }

    fn tensors_of(&self, files: &[&str]) -> BTreeMap<String, Tensor> {
        let open = |name: &&str| SafeTensors::open(self.file(name)).unwrap();
        let tensors = |file: SafeTensors| {
            let tensor = |name: String| (name.clone(), file.tensor(&name).unwrap());
            file.names().into_iter().map(tensor).collect::<Vec<_>>()
        };
        files.iter().map(open).flat_map(tensors).collect()
    }

    fn file(&self, path: &str) -> PathBuf {
        path.split('/')
            .filter(|p| !p.is_empty())
            .fold(self.0.path().to_path_buf(), |p, s| p.join(s))
    }

    fn path(&self) -> &str {
        self.0.path().to_str().unwrap()
    }

    /// config.json with other keys.
    fn config(keys: Value) -> Value {
        let mut config: Value =
            serde_json::from_slice(&fs::read(base().join("config.json")).unwrap()).unwrap();
        for (key, value) in keys.as_object().unwrap() {
            config[key] = value.clone();
        }
        config
    }
}

/// Nested lists of numbers.
fn tensor(values: &Value) -> Tensor {
    let (mut shape, mut inner) = (Vec::new(), values);
    while let Value::Array(list) = inner {
        shape.push(list.len());
        inner = &list[0];
    }
    fn flat(value: &Value, into: &mut Vec<f32>) {
        match value {
            Value::Array(list) => list.iter().for_each(|v| flat(v, into)),
            number => into.push(number.as_f64().unwrap() as f32),
        }
    }
    let mut all = Vec::new();
    flat(values, &mut all);
    Tensor::from_slice(&all, &shape).unwrap()
}

fn embed(case: &Value, folder: &Folder) -> Vec<Vec<f32>> {
    let mut embedder = TextEmbedder::open(folder.path(), None, None).unwrap();
    if let Some(name) = case["prompt_name"].as_str() {
        let prompt = embedder.prompts().get(Some(name)).unwrap().unwrap().to_string();
        embedder.set_prompt(&prompt).unwrap();
    }
    let texts: Vec<&str> =
        case["texts"].as_array().unwrap().iter().map(|t| t.as_str().unwrap()).collect();
    let vectors = embedder.embed(&texts).unwrap();
    assert_eq!(vectors.shape(), [texts.len(), embedder.width()]);
    vectors.to_vec::<f32>().unwrap().chunks(embedder.width()).map(<[f32]>::to_vec).collect()
}

fn classify(case: &Value, folder: &Folder) -> Vec<Vec<f32>> {
    let classifier = TextClassifier::open(folder.path()).unwrap();
    let pair = |text: &Value| match text {
        Value::Array(two) => {
            let part = |i: usize| two[i].as_str().unwrap().to_string();
            (part(0), Some(part(1)))
        }
        one => (one.as_str().unwrap().to_string(), None),
    };
    let texts: Vec<_> = case["texts"].as_array().unwrap().iter().map(pair).collect();
    let answers = classifier.predict(&texts, None).unwrap();
    let of = |answer: &Vec<gradus_models::pipelines::Score>, label: &String| {
        answer.iter().find(|s| s.label == *label).unwrap().score
    };
    answers.iter().map(|a| classifier.labels().iter().map(|label| of(a, label)).collect()).collect()
}

#[test]
fn every_case_has_the_numbers_of_the_reference() {
    let cases = include_str!("../../folders/cases.json");
    let cases: Vec<Value> = serde_json::from_str(cases).unwrap();
    let mut wrong = Vec::new();
    for case in &cases {
        let folder = Folder::new(&case["files"]);
        let embeds = case["kind"] == "embed";
        let found = if embeds { embed(case, &folder) } else { classify(case, &folder) };
        let expected = case["expected"].as_array().unwrap();
        assert_eq!(found.len(), expected.len());
        for ((found, expected), text) in
            found.iter().zip(expected).zip(case["texts"].as_array().unwrap())
        {
            let expected = expected.as_array().unwrap();
            let worst =
                found.iter().zip(expected).map(|(a, b)| (a - b.as_f64().unwrap() as f32).abs());
            let worst = worst.fold(0.0, f32::max);
            if found.len() != expected.len() || worst.is_nan() || worst > 1e-5 {
                wrong.push(format!("{} {}: {text}: {worst}", case["kind"], case["name"]));
            }
        }
    }
    assert!(
        cases.len() > 60 && wrong.is_empty(),
        "{} of {}\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
}

/// `model_input_names` without `token_type_ids`: the model sees the type 0 alone.
#[test]
fn a_model_without_token_types_sees_none() {
    for (names, second) in [
        (json!(["input_ids", "token_type_ids", "attention_mask"]), 1),
        (json!(["input_ids", "attention_mask"]), 0),
        (json!(null), 1),
    ] {
        let folder = Folder::new(&json!({"tokenizer_config.json": {"model_input_names": names}}));
        let tokenizer = gradus_models::Tokenizer::from_folder(folder.0.path()).unwrap();
        let types = tokenizer.encode("the card", Some("is lost"), 24).unwrap().type_ids;
        assert_eq!(types, [0, 0, 0, 0, second, second, second], "{names}");
    }
}

/// `similarity_fn_name`, each by its formula.
#[test]
fn vectors_are_compared_as_the_folder_says() {
    let (a, b) = ([1f32, 2.0], [3f32, -1.0]);
    for (name, value) in [
        (json!(null), 1.0 / 50f32.sqrt()),
        (json!("cosine"), 1.0 / 50f32.sqrt()),
        (json!("dot"), 1.0),
        (json!("euclidean"), -(13f32.sqrt())),
        (json!("manhattan"), -5.0),
    ] {
        let list = json!([{"path": "", "type": "sentence_transformers.models.Transformer"},
            {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}]);
        let folder = Folder::new(&json!({"modules.json": list, "1_Pooling/config.json": {},
            "config_sentence_transformers.json": {"similarity_fn_name": name}}));
        let alike = TextEmbedder::open(folder.path(), None, None).unwrap().similarity().of(&a, &b);
        assert!((alike - value).abs() < 1e-6, "{name}: {alike}");
    }
}

#[test]
fn prompts_are_found_by_their_names() {
    let list = json!([{"path": "", "type": "sentence_transformers.models.Transformer"},
        {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}]);
    let folder = Folder::new(&json!({"modules.json": list, "1_Pooling/config.json": {},
        "config_sentence_transformers.json": {
            "prompts": {"query": "find: ", "document": ""}, "default_prompt_name": "query"}}));
    let embedder = TextEmbedder::open(folder.path(), None, None).unwrap();
    let prompts = embedder.prompts();
    assert_eq!(prompts.get(Some("query")), Ok(Some("find: ")));
    assert_eq!(prompts.get(Some("document")), Ok(Some("")));
    assert_eq!(prompts.get(None), Ok(Some("find: ")));
    let error = prompts.get(Some("passage")).unwrap_err();
    assert!(error.contains("no prompt `passage`: it has document, query"), "{error}");
    let plain = Folder::new(&json!({"modules.json": list, "1_Pooling/config.json": {}}));
    let plain = TextEmbedder::open(plain.path(), None, None).unwrap();
    assert_eq!(plain.prompts().get(None), Ok(None));
    assert!(plain.prompts().get(Some("query")).unwrap_err().contains("it has none"));
}

#[test]
fn a_key_that_nobody_knows_is_told() {
    let files = json!({"config.json": Folder::config(json!({"alibi_starting_size": 512}))});
    let folder = Folder::new(&files);
    let classifier = TextClassifier::open(folder.path()).unwrap();
    assert!(classifier.notes()[0].contains("`alibi_starting_size`"), "{:?}", classifier.notes());
    let folder = Folder::new(&json!({}));
    assert_eq!(TextClassifier::open(folder.path()).unwrap().notes(), [""; 0]);
}

#[test]
fn weights_in_several_files_are_those_in_one() {
    let folder = Folder::new(&json!({}));
    let text = [("the card is lost".to_string(), None)];
    let answer = || TextClassifier::open(folder.path()).unwrap().predict(&text, None).unwrap();
    let whole = answer();
    let tensors = folder.tensors();
    let mut files: [Vec<(String, Tensor)>; 2] = Default::default();
    let mut map = serde_json::Map::new();
    for (i, (name, tensor)) in tensors.into_iter().enumerate() {
        map.insert(name.clone(), json!(format!("model-{}.safetensors", i % 2)));
        files[i % 2].push((name, tensor));
    }
    for (i, tensors) in files.into_iter().enumerate() {
        safetensors::save(folder.file(&format!("model-{i}.safetensors")), tensors, None).unwrap();
    }
    folder.write("model.safetensors", &Value::Null);
    folder.write("model.safetensors.index.json", &json!({"metadata": {}, "weight_map": map}));
    assert_eq!(answer(), whole);
    let error = || TextClassifier::open(folder.path()).map(drop).unwrap_err().to_string();
    map.insert("more".into(), json!("model-1.safetensors"));
    folder.write("model.safetensors.index.json", &json!({"weight_map": map}));
    assert!(error().contains("`more`") && error().contains("index.json"), "{}", error());
    map.remove("more");
    let first = folder.file("model-0.safetensors");
    let good = fs::read(&first).unwrap();
    let both = folder.tensors_of(&["model-0.safetensors", "model-1.safetensors"]);
    safetensors::save(&first, both, None).unwrap();
    folder.write("model.safetensors.index.json", &json!({"weight_map": map}));
    assert!(error().contains("model-0.safetensors has one too"), "{}", error());
    fs::write(&first, good).unwrap();
    map.insert("more".into(), json!("../../secret"));
    folder.write("model.safetensors.index.json", &json!({"weight_map": map}));
    assert!(error().contains("outside"), "{}", error());
    map.remove("more");
    folder.write("model.safetensors.index.json", &json!({"weight_map": map}));
    // The weights written into such a folder are one file, and no index says otherwise.
    let pretrained = Pretrained::open(folder.path()).unwrap();
    let store = pretrained.store(1);
    SequenceClassifier::new(&store.root(), &pretrained.config, gradus_models::Pooling::Cls, 3)
        .unwrap();
    let index = folder.file("model.safetensors.index.json");
    save_folder(folder.0.path(), &pretrained.config, &pretrained.tokenizer, &store).unwrap();
    assert!(!index.exists());
    assert_eq!(answer(), whole);
    folder.write("model.safetensors", &Value::Null);
    folder.write("model.safetensors.index.json", &json!({"weight_map": map}));
    folder.write("model-1.safetensors", &Value::Null);
    assert!(error().contains("model-1.safetensors, which is not there"), "{}", error());
}

/// Overwriting or truncating the file of an open model does not change its answers.
#[test]
fn an_open_model_outlives_its_files() {
    let folder = Folder::new(&json!({}));
    let embedder = TextEmbedder::open(folder.path(), None, None).unwrap();
    let texts = ["the card is lost", "how late"];
    let before = embedder.embed(&texts).unwrap().to_vec::<f32>().unwrap();
    let path = folder.file("model.safetensors");
    let other = fs::read(&path).unwrap().iter().map(|byte| byte ^ 0x11).collect::<Vec<u8>>();
    fs::write(&path, other).unwrap();
    assert_eq!(embedder.embed(&texts).unwrap().to_vec::<f32>().unwrap(), before);
    fs::File::options().write(true).open(&path).unwrap().set_len(10).unwrap();
    assert_eq!(embedder.embed(&texts).unwrap().to_vec::<f32>().unwrap(), before);
}
