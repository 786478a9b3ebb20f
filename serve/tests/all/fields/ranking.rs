//! The fields of rankings as Cohere has them.

use gradus_models::Pooling;
use serde_json::{Value, json};

use super::Then::{Obeyed, Refused, Same};
use super::{check, server, with};
use crate::common::{Head, Server, TEXTS};

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
                // Cohere refuses fields that it does not know.
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

/// The shape of a ranking, with the numbers of text-embeddings-inference's.
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
        // Strict clients do not accept `document: null`.
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

/// This is the first classifier with a single label, also if another classifier comes before it.
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
