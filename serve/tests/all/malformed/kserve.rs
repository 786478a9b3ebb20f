//! KServe v2: JSON tensors, the binary extension, the repository.

use serde_json::{Value, json};

use super::shapes::plain;
use super::{MAX_INPUTS, Row, table};

const INFER: &str = "/v2/models/tiny/infer";

pub fn rows() -> Vec<Row> {
    [paths(), tensors(), outputs(), lengths(), binary(), repository()]
        .into_iter()
        .flatten()
        .collect()
}

/// A good input with some fields replaced. `null` removes a field.
fn input(changes: Value) -> Value {
    let mut input = json!({"name": "TEXT", "shape": [1], "datatype": "BYTES", "data": ["my card"]});
    for (key, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(input.as_object_mut().unwrap().remove(key)),
            value => input[key] = value.clone(),
        }
    }
    input
}

fn post(path: &str, body: &Value, code: u16, says: &'static str) -> Row {
    Row::new(plain, ("POST", path), &[], body.to_string().as_bytes(), code, says)
}

fn paths() -> Vec<Row> {
    let good = json!({"inputs": [input(json!({}))]}).to_string();
    let posts = table(
        plain,
        "POST",
        &[
            ("/v2/models/none/infer", &good, 404, "no model `none`"),
            ("/v2/models/tiny/versions/9/infer", &good, 404, "no version 9"),
            ("/v2/models/tiny/versions/x/infer", &good, 404, "no version `x`"),
            ("/v2/models/..%2f..%2ftiny/infer", &good, 404, "no model"),
            ("/v2/models/%00/infer", &good, 404, "no model"),
            ("/v2/models/%c3%28/infer", &good, 400, "UTF-8"),
            ("/v2/models/tiny", &good, 405, "POST"),
            ("/v2/models/tiny/ready", &good, 405, "POST"),
            ("/v2/models/tiny/generate", &good, 404, "generate"),
            ("/v2/nothing", &good, 404, "/v2/nothing"),
            ("/v2", &good, 405, "POST"),
        ],
    );
    let gets = table(
        plain,
        "GET",
        &[
            ("/v2/models/none", "", 404, "no model `none`"),
            ("/v2/models/none/ready", "", 404, "no model `none`"),
            ("/v2/models/none/config", "", 404, "no model `none`"),
            ("/v2/models/none/stats", "", 404, "no model `none`"),
            ("/v2/models/tiny/versions/9", "", 404, "no version 9"),
            ("/v2/models/tiny/versions/9/ready", "", 404, "no version 9"),
            ("/v2/models/tiny/versions/9/config", "", 404, "no version 9"),
            ("/v2/models/tiny/versions/9/stats", "", 404, "no version 9"),
            ("/v2/models/tiny/infer", "", 405, "GET"),
            ("/v2/repository/index", "", 405, "GET"),
        ],
    );
    [posts, gets].into_iter().flatten().collect()
}

fn tensors() -> Vec<Row> {
    let pair = input(json!({"name": "TEXT_PAIR", "shape": [2], "data": ["a", "b"]}));
    let many = input(json!({"shape": [MAX_INPUTS + 1], "data": vec!["a"; MAX_INPUTS + 1]}));
    let whole = [
        (json!({"inputs": "a"}), 400, "`inputs` must be a list"),
        (json!({"inputs": []}), 400, "TEXT"),
        (json!({"inputs": [7]}), 400, "`inputs[0]` must be an object"),
        (json!({"inputs": [input(json!({})), input(json!({}))]}), 400, "one input too many"),
        (json!({"inputs": [pair]}), 400, "no tensor TEXT"),
        (json!({"inputs": [input(json!({})), pair]}), 400, "1 in TEXT, but 2 in TEXT_PAIR"),
        (json!({"inputs": [many]}), 413, "--max-inputs"),
        (json!({"inputs": [input(json!({}))], "id": 7}), 400, "`id` must be"),
        (json!({"inputs": [input(json!({}))], "parameters": 7}), 400, "`parameters` must be"),
        (json!({"inputs": [input(json!({}))], "parameters": {"timeout": -1}}), 400, "timeout"),
        (json!({"inputs": [input(json!({}))], "parameters": {"timeout": "1"}}), 400, "timeout"),
        (json!({"inputs": [input(json!({}))], "parameters": {"timeout": 1}}), 504, "deadline"),
        (
            json!({"inputs": [input(json!({}))], "parameters": {"binary_data_output": 1}}),
            400,
            "binary_data_output",
        ),
    ];
    let fields = [
        (json!({"name": null}), "`inputs[0].name` is missing"),
        (json!({"name": 7}), "`inputs[0].name` must be"),
        (json!({"shape": null}), "`inputs[0].shape` is missing"),
        (json!({"shape": "1"}), "`inputs[0].shape` must be"),
        (json!({"shape": [-1]}), "sizes"),
        (json!({"shape": [1.5]}), "sizes"),
        (json!({"shape": ["1"]}), "sizes"),
        (json!({"shape": [2]}), "does not fit the 1 elements"),
        (json!({"shape": [0]}), "does not fit the 1 elements"),
        (json!({"shape": [1u64 << 33, 1u64 << 33]}), "does not fit"),
        (json!({"shape": [1, 1, 1]}), "[n] or [n, 1]"),
        (json!({"shape": [1, 2], "data": ["a", "b"]}), "[n] or [n, 1]"),
        (json!({"datatype": null}), "`inputs[0].datatype` is missing"),
        (json!({"datatype": 7}), "`inputs[0].datatype` must be"),
        (json!({"datatype": "FP32", "data": [1.0]}), "is FP32"),
        (json!({"datatype": "bytes"}), "is bytes"),
        (json!({"data": null}), "has no `data`"),
        (json!({"data": [1]}), "`inputs[0].data[0]`"),
        (json!({"data": {}}), "`inputs[0].data`"),
        (json!({"data": [null]}), "`inputs[0].data[0]`"),
        (json!({"data": [["a", ["b", 2]]]}), "`inputs[0].data[0][1][1]`"),
        (json!({"data": []}), "does not fit the 0 elements"),
        (json!({"shape": [0], "data": []}), "`inputs` is empty"),
        (json!({"parameters": 7}), "`inputs[0].parameters` must be"),
        (json!({"parameters": {"shared_memory_region": "x"}}), "shared memory"),
        (json!({"parameters": {"binary_data_size": 4}}), "0 bytes are left"),
        (json!({"parameters": {"binary_data_size": -4}}), "binary_data_size"),
        (json!({"parameters": {"binary_data_size": "4"}}), "binary_data_size"),
        (json!({"parameters": {"binary_data_size": 0}}), "send one of them"),
    ];
    let whole = whole.iter().map(|(body, code, says)| post(INFER, body, *code, says));
    let fields = fields
        .into_iter()
        .map(|(change, says)| post(INFER, &json!({"inputs": [input(change)]}), 400, says));
    whole.chain(fields).collect()
}

fn outputs() -> Vec<Row> {
    let of = |model: &str, text: &str, outputs: Value, says| {
        let body = json!({"inputs": [input(json!({"data": [text]}))], "outputs": outputs});
        post(&format!("/v2/models/{model}/infer"), &body, 400, says)
    };
    let classes =
        |name: &str, k: Value| json!([{"name": name, "parameters": {"classification": k}}]);
    vec![
        of("tiny", "a", json!(7), "`outputs` must be a list"),
        of("tiny", "a", json!([7]), "`outputs[0]` must be an object"),
        of("tiny", "a", json!([{}]), "`outputs[0].name` is missing"),
        of("tiny", "a", json!([{"name": "SCORES"}]), "`SCORES`; the model has EMBEDDING"),
        of("tiny", "a", json!([{"name": "EMBEDDING", "parameters": []}]), "parameters"),
        of(
            "tiny",
            "a",
            json!([{"name": "EMBEDDING", "parameters": {"binary_data": "yes"}}]),
            "binary_data",
        ),
        of("intents", "a", classes("SCORES", json!(-1)), "classification"),
        of("intents", "a", classes("SCORES", json!("2")), "classification"),
        of("intents", "a", classes("LABEL", json!(2)), "no classes"),
        of("masks", "[MASK]", classes("MASKS", json!(2)), "no classes"),
        of("masks", "a", json!([]), "[MASK]"),
    ]
}

/// Bytes of an element, with a length that may be wrong.
fn element(length: u32, bytes: &[u8]) -> Vec<u8> {
    [&length.to_le_bytes(), bytes].concat()
}

/// The JSON of a request whose tensor is in bytes.
fn bytes_header(shape: Value, size: Value) -> String {
    let parameters = json!({"binary_data_size": size});
    json!({"inputs": [{"name": "TEXT", "shape": shape, "datatype": "BYTES", "parameters": parameters}]})
        .to_string()
}

fn with_length(length: &str, body: &[u8], says: &'static str) -> Row {
    let headers = [("Inference-Header-Content-Length", length)];
    Row::new(plain, ("POST", INFER), &headers, body, 400, says)
}

/// The lengths of the JSON, and of the body.
fn lengths() -> Vec<Row> {
    let card = element(7, b"my card");
    let good = bytes_header(json!([1]), json!(card.len()));
    let body = [good.as_bytes(), &card].concat();
    let with = with_length;
    let (short, long) = ((good.len() - 1).to_string(), (good.len() + 1).to_string());
    vec![
        Row::new(plain, ("POST", INFER), &[], &body, 400, "not JSON"),
        with("x", &body, "number of bytes"),
        with("-1", &body, "number of bytes"),
        with("1e3", &body, "number of bytes"),
        with("18446744073709551616", &body, "number of bytes"),
        with("99999", &body, "99999"),
        with("0", &body, "empty"),
        with(&short, &body, "not JSON"),
        with(&long, &body, "not JSON"),
        with(&good.len().to_string(), good.as_bytes(), "0 bytes are left"),
        with("5", b"", "the body has 0 bytes"),
    ]
}

/// The sizes of the tensor and of its elements.
fn binary() -> Vec<Row> {
    let sent = |shape: Value, size: Value, bytes: &[u8], says| {
        let header = bytes_header(shape, size);
        with_length(&header.len().to_string(), &[header.as_bytes(), bytes].concat(), says)
    };
    let card = element(7, b"my card");
    let two = json!({"inputs": [
        {"name": "TEXT", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": 11}},
        {"name": "TEXT_PAIR", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": 11}},
    ]})
    .to_string();
    vec![
        // The size of the tensor.
        sent(json!([1]), json!(12), &card, "11 bytes are left after the JSON"),
        sent(json!([1]), json!(10), &card, "says that it has 7 bytes, but 6 are left"),
        sent(json!([1]), json!(u64::MAX), &card, "11 bytes are left"),
        sent(json!([1]), json!(1e300), &card, "binary_data_size"),
        sent(json!([1]), json!(-11), &card, "binary_data_size"),
        sent(json!([1]), json!("11"), &card, "binary_data_size"),
        sent(json!([1]), json!(11), &[&card[..], b"x"].concat(), "belong to no tensor"),
        sent(json!([1]), json!(0), &[], "does not fit the 0 elements"),
        sent(json!([2]), json!(11), &card, "does not fit the 1 elements"),
        sent(json!([1]), json!(22), &card.repeat(2), "does not fit the 2 elements"),
        // The lengths of the elements.
        sent(json!([1]), json!(11), &element(8, b"my card"), "says that it has 8 bytes"),
        sent(json!([1]), json!(11), &element(6, b"my card"), "1 bytes are left"),
        sent(json!([1]), json!(11), &element(u32::MAX, b"my card"), "4294967295"),
        sent(json!([1]), json!(11), &element(7 << 24, b"my card"), "117440512"),
        sent(json!([1]), json!(3), &[0; 3], "3 bytes are left"),
        sent(json!([1]), json!(7), b"my card", "says that it has"),
        // The contents of the elements.
        sent(json!([1]), json!(11), &element(7, b"my \xffard"), "not UTF-8"),
        sent(json!([1]), json!(5), &element(1, &[0xc3]), "not UTF-8"),
        // The second tensor has no bytes.
        with_length(&two.len().to_string(), &[two.as_bytes(), &card].concat(), "inputs[1]"),
    ]
}

fn repository() -> Vec<Row> {
    let load = "/v2/repository/models/whole/load";
    table(
        plain,
        "POST",
        &[
            ("/v2/repository/index", "7", 400, "must be an object"),
            ("/v2/repository/index", "{", 400, "not JSON"),
            ("/v2/repository/index", r#"{"ready": 1}"#, 400, "`ready` must be"),
            ("/v2/repository/models/none/load", "", 404, "no model `none`"),
            ("/v2/repository/models/..%2ftiny/load", "", 404, "no model"),
            ("/v2/repository/models/link/load", "", 404, "no model `link`"),
            ("/v2/repository/models/file/load", "", 404, "no model `file`"),
            ("/v2/repository/models/garbage/load", "", 400, "garbage"),
            ("/v2/repository/models/half/load", "{}", 400, "half"),
            (load, "{", 400, "not JSON"),
            (load, r#"{"parameters": 7}"#, 400, "`parameters` must be"),
            (load, r#"{"parameters": {"config": "{}"}}"#, 400, "--model-store only"),
            (
                load,
                r#"{"parameters": {"file:1/model.safetensors": "AA=="}}"#,
                400,
                "--model-store only",
            ),
            ("/v2/repository/models/none/unload", "{}", 404, "no model `none`"),
            ("/v2/repository/models/tiny/unload", "[null]", 400, "must be an object"),
            (
                "/v2/repository/models/tiny/unload",
                r#"{"parameters": 7}"#,
                400,
                "`parameters` must be",
            ),
            ("/v2/repository/models/tiny/reload", "{}", 404, "reload"),
        ],
    )
}
