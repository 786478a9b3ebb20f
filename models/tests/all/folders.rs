//! What a folder says is obeyed, as `transformers` and sentence-transformers obey it, or refused by
//! name.
//!
//! `folders/cases.json` has their answers; `folders/make.py` made it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use gradus_models::pipelines::{self, Task, TextClassifier, TextEmbedder};
use gradus_models::{BertConfig, Checkpoint, Labels, Pretrained, SequenceClassifier, save_folder};
use gradus_tensor::Tensor;
use gradus_tensor::io::safetensors::{self, SafeTensors};
use serde_json::{Value, json};

fn base() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/folders/base")
}

/// A copy of the base with some files changed, as `make.py` says it.
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
        let file = SafeTensors::open(self.file("model.safetensors")).unwrap();
        file.names().into_iter().map(|name| (name.clone(), file.tensor(&name).unwrap())).collect()
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
    let cases = include_str!("../folders/cases.json");
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

/// The error of opening a folder as the pipeline of its head.
fn refusal(files: Value) -> String {
    let folder = Folder::new(&files);
    let opened = pipelines::open(folder.path());
    opened.err().unwrap_or_else(|| panic!("opened: {files}")).to_string()
}

#[test]
fn what_gradus_cannot_do_is_refused_by_name() {
    let modules = |kind: &str| json!([{"path": "", "type": "sentence_transformers.models.Transformer"}, {"path": "1_Pooling", "type": kind}]);
    let st = |pooling: Value| json!({"modules.json": modules("sentence_transformers.models.Pooling"), "1_Pooling/config.json": pooling});
    let with = |mut files: Value, path: &str, content: Value| {
        files[path] = content;
        files
    };
    let config = |keys: Value| json!({"config.json": Folder::config(keys)});
    let tokenizer = |keys: Value| json!({"tokenizer_config.json": keys});
    let dense = |keys: Value| {
        let mut module = json!({"in_features": 8, "out_features": 2});
        module.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
        let list = json!([{"path": "", "type": "sentence_transformers.models.Transformer"},
            {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
            {"path": "2_Dense", "type": "sentence_transformers.models.Dense"}]);
        json!({"modules.json": list, "1_Pooling/config.json": {}, "2_Dense/config.json": module})
    };
    for (files, parts) in [
        // config.json
        (config(json!({"model_type": "roberta"})), &["roberta", "BERT only"][..]),
        (
            config(json!({"position_embedding_type": "relative_key"})),
            &["position_embedding_type", "relative_key"],
        ),
        (config(json!({"is_decoder": true})), &["is_decoder"]),
        (config(json!({"add_cross_attention": true})), &["add_cross_attention"]),
        (config(json!({"hidden_act": "mish"})), &["hidden_act", "mish"]),
        (config(json!({"pruned_heads": {"0": [1]}})), &["pruned_heads"]),
        (
            config(json!({"quantization_config": {"quant_method": "bitsandbytes"}})),
            &["quantization_config", "bitsandbytes"],
        ),
        (
            config(json!({"auto_map": {"AutoModel": "bert_layers.BertModel"}})),
            &["auto_map", "bert_layers.BertModel"],
        ),
        (
            config(
                json!({"sentence_transformers": {"activation_fn": "torch.nn.modules.activation.Softplus"}}),
            ),
            &["Softplus"],
        ),
        // other programs' files
        (json!({"adapter_config.json": {"peft_type": "LORA"}}), &["adapter_config.json", "merge"]),
        (json!({"router_config.json": {}}), &["router_config.json", "Router"]),
        // tokenizers
        (
            tokenizer(
                json!({"tokenizer_class": "BertJapaneseTokenizer", "mecab_kwargs": {"a": 1}}),
            ),
            &["BertJapaneseTokenizer"],
        ),
        (
            tokenizer(json!({"tokenizer_class": "XLMRobertaTokenizer"})),
            &["XLMRobertaTokenizer", "tokenizer.json"],
        ),
        (tokenizer(json!({"tokenizer_class": "KoBertTokenizer"})), &["KoBertTokenizer"]),
        // Whatever tokenizer.json says: such a class does not read it.
        (
            with(
                tokenizer(json!({"tokenizer_class": "BertJapaneseTokenizer"})),
                "tokenizer.json",
                json!({"model": {}}),
            ),
            &["BertJapaneseTokenizer"],
        ),
        (
            json!({"config.json": Folder::config(json!({"tokenizer_class": "CharacterBertTokenizer"})),
                "tokenizer_config.json": {"do_lower_case": false}}),
            &["CharacterBertTokenizer"],
        ),
        (tokenizer(json!({"auto_map": {"AutoTokenizer": ["t.T", null]}})), &["auto_map", "code"]),
        (tokenizer(json!({"word_tokenizer_type": "mecab"})), &["word_tokenizer_type", "mecab"]),
        (tokenizer(json!({"truncation_side": "middle"})), &["truncation_side", "middle"]),
        (tokenizer(json!({"added_tokens_decoder": {"60": {"content": "far"}}})), &["`far`", "60"]),
        (json!({"added_tokens.json": {"card": 1}}), &["`card`", "two ids"]),
        // sentence-transformers
        (
            json!({"modules.json": modules("sentence_transformers.models.WordWeights")}),
            &["WordWeights"],
        ),
        (json!({"modules.json": modules("sentence_transformers.models.CNN")}), &["CNN"]),
        (
            json!({"modules.json": [{"path": "", "type": "sentence_transformers.sparse_encoder.models.MLMTransformer"}]}),
            &["MLMTransformer"],
        ),
        (json!({"modules.json": modules("custom_st.Pooling")}), &["custom_st.Pooling", "code"]),
        (
            json!({"modules.json": [{"path": "", "type": "sentence_transformers.models.StaticEmbedding"}]}),
            &["StaticEmbedding"],
        ),
        (
            json!({"modules.json": [{"path": "../x", "type": "sentence_transformers.models.Transformer"}]}),
            &["../x"],
        ),
        (
            json!({"modules.json": modules("sentence_transformers.models.Pooling")}),
            &["1_Pooling", "not there"],
        ),
        (st(json!({"pooling_mode": "attention"})), &["pooling_mode", "attention", "weightedmean"]),
        (st(json!({"include_prompt": "no"})), &["include_prompt"]),
        (dense(json!({"activation_function": "torch.nn.modules.activation.Mish"})), &["Mish"]),
        (dense(json!({"in_features": 9})), &["9 numbers", "gives 8"]),
        (dense(json!({"module_input_name": "token_embeddings"})), &["module_input_name"]),
        (dense(json!({})), &["2_Dense", "model.safetensors"]),
        (
            with(
                st(json!({})),
                "config_sentence_transformers.json",
                json!({"model_type": "SparseEncoder"}),
            ),
            &["SparseEncoder"],
        ),
        (
            with(
                st(json!({})),
                "config_sentence_transformers.json",
                json!({"default_prompt_name": "x"}),
            ),
            &["`x`", "no prompt"],
        ),
        (
            with(
                st(json!({})),
                "config_sentence_transformers.json",
                json!({"similarity_fn_name": "maxsim"}),
            ),
            &["maxsim"],
        ),
        (
            with(
                st(json!({})),
                "sentence_bert_config.json",
                json!({"transformer_task": "fill-mask"}),
            ),
            &["transformer_task"],
        ),
        (
            with(
                st(json!({})),
                "sentence_bert_config.json",
                json!({"query_expansion": {"length": 32}}),
            ),
            &["query_expansion"],
        ),
        (
            with(
                st(json!({})),
                "sentence_bert_config.json",
                json!({"model_args": {"adapter": "x"}}),
            ),
            &["model_args", "adapter"],
        ),
        (
            with(st(json!({})), "sentence_bert_config.json", json!({"max_seq_length": 0})),
            &["max_seq_length"],
        ),
    ] {
        let error = refusal(files.clone());
        assert!(parts.iter().all(|part| error.contains(part)), "{parts:?}: {error}");
        // Flags that no program has must not be advised.
        assert!(!error.contains("pass a pooling"), "{error}");
    }
}

/// A value of another kind would be passed over, and the default be taken without a word.
#[test]
fn a_value_of_another_kind_is_refused_by_its_key() {
    let modules = |kind: &str, path: Value| json!([{"path": path, "type": "sentence_transformers.models.Transformer"}, {"path": "1_Pooling", "type": format!("sentence_transformers.models.{kind}")}]);
    let mut cases: Vec<(Value, &str)> = Vec::new();
    for (key, value) in [
        ("do_lower_case", json!("false")),
        ("strip_accents", json!(0)),
        ("tokenize_chinese_chars", json!("no")),
        ("split_special_tokens", json!(1)),
        ("model_max_length", json!("512")),
        ("model_max_length", json!(-1)),
        ("model_max_length", json!(0)),
        ("model_input_names", json!("input_ids")),
        ("additional_special_tokens", json!("[E1]")),
        ("tokenizer_class", json!(["BertTokenizer"])),
    ] {
        cases.push((json!({"tokenizer_config.json": {key: value}}), key));
    }
    for (key, value) in [
        ("problem_type", json!("several")),
        ("num_labels", json!("3")),
        ("sbert_ce_default_activation_function", json!(5)),
        ("activation_fn", json!({"sentence_transformers": {"activation_fn": []}})),
    ] {
        let keys = if value.is_object() { value } else { json!({key: value}) };
        cases.push((json!({"config.json": Folder::config(keys)}), key));
    }
    for (file, key, value) in [
        ("1_Pooling/config.json", "pooling_mode_cls_token", json!(1)),
        ("1_Pooling/config.json", "pooling_mode", json!([])),
        ("sentence_bert_config.json", "do_lower_case", json!("true")),
        ("sentence_bert_config.json", "max_seq_length", json!("128")),
        ("sentence_bert_config.json", "processor_kwargs", json!([])),
        ("sentence_bert_config.json", "transformer_task", json!(5)),
        ("sentence_bert_config.json", "modality_config", json!([1])),
        ("sentence_bert_config.json", "module_output_name", json!(["token_embeddings"])),
        ("config_sentence_transformers.json", "similarity_fn_name", json!(5)),
        ("config_sentence_transformers.json", "activation_fn", json!({"a": 1})),
        ("config_sentence_transformers.json", "default_prompt_name", json!(5)),
        ("config_sentence_transformers.json", "prompts", json!(["query: "])),
        ("config_sentence_transformers.json", "query", json!({"prompts": {"query": 5}})),
        ("config_sentence_transformers.json", "truncate_dim", json!(-1)),
    ] {
        let mut files =
            json!({"modules.json": modules("Pooling", json!("")), "1_Pooling/config.json": {}});
        files[file] = if value.get("prompts").is_some() { value } else { json!({key: value}) };
        cases.push((files, key));
    }
    let dense = |keys: Value| {
        let mut config = json!({"in_features": 8, "out_features": 2});
        config.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
        let mut list = modules("Pooling", json!(""));
        list.as_array_mut()
            .unwrap()
            .push(json!({"path": "2_Dense", "type": "sentence_transformers.models.Dense"}));
        json!({"modules.json": list, "1_Pooling/config.json": {}, "2_Dense/config.json": config})
    };
    cases.push((dense(json!({"activation_function": null})), "activation_function"));
    cases.push((dense(json!({"activation_function": 5})), "activation_function"));
    cases.push((dense(json!({"bias": "yes"})), "bias"));
    cases.push((dense(json!({"use_residual": 1})), "use_residual"));
    cases.push((dense(json!({"out_features": 2.5})), "out_features"));
    cases.push((
        json!({"modules.json": modules("Pooling", json!(5)), "1_Pooling/config.json": {}}),
        "path is 5",
    ));
    for (files, key) in cases {
        let error = refusal(files.clone());
        assert!(error.contains(key) && error.contains(".json"), "{key}: {error}");
    }
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

/// Without modules.json nobody knows what a Dense layer follows.
#[test]
fn modules_that_nothing_lists_are_refused() {
    for kind in ["Dense", "LayerNorm"] {
        let name = format!("2_{kind}");
        let error =
            refusal(json!({"1_Pooling/config.json": {}, format!("{name}/config.json"): {}}));
        assert!(error.contains("modules.json") && error.contains(&name), "{error}");
    }
    let folder = Folder::new(&json!({"1_Pooling/config.json": {"pooling_mode": "max"}}));
    let embedder = TextEmbedder::open(folder.path(), None, None).unwrap();
    assert_eq!(embedder.pooling(), gradus_models::Pooling::Max);
}

/// A classifier trained on a sentence-transformers folder pools as it does; what it does not follow
/// is told.
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
        (
            st(json!({}), &["Dense"]),
            Some(Pooling::Mean),
            Some("left out is what else it has: Dense"),
        ),
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
    // Lower case goes into the folder that is written.
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

#[test]
fn a_key_that_nobody_knows_is_told() {
    let files = json!({"config.json": Folder::config(json!({"alibi_starting_size": 512}))});
    let folder = Folder::new(&files);
    let classifier = TextClassifier::open(folder.path()).unwrap();
    assert!(classifier.notes()[0].contains("`alibi_starting_size`"), "{:?}", classifier.notes());
    let folder = Folder::new(&json!({}));
    assert_eq!(TextClassifier::open(folder.path()).unwrap().notes(), [""; 0]);
}

/// An encoder that lacks a parameter, or has one that BERT's has not, never trains nor answers.
#[test]
fn an_encoder_that_is_not_whole_is_refused_in_training_too() {
    let folder = Folder::new(&json!({}));
    let whole = folder.tensors();
    let save = |tensors: &BTreeMap<String, Tensor>| {
        safetensors::save(folder.file("model.safetensors"), tensors.clone(), None).unwrap();
    };
    let train = || -> gradus_models::Result<Vec<String>> {
        let pretrained = Pretrained::open(folder.path())?;
        let store = pretrained.store(1);
        let pooling = gradus_models::Pooling::Cls;
        SequenceClassifier::new(&store.root(), &pretrained.config, pooling, 3)?;
        Ok(store.missing())
    };
    assert_eq!(train().unwrap(), [""; 0]);
    let lost = "bert.encoder.layer.1.attention.self.query.weight";
    let mut tensors = whole.clone();
    tensors.remove(lost);
    save(&tensors);
    let error = train().unwrap_err().to_string();
    assert!(error.contains(lost) && error.contains("model.safetensors"), "{error}");
    // Another architecture under BERT's name.
    for foreign in [
        "bert.encoder.layer.0.attention.self.Wqkv.weight",
        "bert.encoder.layer.0.attention.self.distance_embedding.weight",
        "embeddings.rotary.inv_freq",
    ] {
        let mut tensors = whole.clone();
        tensors.insert(foreign.into(), Tensor::scalar(1f32));
        save(&tensors);
        let error = train().unwrap_err().to_string();
        assert!(error.contains(foreign) && error.contains("no parameter of BERT"), "{error}");
    }
    // Heads and buffers of others are no part of the encoder; a head may be missing.
    let mut tensors = whole.clone();
    tensors.insert("bert.embeddings.position_ids".into(), Tensor::scalar(1u32));
    tensors.insert("qa_outputs.bias".into(), Tensor::scalar(1f32));
    tensors.retain(|name, _| !name.starts_with("classifier.") && !name.contains("pooler"));
    save(&tensors);
    assert_eq!(train().unwrap().len(), 4);
    // Fewer layers than the file has is told.
    save(&whole);
    folder.write("config.json", &Folder::config(json!({"num_hidden_layers": 1})));
    let notes = Pretrained::open(folder.path()).unwrap().notes;
    assert!(notes[0].contains("2 layers") && notes[0].contains("first 1"), "{notes:?}");
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
    map.insert("more".into(), json!("../../secret"));
    folder.write("model.safetensors.index.json", &json!({"weight_map": map}));
    assert!(error().contains("outside"), "{}", error());
    map.remove("more");
    folder.write("model.safetensors.index.json", &json!({"weight_map": map}));
    // What is written into such a folder is one file, and nothing says otherwise.
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

/// Overwriting a model's file, or cutting it short, changes no answer of one that is open.
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

fn labels(names: &[&str]) -> Labels {
    Labels::from_names(names.iter().map(|n| n.to_string()).collect()).unwrap()
}

/// Rows of the head as a classifier of these labels would take them, and what is told.
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
        assert!(found.is_none() && told.contains("anew") && told.contains(part), "{told}");
    }
    // What a cross-encoder applies to its outputs goes with its head.
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
    // Labels without names are those of the data by their numbers.
    let generic = json!({"config.json": Folder::config(json!({"id2label": {"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"}, "label2id": {}}))});
    assert_eq!(head_for(&generic, &["0", "1", "2"]), (Some(bias), None));
}

/// A classifier on the mean is written so that transformers runs it, or refuses it, but never
/// answers noise.
#[test]
fn a_classifier_on_the_mean_comes_with_its_class() {
    let folder = Folder::new(
        &json!({"config.json": Folder::config(json!({"torch_dtype": "float16", "dtype": "float16"}))}),
    );
    let pretrained = Pretrained::open(folder.path()).unwrap();
    let store = pretrained.store(1);
    let mut config = pretrained.config.clone();
    let build = |config: &BertConfig| {
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
    // It opens again, whole, and nothing of it is unexpected.
    let checkpoint = Checkpoint::open(path).unwrap();
    assert_eq!(checkpoint.shape("classifier.weight").unwrap(), [3, 8]);
    let classifier = TextClassifier::open(path.to_str().unwrap()).unwrap();
    assert_eq!(classifier.unexpected(), [""; 0]);
    assert_eq!(pipelines::open(path.to_str().unwrap()).unwrap().task(), Task::Classify);

    // BERT's own pooling needs no class, and leaves none of the other's behind.
    let again = Pretrained::open(path.to_str().unwrap()).unwrap();
    let mut config = again.config.clone();
    config.pooling = Some(gradus_models::Pooling::Cls);
    config.architectures = vec!["BertForSequenceClassification".into()];
    let store = pretrained.store(1);
    SequenceClassifier::new(&store.root(), &config, gradus_models::Pooling::Cls, 3).unwrap();
    save_folder(path, &config, &again.tokenizer, &store).unwrap();
    assert_eq!(written()["auto_map"], Value::Null);
    let file = SafeTensors::open(path.join("model.safetensors")).unwrap();
    assert_eq!(file.info("classifier.weight").unwrap().1, [3, 8]);
}

/// What other files say of the tokenizer is in the folder that is written.
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
