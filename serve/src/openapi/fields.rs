//! What the fields of requests mean, by their names: a name means the same wherever it stands.

/// By name; what is not here says itself.
const FIELDS: [(&str, &str); 52] = [
    ("add_special_tokens", "Whether the special tokens are told too; default true"),
    (
        "aggregation_strategy",
        "How words are labelled and joined: `none` leaves them single; default `simple`",
    ),
    ("binary_data", "Whether this output comes as bytes after the JSON"),
    ("binary_data_output", "Whether the outputs come as bytes after the JSON"),
    ("binary_data_size", "Bytes of this tensor after the JSON, in the place of `data`"),
    ("classification", "So many classes as `value:index:label`, in the place of the values"),
    ("context", "Fields that stand for those that an example does not have"),
    ("data", "The texts"),
    ("datatype", "What the elements are"),
    ("dimensions", "Numbers of a vector: its first ones, of length 1 again; default all"),
    ("documents", "What is ranked: texts, or objects with `text` (or what `rank_fields` names)"),
    ("encoding_format", "Vectors as numbers, or as base64 of little-endian f32; default `float`"),
    ("examples", "The inputs"),
    (
        "function_to_apply",
        "What makes scores of logits; default what the model's `problem_type` says",
    ),
    ("head", "Of this head alone, from 0"),
    ("id", "Comes back in the answer"),
    ("ids", "Token ids"),
    ("ignore_labels", "Labels that are left out; default `O`"),
    ("input", "What is embedded"),
    ("inputs", "What the model is asked about"),
    ("instances", "The inputs, row by row"),
    ("layer", "Of this layer alone, from 0"),
    ("max_chunks_per_doc", "1: a document is read in one piece"),
    (
        "max_tokens_per_doc",
        "Tokens of a document that are read; default as many as the model takes",
    ),
    ("model", "A model by its name; default the first one of the right task"),
    ("name", "Its name"),
    ("normalize", "Whether vectors are scaled to length 1; default true"),
    ("outputs", "Which outputs are wanted; default all"),
    ("parameters", "Options"),
    ("priority", "0: requests take turns"),
    (
        "prompt_name",
        "The model's prompt to put before each text; default the one that the model names, if any",
    ),
    ("query", "What the texts are ranked by"),
    ("rank_fields", "Fields of a document that are ranked, in this order; default `text`"),
    ("raw_scores", "Logits in the place of scores; default false"),
    ("ready", "Only versions that are ready"),
    ("return_documents", "Whether the documents come back; default false"),
    ("return_text", "Whether the texts come back; default false"),
    ("sentences", "Those that it is compared to"),
    ("shape", "`[n]` or `[n, 1]`"),
    ("signature_name", "`serving_default`, which is the only one"),
    ("skip_special_tokens", "Whether the special tokens are left out; default true"),
    ("source_sentence", "The sentence that is compared"),
    ("targets", "Words that alone may stand for a mask"),
    ("text", "The text"),
    ("text_pair", "The second text of a pair"),
    ("texts", "What is ranked"),
    ("timeout", "Microseconds for the answer"),
    ("top_k", "Answers at most, the best ones"),
    ("top_n", "Results at most, the best ones; default all"),
    (
        "truncate",
        "Whether texts of too many tokens are cut, or refused; default as the server was started",
    ),
    ("truncation_direction", "The end at which they are cut; default `Right`"),
    ("user", "Whoever stands behind the request; changes nothing"),
];

/// What a field means.
pub fn about(name: &str) -> Option<&'static str> {
    FIELDS.iter().find(|(known, _)| *known == name).map(|(_, about)| *about)
}
