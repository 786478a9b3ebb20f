//! A model server for BERT in one binary. It answers the clients of text-embeddings-inference,
//! OpenAI's embeddings, Cohere's and Jina's rankings, TorchServe, TensorFlow Serving, KServe v2
//! (Triton) and Hugging Face's pipelines.
//!
//! From the bottom; ARCHITECTURE.md has the files:
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`scheduler`], [`pipeline`] | queue → packed batches → model → answers; no HTTP |
//! | [`error`], [`names`], [`json`], [`media`] | problems, names of models, reading bodies |
//! | [`usage`], [`question`], [`offload`] | what a request uses and asks; threads for long work |
//! | [`metrics`], [`log`] | what operators look at |
//! | [`sites`], [`clients`], [`ids`] | which web sites may ask; whose request it is |
//! | [`served`], [`ask`], [`registry`] | a model at work, asking it, all models |
//! | [`app`], [`call`], [`answer`] | the server's state; a request and an answer |
//! | [`protocols`] | one file or folder per protocol: its paths, shapes, errors |
//! | [`middleware`] | what happens around every request |
//! | [`openapi`], [`page`] | the document and `/docs`; the page at `/` |
//! | [`router`], [`root_path`] | all paths |
//! | [`connection`], [`server`] | one connection; the listener, TLS, shutting down |
//! | [`program`] | the command line |
//!
//! The async side reads, writes and waits. Models run on threads of their own. Other work that
//! takes longer than some 100 µs (encoding and parsing large requests, opening models) runs on
//! threads that may block.

pub mod answer;
pub mod app;
pub mod ask;
pub mod call;
pub mod clients;
pub mod connection;
pub mod error;
mod flags;
pub mod ids;
pub mod json;
pub mod log;
pub mod media;
pub mod metrics;
pub mod middleware;
pub mod names;
pub mod offload;
pub mod openapi;
pub mod page;
pub mod pipeline;
pub mod program;
pub mod protocols;
pub mod question;
pub mod registry;
pub mod root_path;
pub mod router;
pub mod scheduler;
pub mod served;
pub mod server;
pub mod signals;
pub mod sites;
pub mod usage;

pub use flags::Program;
