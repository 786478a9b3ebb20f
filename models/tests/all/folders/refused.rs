//! Folders that are refused, and the errors.

use std::collections::BTreeMap;

use gradus_models::pipelines::{self, TextEmbedder};
use gradus_models::{Pretrained, SequenceClassifier};
use gradus_tensor::Tensor;
use gradus_tensor::io::safetensors;
use serde_json::{Value, json};

use super::{Folder, base};

/// The error of opening a folder as the pipeline of its head.
fn refusal(files: Value) -> String {
    let folder = Folder::new(&files);
    let opened = pipelines::open(folder.path());
    opened.err().unwrap_or_else(|| panic!("opened: {files}")).to_string()
}

/// A folder of sentence-transformers whose second module is of this type.
fn modules(second: &str) -> Value {
    json!([{"path": "", "type": "sentence_transformers.models.Transformer"},
        {"path": "1_Pooling", "type": second}])
}

/// The same with a Pooling of these keys.
fn pooling(keys: Value) -> Value {
    let list = modules("sentence_transformers.models.Pooling");
    json!({"modules.json": list, "1_Pooling/config.json": keys})
}

/// The same with a Dense module of these keys after the Pooling.
fn dense(keys: Value) -> Value {
    let mut module = json!({"in_features": 8, "out_features": 2});
    module.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    let mut files = pooling(json!({}));
    let last = json!({"path": "2_Dense", "type": "sentence_transformers.models.Dense"});
    files["modules.json"].as_array_mut().unwrap().push(last);
    with(files, "2_Dense/config.json", module)
}

/// The files with one more.
fn with(mut files: Value, path: &str, content: Value) -> Value {
    files[path] = content;
    files
}

/// config.json with these keys.
fn config(keys: Value) -> Value {
    json!({"config.json": Folder::config(keys)})
}

fn tokenizer(keys: Value) -> Value {
    json!({"tokenizer_config.json": keys})
}

/// Checks that each folder is refused by an error with these parts.
fn all_refused(cases: &[(Value, &[&str])]) {
    for (files, parts) in cases {
        let error = refusal(files.clone());
        assert!(parts.iter().all(|part| error.contains(part)), "{parts:?}: {error}");
        // Flags that no program has must not be advised.
        assert!(!error.contains("pass a pooling"), "{error}");
    }
}

#[test]
fn a_configuration_of_another_model_is_refused_by_name() {
    all_refused(&[
        (
            config(json!({"model_type": "deberta-v2"})),
            &["deberta-v2", "disentangled", "Gradus runs bert, roberta, xlm-roberta, camembert"],
        ),
        (config(json!({"model_type": "llama"})), &["`llama`", "grouped heads", "electra"]),
        (config(json!({"model_type": "gpt2"})), &["is not a parameter of GPT2", "`gpt2`"]),
        (config(json!({"model_type": "mine"})), &["`mine`", "does not know it"]),
        (config(json!({"model_type": 7})), &["model_type is 7", "must be a string"]),
        // The weights are BERT's.
        (config(json!({"model_type": "roberta"})), &["no `roberta.embeddings", "another model"]),
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
        (
            json!({"adapter_config.json": {"peft_type": "LORA"}}),
            &["adapter_config.json", "no adapter_model.safetensors"],
        ),
        (json!({"router_config.json": {}}), &["router_config.json", "Router"]),
    ]);
}

#[test]
fn a_tokenizer_that_gradus_lacks_is_refused_by_name() {
    all_refused(&[
        (
            tokenizer(
                json!({"tokenizer_class": "BertJapaneseTokenizer", "mecab_kwargs": {"a": 1}}),
            ),
            &["BertJapaneseTokenizer"],
        ),
        (
            tokenizer(json!({"tokenizer_class": "XLMRobertaTokenizer"})),
            &["sentencepiece.bpe.model", "it has vocab.txt", "save_pretrained"],
        ),
        (
            with(
                tokenizer(json!({"tokenizer_class": "RobertaTokenizer"})),
                "vocab.json",
                json!({"a": 0}),
            ),
            &["vocab.json", "no merges.txt"],
        ),
        (
            with(
                with(
                    tokenizer(json!({"tokenizer_class": "RobertaTokenizer"})),
                    "vocab.json",
                    json!({"a": 0}),
                ),
                "merges.txt",
                json!("#version: 0.2\na b c\n"),
            ),
            &["merges.txt", "line 2", "`a b c`"],
        ),
        (
            with(
                tokenizer(json!({"tokenizer_class": "CamembertTokenizer"})),
                "sentencepiece.bpe.model",
                json!("no protobuf"),
            ),
            &["sentencepiece.bpe.model", "not a model of SentencePiece"],
        ),
        (
            tokenizer(json!({"tokenizer_class": "RobertaTokenizer", "add_prefix_space": "no"})),
            &["add_prefix_space"],
        ),
        (tokenizer(json!({"tokenizer_class": "KoBertTokenizer"})), &["KoBertTokenizer"]),
        // Such a class does not read tokenizer.json.
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
    ]);
}

#[test]
fn a_module_that_gradus_lacks_is_refused_by_name() {
    all_refused(&[
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
            &["1_Pooling", "is missing"],
        ),
        (
            pooling(json!({"pooling_mode": "attention"})),
            &["pooling_mode", "attention", "weightedmean"],
        ),
        (pooling(json!({"include_prompt": "no"})), &["include_prompt"]),
        (dense(json!({"activation_function": "torch.nn.modules.activation.Mish"})), &["Mish"]),
        (dense(json!({"in_features": 9})), &["9 numbers", "gives 8"]),
        (dense(json!({"module_input_name": "token_embeddings"})), &["module_input_name"]),
        (dense(json!({})), &["2_Dense", "model.safetensors"]),
    ]);
}

#[test]
fn a_setting_of_sentence_transformers_is_refused_by_name() {
    all_refused(&[
        (
            with(
                pooling(json!({})),
                "config_sentence_transformers.json",
                json!({"model_type": "SparseEncoder"}),
            ),
            &["SparseEncoder"],
        ),
        (
            with(
                pooling(json!({})),
                "config_sentence_transformers.json",
                json!({"default_prompt_name": "x"}),
            ),
            &["`x`", "no prompt"],
        ),
        (
            with(
                pooling(json!({})),
                "config_sentence_transformers.json",
                json!({"similarity_fn_name": "maxsim"}),
            ),
            &["maxsim"],
        ),
        (
            with(
                pooling(json!({})),
                "sentence_bert_config.json",
                json!({"transformer_task": "fill-mask"}),
            ),
            &["transformer_task"],
        ),
        (
            with(
                pooling(json!({})),
                "sentence_bert_config.json",
                json!({"query_expansion": {"length": 32}}),
            ),
            &["query_expansion"],
        ),
        (
            with(
                pooling(json!({})),
                "sentence_bert_config.json",
                json!({"model_args": {"adapter": "x"}}),
            ),
            &["model_args", "adapter"],
        ),
        (
            with(
                pooling(json!({})),
                "sentence_bert_config.json",
                json!({"config_args": {"rope": {"factor": 2}}}),
            ),
            &["config_args", "rope"],
        ),
        (
            with(pooling(json!({})), "sentence_bert_config.json", json!({"max_seq_length": 0})),
            &["max_seq_length"],
        ),
    ]);
}

/// Arguments that change no number.
#[test]
fn a_harmless_argument_is_taken() {
    let arguments = json!({"torch_dtype": "float16", "attn_implementation": "sdpa", "revision": null,
        "adapter": null, "rope": {}});
    let files =
        with(pooling(json!({})), "sentence_bert_config.json", json!({"model_args": arguments}));
    TextEmbedder::open(Folder::new(&files).path(), None, None).unwrap();
}

/// Checks that each folder is refused by an error that names its key and a file.
fn refused_by_key(cases: &[(Value, &str)]) {
    for (files, key) in cases {
        let error = refusal(files.clone());
        assert!(error.contains(key) && error.contains(".json"), "{key}: {error}");
    }
}

/// Ignoring a value of another kind would take the default without a word.
#[test]
fn a_value_of_another_kind_is_refused_by_its_key() {
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
    refused_by_key(&cases);
}

#[test]
fn a_value_of_another_kind_in_a_module_is_refused_by_its_key() {
    let mut cases: Vec<(Value, &str)> = Vec::new();
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
        let mut files = pooling(json!({}));
        files[file] = if value.get("prompts").is_some() { value } else { json!({key: value}) };
        cases.push((files, key));
    }
    cases.push((dense(json!({"activation_function": null})), "activation_function"));
    cases.push((dense(json!({"activation_function": 5})), "activation_function"));
    cases.push((dense(json!({"bias": "yes"})), "bias"));
    cases.push((dense(json!({"use_residual": 1})), "use_residual"));
    cases.push((dense(json!({"out_features": 2.5})), "out_features"));
    let mut files = pooling(json!({}));
    files["modules.json"][0]["path"] = json!(5);
    cases.push((files, "path is 5"));
    refused_by_key(&cases);
}

/// Otherwise the last of two values for one key would count without a word.
#[test]
fn a_key_that_stands_twice_is_refused_by_name() {
    let base_files = ["config.json", "tokenizer_config.json", "added_tokens.json"];
    let sentence_files =
        ["modules.json", "sentence_bert_config.json", "config_sentence_transformers.json"];
    for name in base_files.iter().chain(&sentence_files) {
        let mut files = pooling(json!({}));
        files["config.json"] = Folder::config(json!({}));
        let text = match &files[*name] {
            Value::Null => "{}".to_string(),
            value => value.to_string(),
        };
        let twice = r#"{"idx": 1, "idx": 2, "#;
        files[*name] = json!(text.replacen('{', twice, 1).replace(", }", "}"));
        let error = refusal(files);
        assert!(error.contains("`idx` stands twice") && error.contains(name), "{error}");
    }
    let path = base().join("tokenizer.json");
    assert!(!path.exists(), "the base has a vocabulary alone");
    let error = refusal(json!({"tokenizer.json": r#"{"model": {}, "model": {}}"#}));
    assert!(error.contains("`model` stands twice") && error.contains("tokenizer.json"), "{error}");
}

/// Without modules.json the place of a Dense layer is unknown.
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

/// An encoder without one of BERT's parameters, or with another, neither trains nor answers.
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
        assert!(error.contains(foreign) && error.contains("not a parameter of BERT"), "{error}");
    }
    // Other heads and buffers do not belong to the encoder; a head may be missing.
    let mut tensors = whole.clone();
    tensors.insert("bert.embeddings.position_ids".into(), Tensor::scalar(1u32));
    tensors.insert("qa_outputs.bias".into(), Tensor::scalar(1f32));
    tensors.retain(|name, _| !name.starts_with("classifier.") && !name.contains("pooler"));
    save(&tensors);
    assert_eq!(train().unwrap().len(), 4);
    // A note tells of layers in the file that are not used.
    save(&whole);
    folder.write("config.json", &Folder::config(json!({"num_hidden_layers": 1})));
    let notes = Pretrained::open(folder.path()).unwrap().notes;
    assert!(notes[0].contains("2 layers") && notes[0].contains("first 1"), "{notes:?}");
}
