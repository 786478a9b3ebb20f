//! The fields of TensorFlow Serving.

use serde_json::json;

use super::Then::{Obeyed, Refused, Same};
use super::{check, server};
use crate::common::TEXTS;

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
