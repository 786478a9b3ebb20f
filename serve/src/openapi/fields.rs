//! What the fields of requests mean. A name means the same in every request.

/// Names and meanings. Fields that are missing here explain themselves.
const FIELDS: [(&str, &str); 53] = [
    ("add_special_tokens", "Whether the special tokens are listed too; default true"),
    (
        "aggregation_strategy",
        "How words are labelled and joined: `none` leaves them single; default `simple`",
    ),
    ("binary_data", "Whether this output comes as bytes after the JSON"),
    ("binary_data_output", "Whether the outputs come as bytes after the JSON"),
    ("binary_data_size", "Bytes of this tensor after the JSON, instead of `data`"),
    ("classification", "How many classes to answer as `value:index:label`, instead of the values"),
    ("context", "Fields for examples that lack them"),
    ("data", "The texts"),
    ("datatype", "What the elements are"),
    (
        "dimensions",
        "How many numbers a vector has: its first ones, scaled to length 1 again; default all",
    ),
    (
        "documents",
        "The documents to rank: texts, or objects with `text` (or the fields of `rank_fields`)",
    ),
    ("encoding_format", "Vectors as numbers, or as base64 of little-endian f32; default `float`"),
    ("examples", "The inputs"),
    ("function_to_apply", "How logits become scores; default as the model's `problem_type` says"),
    ("head", "Show this head only, from 0"),
    ("id", "Comes back in the answer"),
    ("ids", "Token ids"),
    ("ignore_labels", "Labels that are left out; default `O`"),
    ("input", "The texts to embed"),
    ("inputs", "The inputs of the model"),
    ("instances", "The inputs, row by row"),
    ("layer", "Show this layer only, from 0"),
    ("max_chunks_per_doc", "1: a document is read in one piece"),
    (
        "max_tokens_per_doc",
        "How many tokens of a document are read; default as many as the model takes",
    ),
    ("model", "The name of a model; default the first model with the right task"),
    ("name", "Its name"),
    ("normalize", "Whether vectors are scaled to length 1; default true"),
    ("outputs", "Which outputs are wanted; default all"),
    ("parameters", "Options"),
    ("priority", "0: requests take turns"),
    (
        "prompt_name",
        "The model's prompt that goes before each text; default the model's default prompt, if any",
    ),
    ("query", "The text that others are ranked by"),
    ("rank_fields", "Which fields of a document are ranked, in this order; default `text`"),
    ("raw_scores", "Whether scores are the logits; default false"),
    ("ready", "Only versions that are ready"),
    ("return_documents", "Whether the documents come back; default false"),
    ("return_text", "Whether the texts come back; default false"),
    ("sentences", "The sentences that it is compared to"),
    ("shape", "`[n]` or `[n, 1]`"),
    ("signature_name", "`serving_default`, which is the only one"),
    ("skip_special_tokens", "Whether the special tokens are left out; default true"),
    ("source_sentence", "The sentence to compare"),
    ("target", "The right label; the page then also shows the way back from its loss"),
    ("targets", "The only words that may fill a mask"),
    ("text", "The text"),
    ("text_pair", "The second text of a pair"),
    ("texts", "The texts to rank"),
    ("timeout", "Microseconds until the answer must be there"),
    ("top_k", "How many of the best answers to give"),
    ("top_n", "How many of the best results to give; default all"),
    (
        "truncate",
        "Whether texts with too many tokens are cut or refused; default as the server was started",
    ),
    ("truncation_direction", "The end at which texts are cut; default `Right`"),
    ("user", "The user behind the request; changes nothing"),
];

/// What a field means.
pub fn about(name: &str) -> Option<&'static str> {
    FIELDS.iter().find(|(known, _)| *known == name).map(|(_, about)| *about)
}
