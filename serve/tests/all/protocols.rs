//! A model gives the same answers through every protocol, each in the shape of the protocol.

use crate::common::{Head, Server, TEXTS, close, gpu, numbers, shared};
use base64::Engine;
use gradus_models::Pooling;
use gradus_tensor::io::safetensors::SafeTensors;
use serde_json::{Value, json};

/// The embeddings of texts through every protocol.
fn through_every_door(server: &Server, model: &str, texts: &[&str]) -> Vec<(String, Vec<f64>)> {
    let flat = |rows: &Value| rows.as_array().unwrap().iter().flat_map(numbers).collect::<Vec<_>>();
    let mut found = Vec::new();
    found.push(("tei".to_string(), flat(&server.post("/embed", json!({"inputs": texts})).ok())));
    found.push(("hf".into(), flat(&server.post("/", json!({"inputs": texts})).ok())));

    let asks = json!({"input": texts, "model": model, "encoding_format": "float"});
    let answer = server.post("/v1/embeddings", asks).ok();
    let data = answer["data"].as_array().unwrap();
    found.push(("openai".into(), data.iter().flat_map(|d| numbers(&d["embedding"])).collect()));
    let asks = json!({"input": texts, "model": model, "encoding_format": "base64"});
    let answer = server.post("/v1/embeddings", asks).ok();
    let mut values = Vec::new();
    for (i, item) in answer["data"].as_array().unwrap().iter().enumerate() {
        assert_eq!((&item["index"], &item["object"]), (&json!(i), &json!("embedding")));
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(item["embedding"].as_str().unwrap())
            .unwrap();
        values.extend(f32s(&bytes));
    }
    found.push(("openai, base64".into(), values));

    let path = format!("/predictions/{model}");
    found.push(("torchserve".into(), flat(&server.post(&path, json!(texts)).ok())));
    let each = texts.iter().flat_map(|text| numbers(&server.post(&path, text).ok()));
    found.push(("torchserve, raw".into(), each.collect()));

    let path = format!("/v1/models/{model}:predict");
    let answer = server.post(&path, json!({"instances": texts})).ok();
    found.push(("tensorflow".into(), flat(&answer["predictions"])));
    let answer = server.post(&path, json!({"inputs": {"text": texts}})).ok();
    found.push(("tensorflow, columns".into(), flat(&answer["outputs"])));

    let path = format!("/v2/models/{model}/infer");
    let input = json!({"name": "TEXT", "shape": [texts.len()], "datatype": "BYTES", "data": texts});
    let answer = server.post(&path, json!({"id": "7", "inputs": [input]})).ok();
    assert_eq!(answer["id"], "7");
    assert_eq!(answer["outputs"][0]["shape"][0], texts.len());
    found.push(("kserve".into(), numbers(&answer["outputs"][0]["data"])));

    found.push(("kserve, binary".into(), in_bytes(server, &path, texts)));
    found
}

/// The embeddings as tritonclient asks for them: bytes after the JSON, and no Content-Type.
fn in_bytes(server: &Server, path: &str, texts: &[&str]) -> Vec<f64> {
    let mut bytes = Vec::new();
    for text in texts {
        bytes.extend((text.len() as u32).to_le_bytes());
        bytes.extend(text.as_bytes());
    }
    let header = json!({
        "inputs": [{"name": "TEXT", "shape": [texts.len(), 1], "datatype": "BYTES",
                    "parameters": {"binary_data_size": bytes.len()}}],
        "outputs": [{"name": "EMBEDDING", "parameters": {"binary_data": true}}],
    });
    let header = header.to_string();
    let length = header.len().to_string();
    let body = [header.as_bytes(), &bytes].concat();
    let reply = server.send("POST", path, &[("Inference-Header-Content-Length", &length)], &body);
    assert_eq!(reply.code, 200, "{}", String::from_utf8_lossy(&reply.body));
    let at: usize = reply.header("inference-header-content-length").unwrap().parse().unwrap();
    let head: Value = serde_json::from_slice(&reply.body[..at]).unwrap();
    let size = &head["outputs"][0]["parameters"]["binary_data_size"];
    assert_eq!(size, &json!(reply.body.len() - at));
    f32s(&reply.body[at..]).collect()
}

fn f32s(bytes: &[u8]) -> impl Iterator<Item = f64> {
    let (chunks, rest) = bytes.as_chunks::<4>();
    assert!(rest.is_empty());
    chunks.iter().map(|b| f64::from(f32::from_le_bytes(*b)))
}

#[test]
fn every_door_gives_the_pipelines_embeddings() {
    let (server, dir) = Server::tiny(&[("tiny", Head::None)], &["--max-batch-tokens", "24"]);
    let folder = dir.path().join("tiny");
    let embedder =
        gradus_models::pipelines::TextEmbedder::open(folder.to_str().unwrap(), None, true).unwrap();
    let expected = embedder.embed(&TEXTS).unwrap().to_vec::<f32>().unwrap();
    let expected: Vec<f64> = expected.into_iter().map(f64::from).collect();
    for (door, found) in through_every_door(&server, "tiny", &TEXTS) {
        eprintln!("{door}");
        close(&found, &expected, 2e-6);
    }
}

#[test]
fn every_door_gives_minilms_golden_embeddings() {
    let Some(shared) = shared() else { return };
    let golden = SafeTensors::open(shared.join("golden/a_embed.safetensors")).unwrap();
    let expected = golden.tensor("sentence_embeddings").unwrap().to_vec::<f32>().unwrap();
    let expected: Vec<f64> = expected.into_iter().map(f64::from).collect();
    let about = std::fs::read(shared.join("golden/a_embed.json")).unwrap();
    let about: Value = serde_json::from_slice(&about).unwrap();
    let sentences = about["sentences"].as_array().unwrap();
    let sentences: Vec<&str> = sentences.iter().map(|s| s.as_str().unwrap()).collect();
    let model = format!("minilm={}", shared.join("models/minilm").display());
    let server = Server::start(&["--model", &model]);
    for (door, found) in through_every_door(&server, "minilm", &sentences) {
        eprintln!("{door}");
        close(&found, &expected, 1e-5);
    }
}

#[test]
fn a_classifier_answers_in_every_shape() {
    let (server, _dir) = Server::tiny(&[("intents", Head::Sequence(Pooling::Mean))], &[]);
    let text = TEXTS[0];
    let expected = server.post("/predict", json!({"inputs": text})).ok();
    let best = expected[0]["label"].as_str().unwrap().to_string();
    let score = expected[0]["score"].as_f64().unwrap();
    let total: f64 =
        expected.as_array().unwrap().iter().map(|s| s["score"].as_f64().unwrap()).sum();
    assert!((total - 1.0).abs() < 1e-5);
    let same = |label: &Value, found: &Value| {
        assert_eq!(label, best.as_str());
        close(&[found.as_f64().unwrap()], &[score], 1e-6);
    };

    let batch = server.post("/predict", json!({"inputs": [[text], [text, TEXTS[1]]]})).ok();
    same(&batch[0][0]["label"], &batch[0][0]["score"]);
    let pair = server.post("/predict", json!({"inputs": [text, TEXTS[1]]})).ok();
    assert_eq!(pair, batch[1]);
    let raw = server.post("/predict", json!({"inputs": text, "raw_scores": true})).ok();
    assert!((raw[0]["score"].as_f64().unwrap() - score).abs() > 1e-3);

    let nested = server.post("/", json!({"inputs": text, "parameters": {"top_k": 2}})).ok();
    same(&nested[0][0]["label"], &nested[0][0]["score"]);
    assert_eq!(nested[0].as_array().unwrap().len(), 2);

    let probabilities = server.post("/predictions/intents", text).ok();
    same(&json!(best), &probabilities[&best]);
    let probabilities = server.post("/predictions/intents/1.0", json!({"data": [text]})).ok();
    same(&json!(best), &probabilities[0][&best]);

    let classes =
        server.post("/v1/models/intents:classify", json!({"examples": [{"text": text}]})).ok();
    same(&classes["results"][0][0][0], &classes["results"][0][0][1]);
    let rows = server
        .post("/v1/models/intents/versions/1:predict", json!({"instances": [{"text": text}]}))
        .ok();
    assert_eq!(rows["predictions"][0]["label"], best.as_str());
    let columns =
        server.post("/v1/models/intents/labels/stable:predict", json!({"inputs": [text]})).ok();
    assert_eq!(columns["outputs"]["label"], json!([best]));
    assert_eq!(columns["outputs"]["scores"][0], rows["predictions"][0]["scores"]);

    let asks = json!({
        "inputs": [{"name": "TEXT", "shape": [1, 1], "datatype": "BYTES", "data": [text]}],
        "outputs": [{"name": "LABEL"}, {"name": "SCORES", "parameters": {"classification": 2}}],
    });
    let answer = server.post("/v2/models/intents/versions/1/infer", asks).ok();
    assert_eq!(answer["outputs"][0]["data"], json!([best]));
    assert_eq!(answer["outputs"][1]["shape"], json!([1, 2]));
    let class = answer["outputs"][1]["data"][0].as_str().unwrap();
    assert!(class.ends_with(&format!(":{best}")), "{class}");
    close(&[class.split(':').next().unwrap().parse().unwrap()], &[score], 1e-6);

    let refused = server.post("/embed", json!({"inputs": text}));
    assert_eq!((refused.code, &refused.json()["error_type"]), (424, &json!("Backend")));
    let info = server.get("/info").ok();
    assert_eq!(info["model_type"]["classifier"]["label2id"]["rate"], 2);
    assert_eq!(info["architecture"], "bert");
}

#[test]
fn masks_are_filled_and_words_tagged() {
    let heads = [("masks", Head::Masked), ("words", Head::Tokens)];
    let (server, _dir) = Server::tiny(&heads, &[]);
    let asks = json!({"inputs": "my [MASK] was stolen", "parameters": {"top_k": 3}});
    let fills = server.post("/models/masks", asks).ok();
    assert_eq!(fills.as_array().unwrap().len(), 3);
    let word = fills[0]["token_str"].as_str().unwrap();
    assert!(fills[0]["token"].is_u64());
    let sequence = fills[0]["sequence"].as_str().unwrap();
    assert!(sequence.ends_with("was stolen") && sequence.contains(word.trim_start_matches("##")));
    let two = server.post("/models/masks", json!({"inputs": "[MASK] [MASK] was"})).ok();
    assert_eq!((two.as_array().unwrap().len(), two[0].as_array().unwrap().len()), (2, 5));
    let none = server.post("/models/masks", json!({"inputs": "no mask"}));
    assert_eq!((none.code, &none.json()["error_type"]), (422, &json!("Validation")));

    let asks = json!({"inputs": TEXTS[0], "parameters": {"aggregation_strategy": "none"}});
    for word in server.post("/models/words", asks).ok().as_array().unwrap() {
        let (start, end) = (word["start"].as_u64().unwrap(), word["end"].as_u64().unwrap());
        assert_eq!(word["word"], TEXTS[0][start as usize..end as usize]);
    }
    assert!(server.post("/models/words", json!({"inputs": TEXTS[0]})).ok().is_array());
}

#[test]
fn tokens_are_told_and_taken() {
    let (server, _dir) = Server::tiny(&[("tiny", Head::None)], &[]);
    let tokens = server.post("/tokenize", json!({"inputs": "My Card"})).ok();
    let tokens = tokens[0].as_array().unwrap();
    assert_eq!((&tokens[0]["special"], &tokens[0]["start"]), (&json!(true), &Value::Null));
    let ids: Vec<u64> = tokens.iter().map(|t| t["id"].as_u64().unwrap()).collect();
    assert_eq!(server.post("/decode", json!({"ids": ids})).ok(), json!(["my card"]));
    let by_text = server.post("/embed", json!({"inputs": "My Card"}));
    let counted = ["x-compute-tokens", "x-compute-characters"].map(|name| by_text.header(name));
    assert_eq!(counted, [Some(tokens.len().to_string().as_str()), Some("7")]);
    let by_text = by_text.ok();
    let bare = &ids[1..ids.len() - 1];
    for ids in [json!(ids), json!([ids]), json!(bare)] {
        let by_ids = server.post("/v1/embeddings", json!({"input": ids, "model": "tiny"})).ok();
        close(&numbers(&by_ids["data"][0]["embedding"]), &numbers(&by_text[0]), 1e-6);
        assert_eq!(by_ids["usage"]["total_tokens"], tokens.len());
    }
    let all = server.post("/embed_all", json!({"inputs": "My Card"})).ok();
    assert_eq!(all[0].as_array().unwrap().len(), tokens.len());
    let some = server.post("/embed", json!({"inputs": "My Card", "dimensions": 4})).ok();
    let some = numbers(&some[0]);
    assert_eq!(some.len(), 4);
    close(&[some.iter().map(|x| x * x).sum()], &[1.0], 1e-6);
    let long = "card ".repeat(100);
    assert_eq!(server.post("/embed", json!({"inputs": long, "truncate": false})).code, 413);
    let ends = |direction: &str| {
        let asks = json!({"inputs": format!("{long} stolen"), "truncation_direction": direction});
        numbers(&server.post("/embed", asks).ok()[0])
    };
    assert_ne!(ends("Left"), ends("Right"));
    let asks = json!({"inputs": {"source_sentence": TEXTS[0], "sentences": [TEXTS[0], TEXTS[1]]}});
    let similar = numbers(&server.post("/similarity", asks).ok());
    assert!((similar[0] - 1.0).abs() < 1e-5 && similar[1] < 0.999, "{similar:?}");
}

/// Sparse vectors come from a masked language model: ascending ids, nothing that is 0.
#[test]
fn sparse_vectors_are_lists_of_ids_with_numbers() {
    let heads = [("words", Head::None), ("blanks", Head::Masked)];
    let (server, _dir) = Server::tiny(&heads, &[]);
    let all = server.post("/embed_sparse", json!({"inputs": TEXTS})).ok();
    let all = all.as_array().unwrap();
    assert_eq!(all.len(), TEXTS.len());
    for (text, vector) in TEXTS.iter().zip(all) {
        let vector = vector.as_array().unwrap();
        let ids: Vec<u64> = vector.iter().map(|v| v["index"].as_u64().unwrap()).collect();
        assert!(ids.len() > 1 && ids.is_sorted_by(|a, b| a < b), "{ids:?}");
        assert!(vector.iter().all(|v| v["value"].as_f64().unwrap() > 0.0));
        let alone = server.post("/embed_sparse", json!({"inputs": text, "model": "blanks"})).ok();
        alike(text, &alone[0], &json!(vector));
    }
    let tokens = server.post("/tokenize", json!({"inputs": TEXTS[0], "model": "blanks"})).ok();
    let tokens = tokens[0].as_array().unwrap();
    let ids: Vec<u64> = tokens.iter().map(|t| t["id"].as_u64().unwrap()).collect();
    alike("ids", &server.post("/embed_sparse", json!({"inputs": [ids]})).ok()[0], &all[0]);
    // A text with the mask is a text like others here, and one without is no error.
    assert_eq!(server.post("/embed_sparse", json!({"inputs": "a [MASK]"})).code, 200);
    let (alone, _dir) = Server::tiny(&[("words", Head::None)], &[]);
    let refused = alone.post("/embed_sparse", json!({"inputs": "a"}));
    assert_eq!(refused.code, 424);
    assert!(refused.text().contains("fill-mask"), "{}", refused.text());
}

/// A server on a GPU: every task, alone and from several threads at once.
#[test]
fn a_gpu_serves_the_same() {
    if gpu().is_none() {
        return;
    }
    let heads = [
        ("words", Head::None),
        ("intents", Head::Sequence(Pooling::Mean)),
        ("blanks", Head::Masked),
        ("names", Head::Tokens),
    ];
    let started = |device| Server::tiny(&heads, &["--device", device]);
    let ((cpu, _one), (gpu, _other)) = (started("cpu"), started("gpu"));
    let asks = [
        ("/models/words", json!({"inputs": TEXTS})),
        ("/models/intents", json!({"inputs": TEXTS})),
        ("/models/blanks", json!({"inputs": "how do i [MASK] my card"})),
        ("/models/names", json!({"inputs": TEXTS[0]})),
        ("/attention", json!({"model": "words", "inputs": TEXTS[0]})),
    ];
    let expected = asks.clone().map(|(path, body)| cpu.post(path, body).ok());
    let (path, body) = &asks[0];
    assert_eq!(gpu.post(path, body).header("x-compute-type"), Some("gpu"));
    assert_eq!(cpu.post(path, body).header("x-compute-type"), Some("cpu"));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for ((path, body), expected) in asks.iter().zip(&expected) {
                    let found = gpu.post(path, body).ok();
                    alike(path, &found, expected);
                }
            });
        }
    });
}

/// Checks for the same shape, the same words, and numbers within 2e-5: attention has five decimals.
fn alike(what: &str, a: &Value, b: &Value) {
    match (a, b) {
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            a.iter().zip(b).for_each(|(a, b)| alike(what, a, b));
        }
        (Value::Object(a), Value::Object(b)) if a.len() == b.len() => {
            a.iter().for_each(|(key, value)| alike(what, value, &b[key]));
        }
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            assert!((a - b).abs() < 2e-5, "{what}: {a} and {b}");
        }
        _ => assert_eq!(a, b, "{what}"),
    }
}
