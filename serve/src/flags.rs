//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser};
use gradus_cli::SharedArgs;
use serde::{Deserialize, Serialize};

/// Serves BERT and its family over HTTP, to the clients of text-embeddings-inference, OpenAI's embeddings,
/// Cohere's and Jina's rankings, TorchServe, TensorFlow Serving, KServe v2 (Triton) and Hugging
/// Face's pipelines.
///
/// The first line on standard output has the server's address; logs go to standard error.
/// SIGTERM, SIGHUP or Ctrl-C: requests under way are answered first; a second one stops it at once.
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
    /// The flags of `serve`.
    #[command(flatten)]
    pub flags: Flags,
    /// The flags of every program.
    #[command(flatten)]
    pub shared: SharedArgs,
}

/// The flags.
#[derive(Args, Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Flags {
    /// A model: a folder in the Hugging Face layout, a folder of numbered versions of one, or a hub
    /// id. NAME is a name of your own, such as bert or organisation/model. Repeatable; the first
    /// model of a task answers requests that name none
    #[arg(long, value_name = "[NAME=]DIR")]
    pub model: Vec<String>,
    /// The base of the models that are adapters (LoRA): a folder or a hub id [default: what their
    /// adapter_config.json names]
    #[arg(long, value_name = "DIR")]
    pub base: Option<String>,
    /// Another name by which requests may ask for a model. Repeatable; the hub id of a model is an
    /// alias already
    #[arg(long, value_name = "ALIAS=NAME")]
    pub alias: Vec<String>,
    /// Address to listen at [default: 127.0.0.1]
    #[arg(long, value_name = "ADDRESS")]
    pub host: Option<String>,
    /// Port to listen at; 0 takes a free one [default: 8080]
    #[arg(long, value_name = "PORT")]
    pub port: Option<u16>,
    /// Maximum tokens of one batch [default: 1024]
    #[arg(long, value_name = "N")]
    pub max_batch_tokens: Option<usize>,
    /// Maximum requests that wait for a model. Further requests, and those that would miss their
    /// deadlines, are answered 429 [default: 512]
    #[arg(long, value_name = "N")]
    pub max_queue: Option<usize>,
    /// Milliseconds that a batch may wait until it is full [default: 0]
    #[arg(long, value_name = "MS", value_parser = gradus_cli::finite)]
    pub max_delay: Option<f64>,
    /// Batches of one model that run at the same time [default: 1]
    #[arg(long, value_name = "N")]
    pub workers: Option<usize>,
    /// Seconds until a request must be answered; the header x-request-timeout can ask for less
    /// [default: 60]
    #[arg(long, value_name = "SECONDS", value_parser = gradus_cli::finite)]
    pub timeout: Option<f64>,
    /// Seconds until a request must be read; slower ones are answered 408 [default: 15]
    #[arg(long, value_name = "SECONDS", value_parser = gradus_cli::finite)]
    pub read_timeout: Option<f64>,
    /// Seconds until a client must take a part of its answer; otherwise its connection is closed
    /// [default: 15]
    #[arg(long, value_name = "SECONDS", value_parser = gradus_cli::finite)]
    pub write_timeout: Option<f64>,
    /// Seconds that a connection is kept between two requests. It must be longer than a balancer in
    /// front keeps it [default: 75]
    #[arg(long, value_name = "SECONDS", value_parser = gradus_cli::finite)]
    pub keep_alive: Option<f64>,
    /// Seconds for requests under way when the server is asked to stop. Requests that are not done
    /// by then are answered 503, and the exit code is 1. Asked a second time, the server stops at
    /// once [default: 30]
    #[arg(long, value_name = "SECONDS", value_parser = gradus_cli::finite)]
    pub drain: Option<f64>,
    /// Maximum MiB of a request's body, before and after decompression [default: 16]
    #[arg(long, value_name = "MIB")]
    pub max_body: Option<usize>,
    /// Maximum inputs of a request [default: 2048]
    #[arg(long, value_name = "N")]
    pub max_inputs: Option<usize>,
    /// Refuse texts with too many tokens instead of cutting them, unless a request says otherwise
    #[arg(long)]
    pub no_truncate: bool,
    /// Refuse token ids instead of texts: the server cannot see whether they come from the model's
    /// tokenizer
    #[arg(long)]
    pub no_token_ids: bool,
    /// Answer only requests with this key (`Authorization: Bearer KEY`). Repeatable; or
    /// GRADUS_API_KEY, with commas
    #[arg(long, value_name = "KEY")]
    pub api_key: Vec<String>,
    /// A proxy, or a network of proxies (10.0.0.0/8), whose X-Forwarded-For or Forwarded names the
    /// client. Clients take turns, and without this all clients behind a proxy are one. Repeatable
    #[arg(long, value_name = "CIDR")]
    pub trusted_proxy: Vec<String>,
    /// A web site whose pages may ask (https://page.example), or * for any. Repeatable; without it
    /// only the server's own page may. Other sites may change models only with a key
    #[arg(long, value_name = "ORIGIN")]
    pub cors_origin: Vec<String>,
    /// A name by which requests may call the server (the header Host), or * for any. Repeatable.
    /// Without a key on a loopback address, the server answers only to localhost and addresses, so
    /// that web sites cannot get in by DNS; to programs also to names without a dot
    #[arg(long, value_name = "NAME")]
    pub allowed_host: Vec<String>,
    /// The path under which a proxy shows the server, such as /models/bert, whether or not the
    /// proxy removes it
    #[arg(long, value_name = "PATH")]
    pub root_path: Option<String>,
    /// Let requests register models from the folders in this one, and unregister them
    #[arg(long, value_name = "DIR")]
    pub model_store: Option<PathBuf>,
    /// Answer /metrics on this port instead, without a key, and /health there too
    #[arg(long, value_name = "PORT")]
    pub metrics_port: Option<u16>,
    /// Answer POST /trace, and show a button for it on the page: a page that tells what a model does
    /// with a text, operation by operation. A trace takes as long as some hundred answers
    #[arg(long)]
    pub trace: bool,
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

    #[test]
    fn what_is_no_number_is_refused() {
        let number = clap::builder::ValueParser::from(clap::value_parser!(f64)).type_id();
        let command = Program::command();
        let numbers =
            command.get_arguments().filter(|arg| arg.get_value_parser().type_id() == number);
        let mut tried = 0;
        for flag in numbers.map(|arg| arg.get_long().unwrap()) {
            for value in ["nan", "-NaN", "inf", "-inf", "infinity"] {
                let args = ["serve".to_string(), format!("--{flag}={value}")];
                let refused = Program::try_parse_from(args).err();
                assert!(refused.is_some_and(|e| e.to_string().contains(flag)), "--{flag}={value}");
                tried += 1;
            }
        }
        assert!(tried >= 30, "{tried}");
    }
}
