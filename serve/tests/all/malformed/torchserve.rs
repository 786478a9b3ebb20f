//! TorchServe: predictions and management.

use serde_json::json;

use super::shapes::torchserve;
use super::{MAX_INPUTS, Row, table};

pub fn rows() -> Vec<Row> {
    [predictions(), registering(), managing()].into_iter().flatten().collect()
}

fn predictions() -> Vec<Row> {
    let many = json!(vec!["a"; MAX_INPUTS + 1]).to_string();
    let long_name = format!("/predictions/{}", "a".repeat(5000));
    let mut rows = table(
        torchserve,
        "POST",
        &[
            ("/predictions/none", "a", 404, "no model `none`"),
            ("/predictions/tiny/9", "a", 404, "no version 9"),
            ("/predictions/tiny/x", "a", 404, "no version `x`"),
            ("/predictions/tiny/1.5", "a", 404, "no version `1.5`"),
            ("/predictions/tiny/-1", "a", 404, "no version `-1`"),
            ("/predictions/tiny/99999999999999999999", "a", 404, "no version"),
            ("/predictions/tiny/1/2", "a", 404, ""),
            ("/predictions/", "a", 404, ""),
            ("/predictions", "a", 404, ""),
            ("/predictions/..%2f..%2fetc%2fpasswd", "a", 404, "no model"),
            ("/predictions/%2e%2e", "a", 404, "no model `..`"),
            ("/predictions/%00", "a", 404, "no model"),
            ("/predictions/%ff%fe", "a", 400, "UTF-8"),
            (&long_name, "a", 404, "no model"),
            ("/predictions/tiny", "", 400, "empty"),
            ("/predictions/tiny", "[7]", 400, "`data[0]` must be"),
            ("/predictions/tiny", r#"["a", null]"#, 400, "`data[1]` must be"),
            ("/predictions/tiny", r#"[["a"]]"#, 400, "`data[0]` must be"),
            ("/predictions/tiny", "[{}]", 400, "missing"),
            ("/predictions/tiny", r#"[{"data": 1}]"#, 400, "`data[0].data`"),
            ("/predictions/tiny", "[]", 400, "empty"),
            ("/predictions/tiny", r#"{"data": 7}"#, 400, "`data` must be"),
            ("/predictions/tiny", r#"{"data": []}"#, 400, "empty"),
            ("/predictions/tiny", r#"{"data": ""}"#, 400, "`data` is empty"),
            ("/predictions/tiny", r#"{"text": 1}"#, 400, "`text` must be"),
            ("/predictions/tiny", r#"{"text": "a", "text_pair": 1}"#, 400, "`text_pair`"),
            ("/predictions/tiny", r#"{"instances": {"a": 1}}"#, 400, "missing"),
            ("/predictions/tiny", r#"{"instances": [true]}"#, 400, "`instances[0]` must be"),
            ("/predictions/masks", "no mask", 400, "[MASK]"),
            ("/predictions/tiny", &many, 413, "--max-inputs"),
        ],
    );
    rows.extend(forms());
    rows
}

/// Bodies of other types than JSON.
fn forms() -> Vec<Row> {
    let multipart = [("content-type", "multipart/form-data; boundary=x")];
    let json = [("content-type", "application/json")];
    let post = |headers: &[(&str, &str)], body: &[u8], code, says| {
        Row::new(torchserve, ("POST", "/predictions/tiny"), headers, body, code, says)
    };
    // A form in parts is read, as by TorchServe; other bodies in parts are not.
    let mixed = [("content-type", "multipart/mixed; boundary=x")];
    let form = [("content-type", "application/x-www-form-urlencoded")];
    vec![
        post(&multipart, b"--x--", 400, "`data` is missing"),
        post(&multipart, b"--x", 400, "the form cannot be read"),
        post(&multipart[..0], b"{\"data\": 7", 400, "not JSON"),
        post(&[("content-type", "multipart/form-data")], b"--x--", 415, "boundary"),
        post(&mixed, b"--x--", 415, "multipart/form-data"),
        post(&form, b"data=", 400, "`data` is empty"),
        post(&form, b"data=a&lang=en", 400, "`lang`"),
        post(&form, b"text=a&body=b", 400, "`body`"),
        post(&form, b"data=%ff", 400, "not UTF-8"),
        post(&json, b"my card", 400, "not JSON"),
        post(&[], b"my \xff card", 400, "not UTF-8"),
        post(&[], &[0xc3], 400, "not UTF-8"),
    ]
}

fn registering() -> Vec<Row> {
    let long = format!("/models?url=whole&model_name={}", "a".repeat(129));
    table(
        torchserve,
        "POST",
        &[
            ("/models", "", 400, "`url` is missing"),
            ("/models?model_name=x", "", 400, "`url` is missing"),
            ("/models?url=", "", 400, "not a folder in the model store"),
            ("/models?url=none", "", 400, "not a folder in the model store"),
            ("/models?url=.", "", 400, "not a folder in the model store"),
            ("/models?url=..", "", 400, "not a folder in the model store"),
            ("/models?url=../tiny", "", 400, "not a folder in the model store"),
            ("/models?url=whole/../../tiny", "", 400, "not a folder in the model store"),
            ("/models?url=%2e%2e%2ftiny", "", 400, "not a folder in the model store"),
            ("/models?url=..%5ctiny", "", 400, "not a folder in the model store"),
            ("/models?url=/etc", "", 400, "not a folder in the model store"),
            ("/models?url=file:///etc", "", 400, "not a folder in the model store"),
            ("/models?url=http://host/model.mar", "", 400, "not a folder in the model store"),
            ("/models?url=link", "", 400, "not a folder in the model store"),
            ("/models?url=whole%00", "", 400, "not a folder in the model store"),
            ("/models?url=file", "", 400, "not a folder in the model store"),
            ("/models?url=empty", "", 400, "empty"),
            ("/models?url=garbage", "", 400, "garbage"),
            ("/models?url=half", "", 400, "half"),
            ("/models?url=bare", "", 400, "bare"),
            ("/models?url=whole&model_name=", "", 400, "cannot be the name of a model"),
            ("/models?url=whole&model_name=../x", "", 400, "cannot be the name of a model"),
            ("/models?url=whole&model_name=.x", "", 400, "cannot be the name of a model"),
            ("/models?url=whole&model_name=a%20b", "", 400, "cannot be the name of a model"),
            ("/models?url=whole&model_name=%f0%9f%99%82", "", 400, "cannot be the name of a model"),
            (&long, "", 400, "cannot be the name of a model"),
            ("/models?url=whole&initial_workers=0", "", 400, "initial_workers"),
            ("/models?url=whole&initial_workers=x", "", 400, "initial_workers"),
            ("/models?url=whole&initial_workers=1000000", "", 400, "from 1 to 64"),
        ],
    )
}

fn managing() -> Vec<Row> {
    let of = |method, rows: &[_]| table(torchserve, method, rows);
    let gets = of(
        "GET",
        &[
            ("/models?limit=x", "", 400, "limit"),
            ("/models?limit=0", "", 400, "limit"),
            ("/models?limit=-1", "", 400, "limit"),
            ("/models?limit=99999999999999999999999", "", 400, "limit"),
            ("/models?next_page_token=x", "", 400, "next_page_token"),
            ("/models/none", "", 404, "no model `none`"),
            ("/models/none/all", "", 404, "no model `none`"),
            ("/models/tiny/9", "", 404, "no version 9"),
            ("/models/tiny/x", "", 404, "no version `x`"),
            ("/models/..%2f..%2fetc", "", 404, "no model"),
            ("/predictions/tiny", "", 405, "GET"),
            ("/models/tiny/1/set-default", "", 405, "GET"),
        ],
    );
    let puts = of(
        "PUT",
        &[
            ("/models/none?min_worker=1", "", 404, "no model `none`"),
            ("/models/tiny/9?min_worker=1", "", 404, "no version 9"),
            ("/models/tiny?min_worker=0", "", 400, "min_worker"),
            ("/models/tiny?min_worker=65", "", 400, "from 1 to 64"),
            ("/models/tiny?min_worker=x", "", 400, "min_worker"),
            ("/models/tiny?min_worker=5&max_worker=2", "", 400, "max_worker is 2"),
            ("/models/tiny?min_worker=1&synchronous=null", "", 400, "synchronous"),
            ("/models/none/1/set-default", "", 404, "no model `none`"),
            ("/models/tiny/9/set-default", "", 404, "no version 9"),
            ("/models/tiny/x/set-default", "", 404, "no version `x`"),
            ("/models", "", 405, "PUT"),
        ],
    );
    let deletes = of(
        "DELETE",
        &[
            ("/models/none", "", 404, "no model `none`"),
            ("/models/tiny/9", "", 404, "no version 9"),
            ("/models/tiny/all", "", 404, "no version `all`"),
            ("/models/%2e%2e%2fstore", "", 404, "no model"),
            ("/models", "", 405, "DELETE"),
            ("/ping", "", 405, "DELETE"),
        ],
    );
    [gets, puts, deletes].into_iter().flatten().collect()
}
