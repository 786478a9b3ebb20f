//! TensorFlow Serving's REST paths.

use serde_json::json;

use super::shapes::plain;
use super::{MAX_INPUTS, Row, table};

pub fn rows() -> Vec<Row> {
    [paths(), predict(), classify()].into_iter().flatten().collect()
}

fn paths() -> Vec<Row> {
    let good = r#"{"instances": ["a"]}"#;
    let posts = table(
        plain,
        "POST",
        &[
            ("/v1/models/none:predict", good, 404, "no model `none`"),
            ("/v1/models/:predict", good, 404, "no model ``"),
            ("/v1/models/..%2ftiny:predict", good, 404, "no model"),
            ("/v1/models/tiny%00:predict", good, 404, "no model"),
            ("/v1/models/tiny/versions/9:predict", good, 404, "no version 9"),
            ("/v1/models/tiny/versions/x:predict", good, 404, "no version `x`"),
            ("/v1/models/tiny/versions/:predict", good, 404, "no version ``"),
            ("/v1/models/tiny/labels/none:predict", good, 404, "labelled `none`"),
            ("/v1/models/tiny/versions/1", good, 405, "verb"),
            ("/v1/models/tiny", good, 405, "verb"),
            ("/v1/models/tiny:", good, 404, "is not a verb"),
            ("/v1/models/tiny:guess", good, 404, "`:guess` is not a verb"),
            ("/v1/models/tiny:PREDICT", good, 404, "is not a verb"),
            ("/v1/models/tiny:regress", good, 400, "regress"),
            ("/v1/models/tiny:predict/x", good, 404, ""),
            ("/v1/models/tiny/metadata", good, 405, "POST"),
        ],
    );
    let gets = table(
        plain,
        "GET",
        &[
            ("/v1/models/none", "", 404, "no model `none`"),
            ("/v1/models/none/metadata", "", 404, "no model `none`"),
            ("/v1/models/tiny/versions/9", "", 404, "no version 9"),
            ("/v1/models/tiny/versions/9/metadata", "", 404, "no version 9"),
            ("/v1/models/tiny/labels/none", "", 404, "labelled `none`"),
            ("/v1/models/tiny/labels/none/metadata", "", 404, "labelled `none`"),
            ("/v1/models/tiny:predict", "", 404, ""),
            ("/v1/models/tiny/nothing", "", 404, ""),
        ],
    );
    [posts, gets].into_iter().flatten().collect()
}

fn predict() -> Vec<Row> {
    let many = json!({"instances": vec!["a"; MAX_INPUTS + 1]}).to_string();
    let columns = json!({"inputs": vec!["a"; MAX_INPUTS + 1]}).to_string();
    let path = "/v1/models/tiny:predict";
    table(
        plain,
        "POST",
        &[
            (path, r#"{"instances": "a"}"#, 400, "`instances` must be a list"),
            (path, r#"{"instances": {}}"#, 400, "`instances` must be a list"),
            (path, r#"{"instances": []}"#, 400, "`instances` is empty"),
            (path, r#"{"instances": [7]}"#, 400, "`instances[0]` must be"),
            (path, r#"{"instances": ["a", null]}"#, 400, "`instances[1]` must be"),
            (path, r#"{"instances": [{}]}"#, 400, "has no field `text`"),
            (path, r#"{"instances": [{"words": "a"}]}"#, 400, "has no field `text`"),
            (path, r#"{"instances": [{"text": 7}]}"#, 400, "`instances[0].text`"),
            (path, r#"{"instances": [{"text": "a", "text_pair": 1}]}"#, 400, "text_pair"),
            (path, r#"{"instances": [{"text": ["a", "b"]}]}"#, 400, "`instances[0].text`"),
            (path, r#"{"instances": [["a", "b", "c"]]}"#, 400, "`instances[0]` must be"),
            (path, r#"{"instances": [["a", 1]]}"#, 400, "`instances[0][1]` must be"),
            (path, r#"{"instances": [[]]}"#, 400, "`instances[0]` must be"),
            (path, r#"{"instances": [{"b64": "YQ=="}]}"#, 400, "has no field `text`"),
            (path, r#"{"instances": ["a"], "inputs": ["a"]}"#, 400, "not both"),
            (path, r#"{"instances": ["a"], "signature_name": "x"}"#, 400, "signature_name"),
            (path, r#"{"instances": ["a"], "signature_name": 7}"#, 400, "signature_name"),
            (path, r#"{"inputs": 7}"#, 400, "`inputs` must be"),
            (path, r#"{"inputs": {}}"#, 400, "has no field `text`"),
            (path, r#"{"inputs": {"text": [1]}}"#, 400, "`inputs.text[0]`"),
            (path, r#"{"inputs": {"text": ["a"], "text_pair": []}}"#, 400, "0 texts for 1"),
            (path, r#"{"inputs": [["a", "b"]]}"#, 400, "`inputs[0]` must be"),
            (path, r#"{"inputs": []}"#, 400, "`inputs` is empty"),
            (path, &many, 413, "--max-inputs"),
            (path, &columns, 413, "--max-inputs"),
            ("/v1/models/masks:predict", r#"{"instances": ["a"]}"#, 400, "[MASK]"),
        ],
    )
}

fn classify() -> Vec<Row> {
    let many = json!({"examples": vec![json!({"text": "a"}); MAX_INPUTS + 1]}).to_string();
    let path = "/v1/models/intents:classify";
    table(
        plain,
        "POST",
        &[
            ("/v1/models/tiny:classify", r#"{"examples": [{"text": "a"}]}"#, 400, "classification"),
            (path, r#"{"examples": {}}"#, 400, "`examples` must be a list"),
            (path, r#"{"examples": []}"#, 400, "`examples` is empty"),
            (path, r#"{"examples": ["a"]}"#, 400, "`examples[0]` must be an object"),
            (path, r#"{"examples": [{"words": "a"}]}"#, 400, "has no field `text`"),
            (path, r#"{"examples": [{"text": ["a", "b"]}]}"#, 400, "`examples[0].text`"),
            (path, r#"{"examples": [{"text": "a"}], "context": 7}"#, 400, "`context` must be"),
            (path, r#"{"examples": [{}], "context": {"text": 7}}"#, 400, "`examples[0].text`"),
            (path, &many, 413, "--max-inputs"),
        ],
    )
}
