//! A model server for BERT: one binary that the clients of text-embeddings-inference, OpenAI's
//! embeddings, Cohere's and Jina's rankings, TorchServe, TensorFlow Serving, KServe v2 (Triton) and
//! Hugging Face's pipelines already speak to.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`scheduler`] | queue → packed batches → model → answers; no HTTP |
//! | [`pipeline`] | a model folder as what the scheduler runs |
//! | [`registry`], [`names`] | the models by name and version; replaced without failing a request |
//! | [`ask`] | questions to a model, whatever the protocol |
//! | [`protocols`] | one file a protocol: its paths, shapes, errors |
//! | [`call`], [`media`], [`json`], [`error`] | a request read within limits; what may be wrong with it |
//! | [`around`] | what surrounds every request: ids, keys, deadlines, logs, metrics |
//! | [`sites`], [`clients`], [`root_path`] | which web sites may ask; whose request it is behind a proxy; where that shows us |
//! | [`server`], [`connection`] | the listener, TLS, shutting down; one connection and its limits of time |
//! | [`page`] | the page at `/`, for people |
//! | [`openapi`] | what the server answers, for machines and people |
//! | [`metrics`], [`log`] | what operators look at |
//! | [`program`] | the command line |
//!
//! The async side reads, writes and waits; models run on threads of their own, and whatever else
//! takes longer than some 100 µs (encoding and parsing large requests, opening models) on threads
//! that may block.

pub mod app;
mod args;
pub mod around;
pub mod ask;
pub mod call;
pub mod clients;
pub mod connection;
pub mod error;
pub mod json;
pub mod log;
pub mod media;
pub mod metrics;
pub mod names;
pub mod openapi;
pub mod page;
pub mod pipeline;
pub mod program;
pub mod protocols;
pub mod registry;
pub mod root_path;
pub mod scheduler;
pub mod server;
pub mod sites;

pub use args::Program;
