//! What all requests share.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use subtle::ConstantTimeEq;
use tokio::sync::watch;

use crate::clients::Clients;
use crate::error::{Problem, Result};
use crate::log::{Level, Log};
use crate::metrics::Metrics;
use crate::registry::Registry;
use crate::sites::Sites;

/// Limits on what a request may be.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Bytes of a body at most, compressed and not.
    pub body: usize,
    /// Inputs of a request at most.
    pub inputs: usize,
    /// Time to answer in, unless the request says less.
    pub timeout: Duration,
    /// Time to read a request in.
    pub read: Duration,
    /// Whether texts are cut where a request does not say.
    pub truncate: bool,
    /// Whether token ids are taken in the place of texts.
    pub token_ids: bool,
}

/// Who may do what.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Access {
    /// The keys; without any, everybody may ask.
    pub keys: Vec<String>,
    /// Whether models may be registered and unregistered here.
    pub management: bool,
}

impl Access {
    /// Whether `key` is one of ours, in a time that does not depend on how much of it is right.
    pub fn knows(&self, key: &str) -> bool {
        // All are compared, whichever fits.
        self.keys
            .iter()
            .fold(false, |known, ours| known | bool::from(ours.as_bytes().ct_eq(key.as_bytes())))
    }
}

/// The server.
pub struct App {
    /// The models.
    pub models: Registry,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// The limits.
    pub limits: Limits,
    /// Who may do what.
    pub access: Access,
    /// Which web sites may ask.
    pub sites: Sites,
    /// How clients are told apart.
    pub clients: Clients,
    /// The path under which a proxy shows the server to others; empty where it is shown as it is.
    pub root_path: String,
    /// Turns true when what is still under way will not be answered any more.
    pub over: watch::Sender<bool>,
    /// The folder that models may be registered from.
    pub store: Option<PathBuf>,
    /// Where events go.
    pub log: Log,
    /// Whether the server is shutting down.
    pub draining: AtomicBool,
    /// When it was started.
    pub started: Instant,
    /// Whether `/metrics` has a port of its own.
    pub separate_metrics: bool,
    /// Whether the log has told of token ids.
    pub told_token_ids: AtomicBool,
    /// Models named on the command line, which repository listings show even when unloaded.
    pub known: std::sync::Mutex<HashSet<(String, String)>>,
}

impl App {
    /// Takes token ids in the place of texts, which the log tells once: nobody sees whose ids they
    /// are.
    ///
    /// # Errors
    /// With `--no-token-ids`; `at` is their field.
    pub fn take_token_ids(&self, at: &str) -> Result<()> {
        if !self.limits.token_ids {
            let message = "has token ids, which this server does not take (--no-token-ids); send texts (LangChain: \
                check_embedding_ctx_length=False)";
            return Err(Problem::field(at, message));
        }
        if !self.told_token_ids.swap(true, Ordering::Relaxed) {
            let message = "token ids came in the place of texts; those of another tokenizer than the model's give wrong \
                answers, and --no-token-ids refuses them";
            self.log.event(Level::Warn, message, json!({"field": at}));
        }
        Ok(())
    }

    /// Whether requests are taken.
    pub fn ready(&self) -> bool {
        !self.draining.load(Ordering::Relaxed) && self.models.any().is_some()
    }
}
