//! text-embeddings-inference, OpenAI, and Hugging Face's pipelines.

use serde_json::json;

use super::shapes::{openai, tei};
use super::{MAX_INPUTS, Row, table};

pub fn rows() -> Vec<Row> {
    [embed(), classification(), ranking(), similarity(), others(), open_ai(), pipelines()]
        .into_iter()
        .flatten()
        .collect()
}

fn embed() -> Vec<Row> {
    let many = json!({"inputs": vec!["a"; MAX_INPUTS + 1]}).to_string();
    let long = json!({"inputs": "card ".repeat(100), "truncate": false}).to_string();
    let ids = json!({"inputs": [vec![1; 100]], "truncate": false}).to_string();
    table(
        tei,
        "POST",
        &[
            ("/embed", r#"{"inputs": null}"#, 422, "`inputs` is missing"),
            ("/embed", r#"{"inputs": 7}"#, 422, "`inputs` must be"),
            ("/embed", r#"{"inputs": true}"#, 422, "a boolean"),
            ("/embed", r#"{"inputs": {}}"#, 422, "an object"),
            ("/embed", r#"{"Inputs": "a"}"#, 422, "`inputs` is missing"),
            ("/embed", r#"{"inputs": ""}"#, 400, "`inputs` is empty"),
            ("/embed", r#"{"inputs": []}"#, 400, "`inputs` is empty"),
            ("/embed", r#"{"inputs": ["a", ""]}"#, 400, "`inputs[1]` is empty"),
            ("/embed", r#"{"inputs": [[]]}"#, 400, "`inputs[0]` is empty"),
            ("/embed", r#"{"inputs": ["a", null]}"#, 422, "`inputs[1]` must be"),
            ("/embed", r#"{"inputs": ["a", 1]}"#, 422, "`inputs[1]` must be"),
            ("/embed", r#"{"inputs": [1, "a"]}"#, 422, "`inputs[1]` must be a token id"),
            ("/embed", r#"{"inputs": [[["a"]]]}"#, 422, "`inputs[0][0]`"),
            ("/embed", r#"{"inputs": [-1]}"#, 422, "-1"),
            ("/embed", r#"{"inputs": [1.5]}"#, 422, "1.5"),
            ("/embed", r#"{"inputs": [4294967296]}"#, 422, "4294967296"),
            ("/embed", r#"{"inputs": [100000]}"#, 422, "vocabulary"),
            ("/embed", r#"{"inputs": "a", "truncate": "yes"}"#, 422, "`truncate` must be"),
            ("/embed", r#"{"inputs": "a", "truncate": 1}"#, 422, "`truncate` must be"),
            ("/embed", r#"{"inputs": "a", "normalize": 1}"#, 422, "`normalize` must be"),
            (
                "/embed",
                r#"{"inputs": "a", "truncation_direction": "Up"}"#,
                422,
                "`Left` or `Right`",
            ),
            (
                "/embed",
                r#"{"inputs": "a", "truncation_direction": 1}"#,
                422,
                "truncation_direction",
            ),
            ("/embed", r#"{"inputs": "a", "dimensions": 0}"#, 422, "`dimensions` is 0"),
            ("/embed", r#"{"inputs": "a", "dimensions": -4}"#, 422, "`dimensions` must be"),
            ("/embed", r#"{"inputs": "a", "dimensions": 1.5}"#, 422, "`dimensions` must be"),
            ("/embed", r#"{"inputs": "a", "dimensions": "4"}"#, 422, "`dimensions` must be"),
            ("/embed", r#"{"inputs": "a", "dimensions": 33}"#, 422, "from 1 to 32"),
            ("/embed", r#"{"inputs": "a", "dimensions": 18446744073709551616}"#, 422, "dimensions"),
            ("/embed", r#"{"inputs": "a", "prompt_name": "none"}"#, 422, "has no prompt `none`"),
            ("/embed", r#"{"inputs": "a", "prompt_name": 7}"#, 422, "`prompt_name` must be"),
            ("/embed", r#"{"inputs": "a", "model": "none"}"#, 404, "no model `none`"),
            ("/embed", r#"{"inputs": "a", "model": "../tiny"}"#, 404, "no model"),
            ("/embed", r#"{"inputs": "a", "model": ""}"#, 404, "no model"),
            ("/embed", r#"{"inputs": "a", "model": 7}"#, 422, "`model` must be"),
            ("/embed", r#"{"inputs": "a", "model": "intents"}"#, 424, "text-classification"),
            ("/embed", &many, 413, "--max-inputs"),
            ("/embed", &long, 413, "truncation"),
            ("/embed", &ids, 413, "truncation"),
        ],
    )
}

fn classification() -> Vec<Row> {
    let pairs = json!({"inputs": vec![["a"]; MAX_INPUTS + 1]}).to_string();
    table(
        tei,
        "POST",
        &[
            ("/embed_all", r#"{"inputs": 1}"#, 422, "`inputs` must be"),
            ("/embed_all", r#"{"inputs": "a", "model": "masks"}"#, 424, "fill-mask"),
            ("/embed_sparse", r#"{"inputs": 1}"#, 422, "`inputs` must be"),
            ("/embed_sparse", r#"{"inputs": []}"#, 400, "`inputs` is empty"),
            ("/embed_sparse", r#"{"inputs": "a", "model": "tiny"}"#, 424, "feature-extraction"),
            ("/embed_sparse", r#"{"inputs": "a", "prompt_name": "x"}"#, 422, "no prompt `x`"),
            ("/predict", r#"{"inputs": [1]}"#, 422, "`inputs[0]` must be"),
            ("/predict", r#"{"inputs": ["a", "b", "c"]}"#, 422, "3 texts"),
            ("/predict", r#"{"inputs": [["a", "b", "c"]]}"#, 422, "`inputs[0]` has 3 texts"),
            ("/predict", r#"{"inputs": [["a"], "b"]}"#, 422, "`inputs[1]` must be a list"),
            ("/predict", r#"{"inputs": [["a"], [1]]}"#, 422, "`inputs[1][0]`"),
            ("/predict", r#"{"inputs": [{"text": "a"}]}"#, 422, "`inputs[0]` must be"),
            ("/predict", r#"{"inputs": [[]]}"#, 400, "`inputs[0]` is empty"),
            ("/predict", r#"{"inputs": []}"#, 400, "`inputs` is empty"),
            ("/predict", r#"{"inputs": ""}"#, 400, "`inputs` is empty"),
            ("/predict", r#"{"inputs": "a", "raw_scores": "no"}"#, 422, "`raw_scores`"),
            ("/predict", r#"{"inputs": "a", "model": "tiny"}"#, 424, "feature-extraction"),
            ("/predict", &pairs, 413, "--max-inputs"),
        ],
    )
}

fn ranking() -> Vec<Row> {
    let texts = json!({"query": "a", "texts": vec!["a"; MAX_INPUTS + 1], "model": "ranker"});
    let rank = |fields: &str| format!(r#"{{"model": "ranker", {fields}}}"#);
    table(
        tei,
        "POST",
        &[
            (
                "/rerank",
                r#"{"query": "a", "texts": ["b"], "model": "intents"}"#,
                424,
                "single label",
            ),
            ("/rerank", &rank(r#""texts": ["b"]"#), 422, "`query` is missing"),
            ("/rerank", &rank(r#""query": "a""#), 422, "`texts` is missing"),
            ("/rerank", &rank(r#""query": 7, "texts": ["b"]"#), 422, "`query` must be"),
            ("/rerank", &rank(r#""query": "", "texts": ["b"]"#), 400, "`query` is empty"),
            ("/rerank", &rank(r#""query": "a", "texts": "b""#), 422, "`texts` must be"),
            ("/rerank", &rank(r#""query": "a", "texts": []"#), 400, "`texts` is empty"),
            ("/rerank", &rank(r#""query": "a", "texts": ["b", 1]"#), 422, "`texts[1]`"),
            (
                "/rerank",
                &rank(r#""query": "a", "texts": ["b"], "return_text": 1"#),
                422,
                "return_text",
            ),
            ("/rerank", &texts.to_string(), 413, "--max-inputs"),
        ],
    )
}

fn similarity() -> Vec<Row> {
    table(
        tei,
        "POST",
        &[
            ("/similarity", r#"{"inputs": "a"}"#, 422, "`inputs` must be an object"),
            ("/similarity", r#"{"inputs": {"sentences": ["a"]}}"#, 422, "inputs.source_sentence"),
            ("/similarity", r#"{"inputs": {"source_sentence": "a"}}"#, 422, "inputs.sentences"),
            (
                "/similarity",
                r#"{"inputs": {"source_sentence": "a", "sentences": []}}"#,
                400,
                "`inputs.sentences` is empty",
            ),
            (
                "/similarity",
                r#"{"inputs": {"source_sentence": "", "sentences": ["a"]}}"#,
                400,
                "`inputs.source_sentence` is empty",
            ),
            (
                "/similarity",
                r#"{"inputs": {"source_sentence": "a", "sentences": ["a", ""]}}"#,
                400,
                "`inputs.sentences[1]` is empty",
            ),
            (
                "/similarity",
                r#"{"inputs": {"source_sentence": "a", "sentences": ["a"]}, "parameters": []}"#,
                422,
                "`parameters` must be",
            ),
        ],
    )
}

fn others() -> Vec<Row> {
    let posts = table(
        tei,
        "POST",
        &[
            ("/tokenize", r#"{"inputs": 7}"#, 422, "`inputs` must be"),
            ("/tokenize", r#"{"inputs": [7]}"#, 422, "`inputs[0]` must be"),
            ("/tokenize", r#"{"inputs": [""]}"#, 400, "`inputs[0]` is empty"),
            ("/tokenize", r#"{"inputs": []}"#, 400, "`inputs` is empty"),
            ("/tokenize", r#"{"inputs": "a", "model": "none"}"#, 404, "no model `none`"),
            ("/tokenize", r#"{"inputs": "a", "add_special_tokens": 2}"#, 422, "add_special_tokens"),
            ("/decode", r#"{}"#, 422, "`ids` is missing"),
            ("/decode", r#"{"ids": "a"}"#, 422, "list of token ids"),
            ("/decode", r#"{"ids": ["a"]}"#, 422, "list of token ids"),
            ("/decode", r#"{"ids": [-1]}"#, 422, "token id"),
            ("/decode", r#"{"ids": [[1], 2]}"#, 422, "`ids[1]`"),
            ("/decode", r#"{"ids": []}"#, 400, "`ids` is empty"),
            ("/decode", r#"{"ids": [4294967295]}"#, 422, "vocabulary"),
            ("/info", "", 405, "POST"),
            ("/health", "", 405, "POST"),
            ("/nothing", "", 404, "/nothing"),
            ("/embed/", "{}", 404, "/embed/"),
            ("//embed", "{}", 404, "//embed"),
            ("/%ff", "{}", 404, ""),
            ("/%00", "{}", 404, ""),
        ],
    );
    let gets = table(
        tei,
        "GET",
        &[
            ("/embed", "", 405, "GET"),
            ("/../../etc/passwd", "", 404, ""),
            ("/%2e%2e/%2e%2e/etc/passwd", "", 404, ""),
        ],
    );
    [posts, gets].into_iter().flatten().collect()
}

fn open_ai() -> Vec<Row> {
    let many = json!({"input": vec!["a"; MAX_INPUTS + 1]}).to_string();
    let posts = table(
        openai,
        "POST",
        &[
            ("/v1/embeddings", r#"{"model": "tiny"}"#, 400, "`input` is missing"),
            ("/v1/embeddings", r#"{"input": null}"#, 400, "`input` is missing"),
            ("/v1/embeddings", r#"{"input": 7}"#, 400, "`input` must be"),
            ("/v1/embeddings", r#"{"input": {"text": "a"}}"#, 400, "`input` must be"),
            ("/v1/embeddings", r#"{"input": ""}"#, 400, "`input` is empty"),
            ("/v1/embeddings", r#"{"input": []}"#, 400, "`input` is empty"),
            ("/v1/embeddings", r#"{"input": ["a", ""]}"#, 400, "`input[1]` is empty"),
            ("/v1/embeddings", r#"{"input": [[]]}"#, 400, "`input[0]` is empty"),
            ("/v1/embeddings", r#"{"input": [1, "a"]}"#, 400, "`input[1]` must be"),
            ("/v1/embeddings", r#"{"input": [[1, 2.5]]}"#, 400, "`input[0][1]` must be"),
            ("/v1/embeddings", r#"{"input": [999999]}"#, 400, "vocabulary"),
            ("/v1/embeddings", r#"{"input": "a", "encoding_format": "hex"}"#, 400, "`base64`"),
            ("/v1/embeddings", r#"{"input": "a", "encoding_format": 7}"#, 400, "encoding_format"),
            ("/v1/embeddings", r#"{"input": "a", "dimensions": 0}"#, 400, "dimensions"),
            ("/v1/embeddings", r#"{"input": "a", "dimensions": "4"}"#, 400, "dimensions"),
            ("/v1/embeddings", r#"{"input": "a", "dimensions": 5000}"#, 400, "from 1 to 32"),
            ("/v1/embeddings", r#"{"input": "a", "model": "gpt-9"}"#, 404, "no model `gpt-9`"),
            ("/v1/embeddings", r#"{"input": "a", "model": "../../etc"}"#, 404, "no model"),
            ("/v1/embeddings", r#"{"input": "a", "model": ["tiny"]}"#, 400, "`model` must be"),
            ("/v1/embeddings", r#"{"input": "a", "model": "intents"}"#, 400, "feature-extraction"),
            ("/v1/embeddings", &many, 413, "--max-inputs"),
            ("/embeddings", "{}", 400, "missing"),
            ("/v1/models", "{}", 405, "POST"),
            ("/v1/completions", "{}", 404, "/v1/completions"),
            ("/v1/", "{}", 404, "/v1/"),
        ],
    );
    let gets = table(openai, "GET", &[("/v1/embeddings", "", 405, "GET"), ("/v1", "", 404, "/v1")]);
    [posts, gets].into_iter().flatten().collect()
}

fn pipelines() -> Vec<Row> {
    table(
        tei,
        "POST",
        &[
            ("/", "{}", 422, "`inputs` is missing"),
            ("/", r#"{"inputs": 7}"#, 422, "`inputs` must be"),
            ("/", r#"{"inputs": [null]}"#, 422, "`inputs[0]` must be"),
            ("/", r#"{"inputs": {"sentences": ["a"]}}"#, 422, "inputs.source_sentence"),
            ("/", r#"{"inputs": {"source_sentence": "a", "sentences": "a"}}"#, 422, "sentences"),
            ("/", r#"{"inputs": "a", "parameters": 7}"#, 422, "`parameters` must be"),
            (
                "/",
                r#"{"inputs": "a", "parameters": {"truncate": "x"}}"#,
                422,
                "parameters.truncate",
            ),
            (
                "/",
                r#"{"inputs": "a", "parameters": {"normalize": 1}}"#,
                422,
                "parameters.normalize",
            ),
            ("/", r#"{"inputs": "a", "model": "none"}"#, 404, "no model `none`"),
            ("/models/tiny", r#"{"inputs": "a", "parameters": {"top_k": {}}}"#, 422, "top_k"),
            ("/", r#"{"inputs": {"source_sentence": "", "sentences": ["a"]}}"#, 400, "empty"),
            ("/models/none", r#"{"inputs": "a"}"#, 404, "no model `none`"),
            ("/models/..%2ftiny", r#"{"inputs": "a"}"#, 404, "no model"),
            ("/models/intents", r#"{"inputs": {}}"#, 422, "inputs.text"),
            ("/models/intents", r#"{"inputs": {"text": 7}}"#, 422, "inputs.text"),
            ("/models/intents", r#"{"inputs": [{"text": "a", "text_pair": 7}]}"#, 422, "text_pair"),
            ("/models/intents", r#"{"inputs": []}"#, 400, "`inputs` is empty"),
            ("/models/intents", r#"{"inputs": "a", "parameters": {"top_k": -1}}"#, 422, "top_k"),
            ("/models/intents", r#"{"inputs": "a", "parameters": {"top_k": 0}}"#, 422, "top_k"),
            (
                "/models/intents",
                r#"{"inputs": "a", "parameters": {"function_to_apply": "tanh"}}"#,
                422,
                "function_to_apply",
            ),
            ("/models/masks", r#"{"inputs": "no mask"}"#, 422, "[MASK]"),
            ("/models/masks", r#"{"inputs": ["[MASK]", "none"]}"#, 422, "[MASK]"),
            ("/models/masks", r#"{"inputs": "[MASK]", "parameters": {"top_k": 0}}"#, 422, "top_k"),
            ("/models/words", r#"{"inputs": 7}"#, 422, "`inputs` must be"),
            (
                "/models/words",
                r#"{"inputs": "a", "parameters": {"aggregation_strategy": "most"}}"#,
                422,
                "aggregation_strategy",
            ),
        ],
    )
}
