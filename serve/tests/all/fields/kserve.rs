//! The fields and parameters of KServe v2.

use serde_json::json;

use super::Then::{Obeyed, Refused, Same};
use super::{check, server, with};
use crate::common::TEXTS;

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
            // Triton hands other parameters to the model, and these models read none.
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
