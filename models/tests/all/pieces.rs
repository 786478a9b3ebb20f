//! Masked words and sparse vectors of models with byte-level and Unigram pieces, against
//! `transformers` and sentence-transformers: the folders and answers of `golden/pieces.py`.

use std::path::{Path, PathBuf};

use gradus_models::pipelines::{FillMask, Pipeline, TextEmbedder, open};
use gradus_tensor::Tensor;
use gradus_tensor::io::safetensors::{self, SafeTensors};
use serde_json::{Value, json};

fn golden() -> (PathBuf, Value) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/pieces");
    let text = std::fs::read_to_string(folder.join("expected.json")).unwrap();
    (folder, serde_json::from_str(&text).unwrap())
}

fn texts(golden: &Value, key: &str) -> Vec<String> {
    let texts = golden[key].as_array().unwrap().iter();
    texts.map(|text| text.as_str().unwrap().to_string()).collect()
}

fn opened(folder: &Path) -> FillMask {
    FillMask::open(folder.to_str().unwrap()).unwrap()
}

#[test]
fn masks_are_filled_as_by_transformers() {
    let (folder, golden) = golden();
    let masked = texts(&golden, "masked");
    for (name, expected) in golden["models"].as_object().unwrap() {
        let model = opened(&folder.join(name));
        assert_eq!(model.mask(), "<mask>");
        let mut sequences = 0;
        for (text, expected) in masked.iter().zip(expected["fills"].as_array().unwrap()) {
            let fills = model.fill(text, 12).unwrap();
            assert_eq!(fills.len(), expected.as_array().unwrap().len());
            for (fills, expected) in fills.iter().zip(expected.as_array().unwrap()) {
                for (fill, expected) in fills.iter().zip(expected.as_array().unwrap()) {
                    let score = expected["score"].as_f64().unwrap();
                    assert!((f64::from(fill.score) - score).abs() < 1e-5, "{name}: {text}");
                    assert_eq!(json!(fill.id), expected["token"], "{name}: {text}");
                    assert_eq!(json!(fill.token_str), expected["token_str"]);
                    // transformers decodes the whole text: special tokens of a text with several
                    // masks are in it, unknown words are not, and a space is added.
                    let sequence = expected["sequence"].as_str().unwrap();
                    if expected["sequence"].as_str().unwrap().contains("<s>")
                        || (name == "xlm_roberta" && text.contains('😀'))
                    {
                        continue;
                    }
                    assert_eq!(fill.sequence.trim_start(), sequence.trim_start(), "{name}: {text}");
                    sequences += 1;
                }
            }
        }
        assert!(sequences >= 24, "{name}");
    }
}

/// A folder of sentence-transformers around a masked language model.
fn sparse_folder(model: &Path, pooling: &Value) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(model).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, dir.path().join(path.file_name().unwrap())).unwrap();
    }
    let module = |idx: usize, path: &str, kind: &str| json!({"idx": idx, "name": idx.to_string(), "path": path, "type": format!("sentence_transformers.{kind}")});
    std::fs::create_dir(dir.path().join("1_SpladePooling")).unwrap();
    for (name, content) in [
        (
            "modules.json",
            json!([
                module(0, "", "base.modules.transformer.Transformer"),
                module(1, "1_SpladePooling", "sparse_encoder.modules.SpladePooling")
            ]),
        ),
        ("1_SpladePooling/config.json", pooling.clone()),
        (
            "sentence_bert_config.json",
            json!({
                "max_seq_length": 12, "transformer_task": "fill-mask", "module_output_name": "token_embeddings",
                "modality_config": {"text": {"method": "forward", "method_output_name": "logits"}},
            }),
        ),
        (
            "config_sentence_transformers.json",
            json!({"model_type": "SparseEncoder", "prompts": {"query": "the card "}}),
        ),
    ] {
        std::fs::write(dir.path().join(name), content.to_string()).unwrap();
    }
    dir
}

#[test]
fn sparse_vectors_are_those_of_sentence_transformers() {
    let (folder, golden) = golden();
    let texts = texts(&golden, "texts");
    let mut count = 0;
    for (name, expected) in golden["models"].as_object().unwrap() {
        for case in expected["sparse"].as_array().unwrap() {
            let dir = sparse_folder(&folder.join(name), &case["settings"]);
            let Pipeline::FillMask(model) = open(dir.path().to_str().unwrap()).unwrap() else {
                panic!("a sparse encoder is a masked language model");
            };
            let prompt = model.prompts().get(case["prompt"].as_str()).unwrap().unwrap_or_default();
            let vectors = model.sparse(&texts, prompt).unwrap();
            for (vector, row) in vectors.iter().zip(case["rows"].as_array().unwrap()) {
                let row = row.as_array().unwrap();
                assert_eq!(vector.len(), row.len(), "{name}: {}", case["settings"]);
                for (found, expected) in vector.iter().zip(row) {
                    assert_eq!(json!(found.index), expected[0]);
                    let expected = expected[1].as_f64().unwrap();
                    let distance = f64::from(found.value) - expected;
                    assert!(
                        distance.abs() < 1e-5 * expected.abs().max(1.0),
                        "{name}: {} {distance}",
                        case["settings"]
                    );
                    count += 1;
                }
            }
        }
    }
    assert!(count > 1000);
    // A plain masked language model gives the vectors of the usual settings.
    let name = "roberta_prefix";
    let plain = opened(&folder.join(name)).sparse(&texts[1..2], "").unwrap();
    let usual = &golden["models"][name]["sparse"][0]["rows"][1];
    assert_eq!(plain[0].len(), usual.as_array().unwrap().len());
}

/// The same model with its parameters under other names: what older programs and tied weights leave.
#[test]
fn tied_and_older_names_are_the_same_model() {
    let (folder, _) = golden();
    let folder = folder.join("roberta_prefix");
    let text = "Paris is the <mask> of France.";
    let expected = opened(&folder).fill(text, 3).unwrap();
    let file = SafeTensors::open(folder.join("model.safetensors")).unwrap();
    let decoder = "cls.predictions.decoder";
    let embeddings = "bert.embeddings.word_embeddings.weight";
    type Renamed<'a> = &'a dyn Fn(&str) -> Vec<String>;
    let renamed: [Renamed; 5] = [
        // Only the decoder has the tied weight, or the bias, or both have both.
        &|name| vec![if name == embeddings { format!("{decoder}.weight") } else { name.into() }],
        &|name| vec![name.replace("predictions.bias", "predictions.decoder.bias")],
        &|name| match name {
            _ if name == embeddings => vec![name.into(), format!("{decoder}.weight")],
            "cls.predictions.bias" => vec![name.into(), format!("{decoder}.bias")],
            _ => vec![name.into()],
        },
        &|name| {
            let name = name.replace("LayerNorm.weight", "LayerNorm.gamma");
            vec![name.replace("LayerNorm.bias", "LayerNorm.beta")]
        },
        &|name| vec![name.trim_start_matches("bert.").into()],
    ];
    for (case, rename) in renamed.iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["config.json", "tokenizer.json", "tokenizer_config.json"] {
            std::fs::copy(folder.join(name), dir.path().join(name)).unwrap();
        }
        let tensors: Vec<(String, Tensor)> = file
            .names()
            .into_iter()
            .filter(|name| !name.starts_with(decoder))
            .flat_map(|name| {
                let tensor = file.tensor(&name).unwrap();
                rename(&name).into_iter().map(move |name| (name, tensor.clone()))
            })
            .collect();
        safetensors::save(dir.path().join("model.safetensors"), tensors, None).unwrap();
        let model = opened(dir.path());
        assert_eq!(model.fill(text, 3).unwrap(), expected, "{case}");
        assert_eq!(model.unexpected(), [""; 0], "{case}");
    }
}

/// A decoder with values of its own would give other logits.
#[test]
fn a_decoder_of_its_own_is_refused() {
    let (folder, _) = golden();
    let folder = folder.join("roberta_prefix");
    let dir = tempfile::tempdir().unwrap();
    for name in ["config.json", "tokenizer.json", "tokenizer_config.json"] {
        std::fs::copy(folder.join(name), dir.path().join(name)).unwrap();
    }
    let file = SafeTensors::open(folder.join("model.safetensors")).unwrap();
    let twins = [
        ("cls.predictions.decoder.weight", "bert.embeddings.word_embeddings.weight"),
        ("cls.predictions.decoder.bias", "cls.predictions.bias"),
    ];
    for (twin, shared) in twins {
        let names = file.names().into_iter().filter(|name| !name.contains("decoder"));
        let mut tensors: Vec<(String, Tensor)> =
            names.map(|name| (name.clone(), file.tensor(&name).unwrap())).collect();
        let other = file.tensor(shared).unwrap().add_scalar(0.01).unwrap();
        tensors.push((twin.into(), other));
        safetensors::save(dir.path().join("model.safetensors"), tensors, None).unwrap();
        let error = FillMask::open(dir.path().to_str().unwrap()).err().unwrap().to_string();
        assert!(error.contains(twin) && error.contains("model.safetensors"), "{error}");
    }
}

#[test]
fn a_sparse_encoder_gives_no_dense_vectors() {
    let (folder, _) = golden();
    let dir = sparse_folder(&folder.join("roberta_prefix"), &json!({}));
    let path = dir.path().to_str().unwrap();
    let error = TextEmbedder::open(path, None, None).err().unwrap().to_string();
    assert!(error.contains("modules.json") && error.contains("--sparse"), "{error}");
    let pooling = dir.path().join("1_SpladePooling/config.json");
    std::fs::write(&pooling, r#"{"pooling_strategy": "mean"}"#).unwrap();
    let error = FillMask::open(path).err().unwrap().to_string();
    assert!(error.contains("pooling_strategy is `mean`"), "{error}");
    std::fs::write(&pooling, "{}").unwrap();
    std::fs::remove_file(dir.path().join("sentence_bert_config.json")).unwrap();
    let error = FillMask::open(path).err().unwrap().to_string();
    assert!(error.contains("gives no logits"), "{error}");
}
