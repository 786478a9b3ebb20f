//! Every field that a protocol's schema has: obeyed, refused by its name, or of no account where
//! that protocol's own server takes no account of it. The table of the book (`book/serving.md`)
//! says the same.

mod common;

use common::{Head, Reply, Server, TEXTS, close, write_model};
use gradus_models::Pooling;
use serde_json::{Value, json};

/// What a field must do to an answer.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Then {
    /// The answer is another than without it.
    Obeyed,
    /// The answer is the same: the value asks for what is done anyway, or for nothing that an
    /// answer shows.
    Same,
    /// The code, and a message with the field's name.
    Refused(u16),
}
use Then::{Obeyed, Refused, Same};

/// A server with a model of every kind; `tiny` has a prompt.
fn server() -> (Server, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let mut args: Vec<String> = Vec::new();
    for (name, head) in [
        ("tiny", Head::None),
        ("ranker", Head::Rank),
        ("intents", Head::Sequence(Pooling::Mean)),
        ("masks", Head::Masked),
        ("words", Head::Tokens),
    ] {
        let folder = dir.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        write_model(&folder, head);
        if head == Head::None {
            let prompts = json!({"prompts": {"query": "how do i "}}).to_string();
            std::fs::write(folder.join("config_sentence_transformers.json"), prompts).unwrap();
        }
        args.extend(["--model".into(), format!("{name}={}", folder.display())]);
    }
    let store = dir.path().to_str().unwrap().to_string();
    args.extend(["--model-store".into(), store]);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    (Server::start(&args), dir)
}

/// An answer without what differs from one request to the next.
fn answer(reply: &Reply) -> Value {
    let mut body = reply.ok();
    if let Some(body) = body.as_object_mut() {
        body.remove("id");
    }
    body
}

/// `base` with a field at a JSON pointer.
fn with(base: &Value, pointer: &str, value: &Value) -> Value {
    let mut body = base.clone();
    let mut place = &mut body;
    for key in pointer.split('/').skip(1) {
        place = match key.parse::<usize>() {
            Ok(i) => &mut place[i],
            Err(_) => &mut place[key],
        };
    }
    *place = value.clone();
    body
}

fn check(server: &Server, path: &str, base: &Value, fields: &[(&str, Value, Then)]) {
    let before = answer(&server.post(path, base));
    for (pointer, value, then) in fields {
        let what = format!("{path} {pointer} = {value}");
        let reply = server.post(path, with(base, pointer, value));
        let name = pointer.rsplit('/').next().unwrap();
        match then {
            Obeyed => assert_ne!(answer(&reply), before, "{what}"),
            Same => assert_eq!(answer(&reply), before, "{what}"),
            Refused(code) => {
                assert_eq!(reply.code, *code, "{what}: {}", reply.text());
                assert!(reply.text().contains(name), "{what}: {}", reply.text());
            }
        }
    }
}

#[test]
fn text_embeddings_inference() {
    let (server, _dir) = server();
    let long = format!("fee {} card", "my ".repeat(70));
    let embed = json!({"inputs": long});
    let shared = [
        ("/truncate", json!(false), Refused(413)),
        ("/truncate", json!(true), Same),
        ("/truncation_direction", json!("Left"), Obeyed),
        ("/truncation_direction", json!("Right"), Same),
        ("/prompt_name", json!("query"), Obeyed),
        ("/prompt_name", json!("none"), Refused(422)),
        // What it does not know it passes over.
        ("/unknown", json!(1), Same),
    ];
    for path in ["/embed", "/embed_all"] {
        // Of a text that is too long the message is about its length.
        let shared = &shared[1..];
        check(&server, path, &embed, shared);
        assert_eq!(server.post(path, with(&embed, "/truncate", &json!(false))).code, 413);
    }
    check(
        &server,
        "/embed",
        &embed,
        &[
            ("/normalize", json!(false), Obeyed),
            ("/normalize", json!(true), Same),
            ("/dimensions", json!(4), Obeyed),
            ("/dimensions", json!(32), Same),
            ("/dimensions", json!(33), Refused(422)),
        ],
    );
    check(
        &server,
        "/predict",
        &json!({"inputs": [TEXTS[0], TEXTS[1]], "model": "intents"}),
        &[
            ("/raw_scores", json!(true), Obeyed),
            ("/raw_scores", json!(false), Same),
            ("/model", json!("ranker"), Obeyed),
            // It stands before a text; this is a pair.
            ("/prompt_name", json!("query"), Refused(422)),
        ],
    );
    check(
        &server,
        "/predict",
        &json!({"inputs": long, "model": "intents"}),
        &[
            ("/truncation_direction", json!("Left"), Obeyed),
            ("/truncation_direction", json!("Right"), Same),
            ("/truncate", json!(true), Same),
            ("/unknown", json!(1), Same),
        ],
    );
    check(
        &server,
        "/rerank",
        &json!({"query": TEXTS[0], "texts": [TEXTS[1], TEXTS[2], &long]}),
        &[
            ("/raw_scores", json!(true), Obeyed),
            ("/return_text", json!(true), Obeyed),
            ("/truncation_direction", json!("left"), Obeyed),
            ("/top_n", json!(1), Obeyed),
            ("/top_n", json!(9), Same),
            ("/top_n", json!(0), Refused(422)),
            ("/return_documents", json!(true), Refused(422)),
            ("/return_documents", json!(false), Same),
            ("/rank_fields", json!(["text"]), Refused(422)),
            ("/max_tokens_per_doc", json!(9), Refused(422)),
            ("/max_chunks_per_doc", json!(2), Refused(422)),
            ("/prompt_name", json!("query"), Refused(422)),
            ("/unknown", json!(1), Same),
        ],
    );
    let similar =
        json!({"inputs": {"source_sentence": TEXTS[0], "sentences": [long]}, "parameters": {}});
    check(
        &server,
        "/similarity",
        &similar,
        &[
            ("/parameters/truncation_direction", json!("Left"), Obeyed),
            ("/parameters/prompt_name", json!("query"), Obeyed),
            ("/parameters/unknown", json!(1), Same),
        ],
    );
    check(
        &server,
        "/tokenize",
        &json!({"inputs": TEXTS[0]}),
        &[
            ("/add_special_tokens", json!(false), Obeyed),
            ("/prompt_name", json!("query"), Obeyed),
            ("/prompt_name", json!("none"), Refused(422)),
        ],
    );
    let ids = server.post("/tokenize", json!({"inputs": TEXTS[0]})).ok();
    let ids: Vec<&Value> = ids[0].as_array().unwrap().iter().map(|token| &token["id"]).collect();
    check(
        &server,
        "/decode",
        &json!({"ids": ids}),
        &[("/skip_special_tokens", json!(false), Obeyed)],
    );
    // A prompt stands before token ids too: before the text that they are.
    let prompted = |inputs: Value| {
        common::numbers(
            &server.post("/embed", json!({"inputs": inputs, "prompt_name": "query"})).ok()[0],
        )
    };
    close(&prompted(json!([ids])), &prompted(json!(TEXTS[0])), 1e-6);
}

/// As the texts that they are.
#[test]
fn token_ids_are_cut_at_the_end_that_is_asked_for() {
    let (server, _dir) = server();
    let long = format!("fee {} card", "my ".repeat(120));
    let asks = json!({"inputs": long, "add_special_tokens": false});
    let tokens = server.post("/tokenize", asks).ok();
    let ids: Vec<&Value> = tokens[0].as_array().unwrap().iter().map(|token| &token["id"]).collect();
    let embedded = |inputs: &Value, direction: &str| {
        let asks = json!({"inputs": inputs, "truncation_direction": direction});
        common::numbers(&server.post("/embed", asks).ok()[0])
    };
    let ends = ["Left", "Right"].map(|direction| embedded(&json!(long), direction));
    for (direction, expected) in ["Left", "Right"].into_iter().zip(&ends) {
        close(&embedded(&json!([ids]), direction), expected, 1e-6);
    }
    assert_ne!(ends[0], ends[1]);
}

#[test]
fn the_last_id_of_the_vocabulary_is_taken_and_none_after_it() {
    let (server, _dir) = server();
    let vocabulary = server.get("/describe").ok()["models"][0]["vocabulary"].as_u64().unwrap();
    assert_eq!(server.post("/embed", json!({"inputs": [[vocabulary - 1]]})).code, 200);
    let outside = server.post("/embed", json!({"inputs": [[vocabulary]]}));
    assert!(outside.code == 422 && outside.text().contains("vocabulary"), "{}", outside.text());
}

#[test]
fn openai() {
    let (server, _dir) = server();
    check(
        &server,
        "/v1/embeddings",
        &json!({"input": TEXTS[0], "model": "tiny"}),
        &[
            ("/encoding_format", json!("base64"), Obeyed),
            ("/encoding_format", json!("float"), Same),
            ("/dimensions", json!(4), Obeyed),
            ("/user", json!("somebody"), Same),
            ("/user", json!(7), Refused(400)),
            // OpenAI refuses what it does not know; so it is told what other servers have beside
            // it.
            ("/unknown", json!(1), Refused(400)),
            ("/unknown", Value::Null, Same),
            ("/task", json!("retrieval.query"), Refused(400)),
            ("/late_chunking", json!(true), Refused(400)),
            ("/embedding_type", json!("binary"), Refused(400)),
            ("/input_type", json!("query"), Refused(400)),
            ("/truncate_prompt_tokens", json!(4), Refused(400)),
            ("/prompt_name", json!("query"), Refused(400)),
        ],
    );
}

#[test]
fn cohere() {
    let (server, _dir) = server();
    let long = format!("fee {} card", "my ".repeat(70));
    let documents = json!([TEXTS[1], {"text": TEXTS[2], "title": "hi"}, long]);
    let base = json!({"query": TEXTS[0], "documents": documents, "model": "ranker"});
    for (path, code) in [("/rerank", 422), ("/v1/rerank", 400), ("/v2/rerank", 400)] {
        check(
            &server,
            path,
            &base,
            &[
                ("/top_n", json!(1), Obeyed),
                ("/top_n", json!(9), Same),
                ("/top_n", json!(0), Refused(code)),
                ("/return_documents", json!(true), Obeyed),
                ("/return_documents", json!(false), Same),
                ("/max_tokens_per_doc", json!(2), Obeyed),
                ("/max_tokens_per_doc", json!(1000), Same),
                ("/max_tokens_per_doc", json!(0), Refused(code)),
                ("/max_chunks_per_doc", json!(1), Same),
                ("/max_chunks_per_doc", json!(10), Refused(code)),
                ("/truncation_direction", json!("Left"), Obeyed),
                ("/raw_scores", json!(true), Obeyed),
                ("/priority", json!(0), Same),
                ("/priority", json!(3), Refused(code)),
                ("/user", json!("somebody"), Same),
                // Cohere refuses what it does not know.
                ("/unknown", json!(1), Refused(code)),
                ("/texts", json!(["a"]), Refused(code)),
                ("/return_text", json!(true), Refused(code)),
                ("/top_k", json!(1), Refused(code)),
                ("/documents/1", json!({"title": "hi"}), Refused(code)),
            ],
        );
        let strict = server.post(path, with(&base, "/truncate", &json!(false)));
        assert!(strict.code == 413 || strict.code == 400, "{}", strict.text());
        assert!(strict.text().contains("tokens"), "{}", strict.text());
    }
    let objects = json!([{"text": TEXTS[1], "title": "hi"}, {"text": TEXTS[2], "title": TEXTS[4]}]);
    let base = json!({"query": TEXTS[0], "documents": objects});
    check(
        &server,
        "/v1/rerank",
        &base,
        &[
            ("/rank_fields", json!(["text"]), Same),
            ("/rank_fields", json!(["title"]), Obeyed),
            ("/rank_fields", json!(["title", "text"]), Obeyed),
            ("/rank_fields", json!("title"), Refused(400)),
        ],
    );
    let none = server.post("/v1/rerank", with(&base, "/rank_fields", &json!(["author"])));
    assert!(none.code == 400 && none.text().contains("`documents[0]` has no field `author`"));
}

/// The shape of a ranking, and its numbers beside those of text-embeddings-inference's.
#[test]
fn a_ranking_has_the_shape_that_its_clients_read() {
    let (server, _dir) = server();
    let texts = [TEXTS[1], TEXTS[2], TEXTS[3], TEXTS[4]];
    let expected = server.post("/rerank", json!({"query": TEXTS[0], "texts": texts})).ok();
    let documents = json!([texts[0], {"text": texts[1], "n": 7}, texts[2], texts[3]]);
    for (path, version) in [("/rerank", "1"), ("/v1/rerank", "1"), ("/v2/rerank", "2")] {
        let asks = json!({
            "model": "ranker", "query": TEXTS[0], "documents": documents, "top_n": 3, "return_documents": true,
        });
        let body = server.post(path, asks.clone()).ok();
        let results = body["results"].as_array().unwrap();
        assert_eq!(results.len(), 3);
        for (result, rank) in results.iter().zip(expected.as_array().unwrap()) {
            assert_eq!(result["index"], rank["index"]);
            assert_eq!(result["relevance_score"], rank["score"]);
            let index = rank["index"].as_u64().unwrap() as usize;
            assert_eq!(result["document"]["text"], texts[index]);
            assert_eq!(result["document"]["n"], if index == 1 { json!(7) } else { Value::Null });
        }
        assert_eq!(body["model"], "ranker");
        assert_eq!(body["meta"]["api_version"]["version"], version);
        assert_eq!(body["meta"]["billed_units"]["search_units"], 1);
        assert!(body["usage"]["total_tokens"].as_u64().unwrap() > 8);
        assert!(!body["id"].as_str().unwrap().is_empty());
        // Strict clients take no `document: null`.
        let bare = with(&asks, "/return_documents", &json!(false));
        let bare = server.post(path, bare).ok();
        assert!(bare["results"][0].get("document").is_none(), "{bare}");
    }
    let wrong =
        server.post("/v2/rerank", json!({"query": "a", "documents": ["b"], "model": "none"}));
    assert_eq!((wrong.code, wrong.json()), (404, json!({"message": "there is no model `none`"})));
    let wrong =
        server.post("/v1/rerank", json!({"query": "a", "documents": ["b"], "model": "tiny"}));
    assert_eq!(wrong.code, 400);
}

#[test]
fn hugging_face() {
    let (server, _dir) = server();
    let long = format!("fee {} card", "my ".repeat(70));
    check(
        &server,
        "/models/tiny",
        &json!({"inputs": long, "parameters": {}}),
        &[
            ("/parameters/normalize", json!(false), Obeyed),
            ("/parameters/truncation_direction", json!("Left"), Obeyed),
            ("/parameters/prompt_name", json!("query"), Obeyed),
            ("/parameters/dimensions", json!(4), Obeyed),
            // Beside the inputs, as text-embeddings-inference has them.
            ("/normalize", json!(false), Obeyed),
            ("/truncation_direction", json!("Left"), Obeyed),
            ("/prompt_name", json!("query"), Obeyed),
            ("/options", json!({"use_cache": false}), Same),
            ("/parameters/truncate", json!(true), Same),
            ("/parameters/function_to_apply", json!("none"), Refused(422)),
            ("/parameters/top_k", json!(1), Refused(422)),
            ("/parameters/unknown", json!(1), Refused(422)),
        ],
    );
    let similar =
        json!({"inputs": {"source_sentence": TEXTS[0], "sentences": [long]}, "parameters": {}});
    check(
        &server,
        "/models/tiny",
        &similar,
        &[
            ("/parameters/truncation_direction", json!("Left"), Obeyed),
            ("/parameters/prompt_name", json!("query"), Obeyed),
            ("/parameters/normalize", json!(true), Same),
            ("/parameters/dimensions", json!(4), Refused(422)),
            ("/parameters/top_k", json!(1), Refused(422)),
        ],
    );
    check(
        &server,
        "/models/intents",
        &json!({"inputs": long, "parameters": {}}),
        &[
            ("/parameters/function_to_apply", json!("softmax"), Same),
            ("/parameters/function_to_apply", json!("sigmoid"), Obeyed),
            ("/parameters/function_to_apply", json!("SIGMOID"), Obeyed),
            ("/parameters/function_to_apply", json!("none"), Obeyed),
            ("/parameters/top_k", json!(1), Obeyed),
            ("/parameters/top_k", json!(3), Same),
            ("/parameters/truncation_direction", json!("Left"), Obeyed),
            ("/parameters/aggregation_strategy", json!("max"), Refused(422)),
            ("/parameters/normalize", json!(true), Refused(422)),
            ("/parameters/max_length", json!(4), Refused(422)),
        ],
    );
    check(
        &server,
        "/models/masks",
        &json!({"inputs": "my [MASK] was stolen", "parameters": {}}),
        &[
            ("/parameters/top_k", json!(2), Obeyed),
            ("/parameters/targets", json!(["card", "fee"]), Obeyed),
            ("/parameters/targets", json!("card"), Obeyed),
            ("/parameters/targets", json!([]), Refused(400)),
            ("/parameters/targets", json!(["card", "of two words"]), Refused(422)),
            ("/parameters/function_to_apply", json!("none"), Refused(422)),
        ],
    );
    check(
        &server,
        "/models/words",
        &json!({"inputs": TEXTS[2], "parameters": {}}),
        &[
            ("/parameters/aggregation_strategy", json!("none"), Obeyed),
            ("/parameters/aggregation_strategy", json!("simple"), Same),
            ("/parameters/aggregation_strategy", json!("first"), Same),
            ("/parameters/aggregation_strategy", json!("average"), Obeyed),
            ("/parameters/aggregation_strategy", json!("max"), Obeyed),
            ("/parameters/ignore_labels", json!([]), Obeyed),
            ("/parameters/ignore_labels", json!(["O"]), Same),
            ("/parameters/ignore_labels", json!("O"), Refused(422)),
            ("/parameters/stride", json!(0), Same),
            ("/parameters/stride", json!(8), Refused(422)),
            ("/parameters/top_k", json!(1), Refused(422)),
        ],
    );
}

/// In `parameters` and beside them: which of the two would count?
#[test]
fn a_parameter_in_two_places_is_refused() {
    let (server, _dir) = server();
    let body = json!({"inputs": TEXTS[0], "top_k": 1, "parameters": {"top_k": 2}});
    let reply = server.post("/models/intents", body);
    assert_eq!(reply.code, 422);
    assert!(reply.text().contains("`top_k` stands in `parameters` too"), "{}", reply.text());
}

/// Only a classifier reads two texts.
#[test]
fn pairs_are_refused_by_models_that_read_single_texts() {
    let (server, _dir) = server();
    let (pair, mask) = (json!({"text": "a", "text_pair": "b"}), "my [MASK]");
    let tensor =
        |name: &str| json!({"name": name, "shape": [1], "datatype": "BYTES", "data": ["a"]});
    for (path, body) in [
        ("/predictions/tiny", pair.clone()),
        ("/predictions/words", pair.clone()),
        ("/v1/models/tiny:predict", json!({"instances": [pair]})),
        ("/v2/models/tiny/infer", json!({"inputs": [tensor("TEXT"), tensor("TEXT_PAIR")]})),
        ("/models/words", json!({"inputs": pair})),
        ("/models/masks", json!({"inputs": {"text": mask, "text_pair": "b"}})),
    ] {
        let reply = server.post(path, body);
        assert!([400, 422].contains(&reply.code), "{path}: {}", reply.text());
        assert!(reply.text().contains("takes single texts"), "{path}: {}", reply.text());
    }
    let attended = server.post("/attention", json!({"inputs": ["a", "b"], "model": "tiny"}));
    assert_eq!(attended.code, 200, "{}", attended.text());
}

/// The first classifier of a single label, though another classifier stands before it.
#[test]
fn a_ranking_is_asked_of_the_first_model_that_ranks() {
    let heads = [("intents", Head::Sequence(Pooling::Mean)), ("ranker", Head::Rank)];
    let (server, _dir) = Server::tiny(&heads, &[]);
    let texts = [TEXTS[1], TEXTS[2]];
    let of = |path: &str, mut body: Value| {
        let bare = server.post(path, &body).ok();
        body["model"] = "ranker".into();
        let named = server.post(path, &body).ok();
        let results = |body: &Value| body.get("results").unwrap_or(body).clone();
        assert_eq!(results(&bare), results(&named), "{path}");
        body["model"] = "intents".into();
        assert!(server.post(path, body).text().contains("single label"), "{path}");
    };
    of("/rerank", json!({"query": TEXTS[0], "texts": texts}));
    for path in ["/rerank", "/v1/rerank", "/v2/rerank"] {
        of(path, json!({"query": TEXTS[0], "documents": texts}));
    }
}

#[test]
fn torchserve() {
    let (server, _dir) = server();
    check(
        &server,
        "/predictions/intents",
        &json!({"data": TEXTS[0]}),
        &[
            ("/text_pair", json!(TEXTS[1]), Obeyed),
            ("/text", json!(TEXTS[1]), Same),
            ("/unknown", json!(1), Same),
        ],
    );
    check(
        &server,
        "/predictions/intents",
        &json!([{"data": TEXTS[0]}]),
        &[("/0/text_pair", json!(TEXTS[1]), Obeyed), ("/0/text", json!(TEXTS[1]), Same)],
    );
    check(
        &server,
        "/predictions/intents",
        &json!({"data": [TEXTS[0]]}),
        &[
            // Its handlers read `data` or `body` and no more.
            ("/unknown", json!(1), Same),
            // It goes with a single text.
            ("/text_pair", json!(TEXTS[1]), Refused(400)),
        ],
    );
    let registering =
        |query: &str| server.post(&format!("/models?url=tiny&model_name=again{query}"), "");
    for (name, value) in [
        ("handler", "text_classifier"),
        ("runtime", "python"),
        ("batch_size", "8"),
        ("max_batch_delay", "100"),
        ("response_timeout", "9"),
        ("startup_timeout", "9"),
        ("s3_sse_kms", "true"),
        ("synchronous", "perhaps"),
        ("initial_workers", "65"),
    ] {
        let reply = registering(&format!("&{name}={value}"));
        assert!(reply.code == 400 && reply.text().contains(name), "{name}: {}", reply.text());
    }
    assert_eq!(server.get("/models/again").code, 404);
    assert_eq!(registering("&initial_workers=2&synchronous=true&s3_sse_kms=false").code, 200);
    assert_eq!(server.get("/models/again").ok()[0]["workers"].as_array().unwrap().len(), 2);
    let gpus = server.send("PUT", "/models/again?min_worker=1&number_gpu=1", &[], b"");
    assert!(gpus.code == 400 && gpus.text().contains("number_gpu"), "{}", gpus.text());
}

#[test]
fn tensorflow_serving() {
    let (server, _dir) = server();
    check(
        &server,
        "/v1/models/intents:predict",
        &json!({"instances": [{"text": TEXTS[0]}]}),
        &[
            ("/instances/0/text_pair", json!(TEXTS[1]), Obeyed),
            ("/instances/0/unknown", json!(1), Refused(400)),
            ("/signature_name", json!("serving_default"), Same),
            ("/signature_name", json!("other"), Refused(400)),
            ("/output_filter", json!(["label"]), Refused(400)),
            ("/unknown", json!(1), Same),
        ],
    );
    check(
        &server,
        "/v1/models/intents:predict",
        &json!({"inputs": {"text": [TEXTS[0]]}}),
        &[
            ("/inputs/text_pair", json!([TEXTS[1]]), Obeyed),
            ("/inputs/unknown", json!(1), Refused(400)),
        ],
    );
    check(
        &server,
        "/v1/models/intents:classify",
        &json!({"examples": [{"text": TEXTS[0]}]}),
        &[
            ("/examples/0/text_pair", json!(TEXTS[1]), Obeyed),
            ("/context", json!({"text_pair": TEXTS[1]}), Obeyed),
            // A feature that the model does not read.
            ("/examples/0/unknown", json!(1), Same),
            ("/signature_name", json!("other"), Refused(400)),
        ],
    );
}

#[test]
fn kserve() {
    let (server, _dir) = server();
    let input = json!({"name": "TEXT", "shape": [1], "datatype": "BYTES", "data": [TEXTS[0]], "parameters": {}});
    let outputs = json!([{"name": "SCORES", "parameters": {}}]);
    let base = json!({"inputs": [input], "outputs": outputs, "parameters": {}});
    check(
        &server,
        "/v2/models/intents/infer",
        &base,
        &[
            ("/outputs/0/name", json!("LABEL"), Obeyed),
            ("/outputs/0/parameters/classification", json!(2), Obeyed),
            ("/outputs/0/parameters/unknown", json!(1), Same),
            ("/outputs/0/parameters/shared_memory_region", json!("a"), Refused(400)),
            ("/inputs/0/parameters/shared_memory_region", json!("a"), Refused(400)),
            ("/inputs/0/parameters/shared_memory_byte_size", json!(9), Refused(400)),
            ("/inputs/0/parameters/unknown", json!(1), Same),
            ("/parameters/sequence_id", json!(7), Refused(400)),
            ("/parameters/sequence_id", json!("one"), Refused(400)),
            ("/parameters/sequence_id", json!(0), Same),
            ("/parameters/sequence_start", json!(true), Refused(400)),
            ("/parameters/sequence_end", json!(true), Refused(400)),
            ("/parameters/sequence_end", json!(false), Same),
            ("/parameters/priority", json!(2), Refused(400)),
            ("/parameters/priority", json!(0), Same),
            ("/parameters/triton_enable", json!(true), Refused(400)),
            // Triton hands others to the model, and these read none.
            ("/parameters/own", json!(true), Same),
            ("/parameters/timeout", json!(60_000_000), Same),
            ("/unknown", json!(1), Same),
        ],
    );
    let named = server.post("/v2/models/intents/infer", with(&base, "/id", &json!("7"))).ok();
    assert_eq!(named["id"], "7");
    let soon =
        server.post("/v2/models/intents/infer", with(&base, "/parameters/timeout", &json!(1)));
    assert_eq!(soon.code, 504);
    let bytes = with(&base, "/parameters/binary_data_output", &json!(true));
    let bytes = server.post("/v2/models/intents/infer", bytes);
    assert!(bytes.header("inference-header-content-length").is_some());
}

#[test]
fn attention() {
    let (server, _dir) = server();
    let long = format!("fee {} card", "my ".repeat(70));
    check(
        &server,
        "/attention",
        &json!({"inputs": long, "model": "tiny"}),
        &[
            ("/layer", json!(1), Obeyed),
            ("/head", json!(1), Obeyed),
            ("/prompt_name", json!("query"), Obeyed),
            ("/truncation_direction", json!("Left"), Obeyed),
            ("/layers", json!(1), Refused(422)),
        ],
    );
}

/// As the pipeline of `transformers`: the function of each logit, whatever config.json says.
#[test]
fn functions_apply_to_the_logits() {
    let (server, _dir) = server();
    for model in ["intents", "ranker"] {
        let scores = |function: &str| -> Vec<f64> {
            let parameters = json!({"function_to_apply": function});
            let body = json!({"inputs": TEXTS[0], "parameters": parameters});
            let body = server.post(&format!("/models/{model}"), body).ok();
            body[0].as_array().unwrap().iter().map(|s| s["score"].as_f64().unwrap()).collect()
        };
        let logits = scores("none");
        let sigmoid: Vec<f64> = logits.iter().map(|x| 1.0 / (1.0 + (-x).exp())).collect();
        let total: f64 = logits.iter().map(|x| x.exp()).sum();
        let softmax: Vec<f64> = logits.iter().map(|x| x.exp() / total).collect();
        close(&scores("sigmoid"), &sigmoid, 1e-6);
        close(&scores("softmax"), &softmax, 1e-6);
    }
}

#[test]
fn targets_are_scored_among_all_words() {
    let (server, _dir) = server();
    let asked = |parameters: Value| {
        let body = json!({"inputs": "my [MASK] was stolen", "parameters": parameters});
        server.post("/models/masks", body).ok().as_array().unwrap().clone()
    };
    let all = asked(json!({"top_k": 100_000}));
    let of = |word: &str| all.iter().find(|fill| fill["token_str"] == word).unwrap();
    let found = asked(json!({"targets": ["card", "fee", "card"]}));
    assert_eq!(found.len(), 2);
    for fill in &found {
        let expected = of(fill["token_str"].as_str().unwrap());
        close(&[fill["score"].as_f64().unwrap()], &[expected["score"].as_f64().unwrap()], 1e-6);
        assert_eq!(fill["sequence"], expected["sequence"]);
    }
    assert!(found[0]["score"].as_f64() >= found[1]["score"].as_f64());
    assert_eq!(asked(json!({"targets": ["card", "fee"], "top_k": 1})), found[..1]);
}
