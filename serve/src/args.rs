//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser};
use gradus_cli::SharedArgs;
use serde::{Deserialize, Serialize};

/// Serves BERT over HTTP, to the clients of text-embeddings-inference, OpenAI's embeddings, Cohere's and Jina's
/// rankings, TorchServe, TensorFlow Serving, KServe v2 (Triton) and Hugging Face's pipelines.
///
/// The address it listens at is the first line on standard output; logs go to standard error. SIGTERM or Ctrl-C: what
/// is under way is answered first.
#[derive(Parser)]
#[command(
    name = "serve",
    version = gradus_cli::VERSION,
    long_version = gradus_cli::LONG_VERSION,
    after_help = "Examples:
  serve --model runs/banking77
  serve --model embed=sentence-transformers/all-MiniLM-L6-v2 --model intents=runs/banking77 --port 8000
  serve --model-store models --api-key SECRET --host 0.0.0.0
  curl localhost:8080/embed -d '{\"inputs\": \"How do I locate my card?\"}'

See /docs of a running server for what it answers."
)]
pub struct Program {
    /// The flags of its own.
    #[command(flatten)]
    pub flags: Flags,
    /// The flags that every program takes.
    #[command(flatten)]
    pub shared: SharedArgs,
}

/// The flags.
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Flags {
    /// A model: a folder in the Hugging Face layout, a folder of numbered versions of one, or a hub id; with a name of
    /// your own before it, which may be as organisation/model. Repeatable; the first of a task is the one for requests that name none
    #[arg(long, value_name = "[NAME=]DIR")]
    pub model: Vec<String>,
    /// Another name for a model, by which requests may ask for it. Repeatable; a hub id is one already
    #[arg(long, value_name = "ALIAS=NAME")]
    pub alias: Vec<String>,
    /// Address to listen at [default: 127.0.0.1]
    #[arg(long, value_name = "ADDRESS")]
    pub host: Option<String>,
    /// Port to listen at; 0 takes a free one [default: 8080]
    #[arg(long, value_name = "PORT")]
    pub port: Option<u16>,
    /// Tokens of a batch at most [default: 1024]
    #[arg(long, value_name = "N")]
    pub max_batch_tokens: Option<usize>,
    /// Requests that wait at most, for each model; more are answered 429 [default: 512]
    #[arg(long, value_name = "N")]
    pub max_queue: Option<usize>,
    /// Milliseconds that a batch may wait to fill [default: 0]
    #[arg(long, value_name = "MS")]
    pub max_delay: Option<f64>,
    /// Batches of one model that run at the same time [default: 1]
    #[arg(long, value_name = "N")]
    pub workers: Option<usize>,
    /// Seconds in which a request must be answered; the header x-request-timeout can ask for less [default: 60]
    #[arg(long, value_name = "SECONDS")]
    pub timeout: Option<f64>,
    /// Seconds in which a request must be read [default: 15]
    #[arg(long, value_name = "SECONDS")]
    pub read_timeout: Option<f64>,
    /// Seconds for what is under way when the server is asked to stop [default: 30]
    #[arg(long, value_name = "SECONDS")]
    pub drain: Option<f64>,
    /// MiB of a request's body at most, decompressed too [default: 16]
    #[arg(long, value_name = "MIB")]
    pub max_body: Option<usize>,
    /// Inputs of a request at most [default: 2048]
    #[arg(long, value_name = "N")]
    pub max_inputs: Option<usize>,
    /// Refuse texts of too many tokens, where a request does not say, instead of cutting them
    #[arg(long)]
    pub no_truncate: bool,
    /// Refuse token ids in the place of texts: nobody sees whether they are of the model's tokenizer or of another
    #[arg(long)]
    pub no_token_ids: bool,
    /// Only answer requests with this key (`Authorization: Bearer KEY`). Repeatable; or GRADUS_API_KEY, with commas
    #[arg(long, value_name = "KEY")]
    pub api_key: Vec<String>,
    /// Let models be registered from the folders in this one, and unregistered
    #[arg(long, value_name = "DIR")]
    pub model_store: Option<PathBuf>,
    /// Answer /metrics on a port of its own, without a key, and /health there too
    #[arg(long, value_name = "PORT")]
    pub metrics_port: Option<u16>,
    /// Certificates for HTTPS, PEM
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Their private key, PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Program::command().debug_assert();
    }
}
