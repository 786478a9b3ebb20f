//! The fields and parameters of TorchServe.

use serde_json::json;

use super::Then::{Obeyed, Refused, Same};
use super::{check, server};
use crate::common::TEXTS;

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
            // TorchServe's handlers read only `data` or `body`.
            ("/unknown", json!(1), Same),
            // `text_pair` goes with a single text.
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
