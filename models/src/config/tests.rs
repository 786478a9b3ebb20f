use super::*;

/// The file that `transformers` writes for a fine-tuned model, with the ids out of order, which a
/// JSON map allows.
const SAVED: &str = r#"{
  "architectures": ["BertForSequenceClassification"], "attention_probs_dropout_prob": 0.1,
  "classifier_dropout": null, "dtype": "float32", "hidden_act": "gelu_pytorch_tanh", "hidden_dropout_prob": 0.2,
  "hidden_size": 64, "id2label": {"0": "b", "10": "k", "1": "a", "2": "c", "3": "d", "4": "e", "5": "f", "6": "g",
  "7": "h", "8": "i", "9": "j"}, "initializer_range": 0.02, "intermediate_size": 128,
  "label2id": {"a": 1, "b": 0, "c": 2, "d": 3, "e": 4, "f": 5, "g": 6, "h": 7, "i": 8, "j": 9, "k": 10},
  "layer_norm_eps": 1e-12, "max_position_embeddings": 40, "model_type": "bert", "num_attention_heads": 4,
  "num_hidden_layers": 2, "pad_token_id": 0, "position_embedding_type": "absolute",
  "problem_type": "single_label_classification", "transformers_version": "4.57.1", "type_vocab_size": 2,
  "use_cache": true, "vocab_size": 99, "nested": {"keep": [1, 2.5, null]}}"#;

fn parse(text: &str) -> Result<EncoderConfig> {
    EncoderConfig::parse(text.as_bytes(), Path::new("m/config.json"))
}

#[test]
fn reads_what_transformers_writes_and_loses_nothing() {
    let config = parse(SAVED).unwrap();
    assert_eq!(config.hidden_act, Activation::GeluTanh);
    assert_eq!((config.id2label[1].as_str(), config.id2label[10].as_str()), ("a", "k"));
    assert_eq!((config.hidden_size / config.num_attention_heads, config.head_dropout()), (16, 0.2));
    assert_eq!(config.num_labels(), Some(11));

    let dir = tempfile::tempdir().unwrap();
    config.save(dir.path()).unwrap();
    let text = std::fs::read_to_string(dir.path().join("config.json")).unwrap();
    let mut before: Map<String, Value> = serde_json::from_str(SAVED).unwrap();
    before.insert("hidden_act".into(), "gelu_new".into());
    let after: Map<String, Value> = serde_json::from_str(&text).unwrap();
    assert_eq!(before, after);
    assert!(text.find("\"9\"").unwrap() < text.find("\"10\"").unwrap(), "{text}");
    assert_eq!(EncoderConfig::load(dir.path()).unwrap().id2label, config.id2label);
}

#[test]
fn presets_are_valid_and_named() {
    for (name, hidden) in [("tiny", 128), ("mini", 256), ("small", 512), ("base", 768)] {
        let config = EncoderConfig::preset(name, 8000).unwrap();
        config.validate().unwrap();
        assert_eq!(
            (config.hidden_size, config.hidden_size / config.num_attention_heads),
            (hidden, 64)
        );
    }
    assert!(EncoderConfig::preset("huge", 8).unwrap_err().to_string().contains("tiny"));
}

#[test]
fn labels_are_written_both_ways() {
    let mut config = EncoderConfig::tiny(100);
    config.set_labels(&Labels::from_names(vec!["no".into(), "yes".into()]).unwrap());
    let dir = tempfile::tempdir().unwrap();
    config.save(dir.path()).unwrap();
    let json: Value =
        serde_json::from_slice(&files::read(&dir.path().join("config.json")).unwrap()).unwrap();
    assert_eq!(json["id2label"]["1"], "yes");
    assert_eq!(json["label2id"]["yes"], 1);
    assert_eq!(json["model_type"], "bert");
    assert_eq!(json["architectures"][0], "BertModel");
    assert_eq!(config.labels().unwrap().id("yes"), Some(1));
}

/// BERT's own numbers, as in `transformers`.
#[test]
fn what_a_file_leaves_out_has_its_default() {
    let sizes = r#"{"vocab_size": 99, "hidden_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 4, "intermediate_size": 128}"#;
    let config = parse(sizes).unwrap();
    assert_eq!((config.initializer_range, config.layer_norm_eps), (0.02, 1e-12));
    assert_eq!((config.hidden_dropout_prob, config.attention_probs_dropout_prob), (0.1, 0.1));
    assert_eq!((config.max_position_embeddings, config.type_vocab_size), (512, 2));
    assert_eq!(config.pad_token_id, Some(0));
}

#[test]
fn labels_of_one_map_suffice() {
    let names = SAVED.replace("\"id2label\": {\"0\"", "\"old\": {\"0\"");
    let config = parse(&names).unwrap();
    assert_eq!(config.labels().unwrap().names()[..3], ["b", "a", "c"]);
    assert_eq!(config.num_labels(), Some(11));
}

#[test]
fn labels_without_names_follow_transformers() {
    let head = SAVED.replace("\"id2label\": {\"0\"", "\"old\": {\"0\"").replace("label2id", "old2");
    let config = parse(&head).unwrap();
    assert_eq!(config.labels().unwrap().names(), ["LABEL_0", "LABEL_1"]);
    assert_eq!(EncoderConfig::tiny(9).num_labels(), None);
}

#[test]
fn what_cannot_work_is_named() {
    for (from, to, expected) in [
        ("\"hidden_size\": 64", "\"hidden_size\": 65", "multiple of num_attention_heads"),
        ("\"num_attention_heads\": 4", "\"num_attention_heads\": 0", "num_attention_heads is 0"),
        ("\"vocab_size\": 99", "\"vocab_size\": 0", "vocab_size is 0"),
        ("\"vocab_size\": 99", "\"vocab_size\": 99999999999999", "vocab_size is 99999999999999"),
        ("\"vocab_size\": 99", "\"vocab_size\": -1", "invalid value"),
        ("\"vocab_size\": 99", "\"size\": 99", "missing field `vocab_size`"),
        ("gelu_pytorch_tanh", "mish", "hidden_act `mish`"),
        ("\"absolute\"", "\"relative_key\"", "position_embedding_type `relative_key`"),
        ("\"model_type\": \"bert\"", "\"model_type\": \"t5\"", "model_type is `t5`"),
        ("\"type_vocab_size\": 2", "\"type_vocab_size\": 0", "type_vocab_size is 0"),
        ("\"use_cache\": true", "\"is_decoder\": true", "is_decoder"),
        (
            "\"hidden_dropout_prob\": 0.2",
            "\"hidden_dropout_prob\": 1.0",
            "hidden_dropout_prob is 1",
        ),
        ("\"layer_norm_eps\": 1e-12", "\"layer_norm_eps\": 0", "layer_norm_eps"),
        ("\"layer_norm_eps\": 1e-12", "\"layer_norm_eps\": 1.0", "layer_norm_eps is 1"),
        ("\"pad_token_id\": 0", "\"pad_token_id\": 99", "pad_token_id 99"),
        ("\"10\": \"k\"", "\"11\": \"k\"", "id 10 is missing"),
        ("\"10\": \"k\"", "\"x\": \"k\"", "key `x`"),
    ] {
        let text = SAVED.replace(from, to);
        assert_ne!(text, SAVED, "{from} is not in the sample");
        let error = parse(&text).unwrap_err().to_string();
        assert!(error.contains(expected), "{to}: {error}");
        assert!(error.contains("m/config.json"), "{error}");
    }
}

#[test]
fn another_architecture_is_named_before_its_missing_keys() {
    let error = parse(r#"{"model_type": "t5", "dim": 768}"#).unwrap_err();
    assert!(error.to_string().contains("model_type is `t5`"), "{error}");
}

#[test]
fn malformed_json_never_panics() {
    for text in ["", "{", "[]", "null", "{}", "\u{feff}{}", "{\"vocab_size\": 1e400}"] {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.contains("config.json"), "{text}: {error}");
    }
    for cut in (0..SAVED.len() - 1).filter(|&i| SAVED.is_char_boundary(i)) {
        assert!(parse(&SAVED[..cut]).is_err());
    }
}

#[test]
fn nulls_read_as_absent() {
    let text = SAVED
        .replace("[\"BertForSequenceClassification\"]", "null")
        .replace("\"pad_token_id\": 0", "\"pad_token_id\": null");
    let config = parse(&text).unwrap();
    assert!(config.architectures.is_empty());
    assert_eq!(config.pad_token_id, None);
}

#[test]
fn the_shared_model_loads() {
    let Ok(shared) = std::env::var("GRADUS_SHARED") else {
        println!("skipped: GRADUS_SHARED is not set");
        return;
    };
    let config = EncoderConfig::load(Path::new(&shared).join("models/minilm")).unwrap();
    assert_eq!((config.hidden_size, config.num_hidden_layers), (384, 6));
}

/// A configuration of this type with these keys.
fn of_type(model_type: &str, keys: &str) -> crate::Result<EncoderConfig> {
    let sizes = match model_type {
        "distilbert" if keys.contains("n_heads") => r#""dim": 8, "n_layers": 2, "hidden_dim": 16"#,
        "distilbert" => r#""dim": 8, "n_layers": 2, "n_heads": 2, "hidden_dim": 16"#,
        _ => {
            r#""hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16"#
        }
    };
    let comma = if keys.is_empty() { "" } else { ", " };
    EncoderConfig::from_json(&format!(
        r#"{{"model_type": "{model_type}", "vocab_size": 50, {sizes}{comma}{keys}}}"#
    ))
}

#[test]
fn dropouts_of_other_types_have_their_own_keys() {
    let keys = r#""dropout": 0.3, "attention_dropout": 0.4, "seq_classif_dropout": 0.5, "qa_dropout": 0.6"#;
    let dropouts = |c: &EncoderConfig| {
        let head = [c.head_dropout(), c.tag_dropout(), c.answer_dropout()];
        ([c.hidden_dropout_prob, c.attention_probs_dropout_prob], head)
    };
    let mut config = of_type("distilbert", keys).unwrap();
    assert_eq!(dropouts(&config), ([0.3, 0.4], [0.5, 0.3, 0.6]));
    config.set_dropout(0.7);
    assert_eq!(dropouts(&config), ([0.7; 2], [0.7; 3]));
    for (model_type, expected) in [
        ("distilbert", ([0.1, 0.1], [0.2, 0.1, 0.1])),
        ("bert", ([0.1, 0.1], [0.1, 0.1, 0.0])),
        ("nomic_bert", ([0.0, 0.0], [0.0, 0.0, 0.0])),
        ("gte", ([0.1, 0.0], [0.1, 0.1, 0.0])),
        ("modernbert", ([0.0, 0.0], [0.0, 0.0, 0.0])),
    ] {
        assert_eq!(dropouts(&of_type(model_type, "").unwrap()), expected, "{model_type}");
    }
    let keys = r#""embedding_dropout": 0.1, "attention_dropout": 0.2, "mlp_dropout": 0.3, "classifier_dropout": 0.4"#;
    let mut config = of_type("modernbert", keys).unwrap();
    assert_eq!(dropouts(&config), ([0.1, 0.2], [0.4; 3]));
    let switches = config.switches().unwrap();
    assert_eq!((switches.attention_output_dropout, switches.intermediate_dropout), (0.2, 0.3));
    config.set_dropout(0.5);
    assert_eq!(config.switches().unwrap().intermediate_dropout, 0.5);
    assert_eq!(of_type("gte", "").unwrap().switches().unwrap().intermediate_dropout, 0.1);
}

#[test]
fn values_that_a_type_does_not_take_are_refused_by_name() {
    let scaled = r#""rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4}"#;
    for (model_type, keys, expected) in [
        ("mpnet", r#""pad_token_id": 0"#, "pad_token_id is 0"),
        (
            "mpnet",
            r#""relative_attention_num_buckets": 16"#,
            "relative_attention_num_buckets is 16",
        ),
        ("nomic_bert", scaled, "rope_type is `yarn`"),
        ("gte", r#""rope_parameters": {"factor": 2}"#, "rope_parameters has `factor`"),
        ("nomic_bert", r#""head_dim": 3"#, "head_dim is 3"),
        ("modernbert", r#""layer_types": ["full_attention"]"#, "layer_types is"),
        (
            "modernbert",
            r#""layer_types": ["full_attention", "chunked_attention"]"#,
            "layer_types is",
        ),
        ("modernbert", r#""classifier_activation": "mish""#, "mish"),
        ("modernbert", r#""norm_bias": 1"#, "norm_bias is 1"),
        ("modernbert", r#""mlp_dropout": 1.5"#, "mlp_dropout is 1.5"),
        ("modernbert", r#""global_rope_theta": -1"#, "global_rope_theta is -1"),
        ("roberta", r#""max_position_embeddings": 2"#, "positions begin after pad_token_id, at 2"),
        ("roberta", r#""type_vocab_size": 0"#, "type_vocab_size is 0"),
        ("distilbert", r#""dropout": 1"#, "config.json: dropout is 1"),
        ("distilbert", r#""n_heads": 3"#, "dim 8 is not a multiple of n_heads 3"),
        ("modernbert", r#""norm_eps": 2"#, "norm_eps is 2"),
        ("distilbert", r#""qa_dropout": 2"#, "qa_dropout is 2"),
    ] {
        let error = of_type(model_type, keys).unwrap_err().to_string();
        assert!(error.contains(expected), "{model_type} {keys}: {error}");
    }
    assert_eq!(of_type("gte", r#""type_vocab_size": 0"#).unwrap().type_vocab_size, 0);
    // The keys of older configurations.
    let keys =
        r#""global_rope_theta": 5e3, "local_rope_theta": 70, "global_attn_every_n_layers": 1"#;
    let switches = of_type("modernbert", keys).unwrap().switches().unwrap();
    let local = switches.local.unwrap();
    assert_eq!((switches.theta, local.theta, local.layers), (Some(5e3), 70.0, vec![false; 2]));
}
